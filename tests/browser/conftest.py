"""Opens pages in Chromium, and fails when one logs an error or asks for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Open a file; afterwards check that it complained about nothing and asked nothing of any network."""
    complaints: list[str] = []
    contexts = []

    def open_it(path: Path, anchor: str = "", *, width: int = 1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _check(request.url, path, complaints))
        page.goto(f"file://{path}{anchor}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def _check(url: str, path: Path, complaints: list[str]) -> None:
    if not url.startswith(("data:", f"file://{path.parent}")):
        complaints.append(f"asked for {url}")
