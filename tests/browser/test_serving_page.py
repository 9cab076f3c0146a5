"""The page of a server in a real browser: upload, result, explanation, wrong file, too large, two at once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_model import GOLDEN, write_golden
from PIL import Image
from served import ROOMY, Served, drawn_photos, served

pytestmark = pytest.mark.browser
GOOD = {"name": "good.png", "mimeType": "image/png", "buffer": drawn_photos(1, side=200)[0]}
WRONG = {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear photo"}
LARGE = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(400_000)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def one(folder: Path) -> Iterator[Served]:
    with served(folder, replace(ROOMY, body_bytes=300_000)) as running:
        running.service.model.card["findings"] = []
        yield running


@pytest.fixture
def visit(chromium, one: Served):
    """Open the page; afterwards check that it asked nothing of anybody else and complained of refusals alone."""
    complaints, contexts = [], []

    def visit_it(address: str = one.address, **options):
        context = chromium.new_context(viewport={"width": options.pop("width", 1280), "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: None if "status of 4" in message.text else complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        known = (f"{address}/", "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(known) else complaints.append(asked.url))
        page.goto(f"{address}/")
        return page

    yield visit_it
    for context in contexts:
        context.close()
    assert complaints == []


def answered(page, count: int):
    from playwright.sync_api import expect

    articles = page.locator("article.photo:not([aria-busy])")
    expect(articles).to_have_count(count, timeout=30_000)
    return articles


def test_a_photo_is_answered_and_explained_by_keyboard_alone(visit) -> None:
    from playwright.sync_api import expect

    page = visit()
    expect(page.locator("#facts dt").first).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")  # from the first choice round to the last: a face already cut out
    assert page.evaluate("document.activeElement.value") == "cropped"
    page.set_input_files("#files", [GOOD])
    article = answered(page, 1)
    assert "90 % interval" in article.inner_text()
    assert "female:" in article.inner_text()
    assert page.locator("#status").inner_text() == "1 photo answered."
    button = article.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    expect(article.locator(".explanation img")).to_have_count(3, timeout=60_000)
    assert "age" in article.locator(".explanation").inner_text()


def test_wrong_and_large_files_are_told_and_others_go_on(visit) -> None:
    page = visit()
    page.locator("#facts dt").first.wait_for()
    page.set_input_files("#files", [WRONG, LARGE, GOOD])
    articles = answered(page, 3)
    assert "not an image" in articles.nth(0).inner_text()
    assert "0.4 MB; the server takes 0.3 MB at most" in articles.nth(1).inner_text()
    assert "90 % interval" in articles.nth(2).inner_text()
    assert page.locator("#status").inner_text() == "1 photo answered, 2 not."


def test_two_people_at_once_get_their_own_answers(visit, one: Served) -> None:
    pages = [visit(), visit()]
    photos = drawn_photos(8, side=100)
    expected = [row["predicted_age_years"] for row in one.predict(*photos, cropped="true").json()]
    for page, chosen in zip(pages, (photos[:4], photos[4:]), strict=True):
        page.locator("#facts dt").first.wait_for()
        page.get_by_label("take it as it is").check()
        files = [{**GOOD, "name": f"{place}.png", "buffer": data} for place, data in enumerate(chosen)]
        page.set_input_files("#files", files)
    for page, ages in zip(pages, (expected[:4], expected[4:]), strict=True):
        told = [article.locator(".value").first.inner_text() for article in answered(page, 4).all()]
        assert told == [f"{age:.{1 if abs(age) < 10 else 0}f} years" for age in ages]


def test_every_face_of_a_photo_is_boxed(visit, one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from agegender.photos.face_detection import FaceBox, HaarDetector

    boxes = [FaceBox(10, 20, 40, 40, 0.9), FaceBox(-5, 80, 30, 30, 0.8)]
    monkeypatch.setattr(HaarDetector, "detect", lambda *_: boxes)
    photo = Image.fromarray(np.load(GOLDEN / "photos.npz")["photos"][0]).resize((100, 100))
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    page = visit(width=400, color_scheme="dark")
    page.locator("#facts dt").first.wait_for()
    page.set_input_files("#files", [{**GOOD, "buffer": stream.getvalue()}])
    article = answered(page, 1)
    assert article.locator(".box").count() == 2
    places = article.locator(".box").evaluate_all(
        "boxes => boxes.map(({style}) => [style.left, style.width, style.top, style.height])"
    )
    assert places == [["10%", "40%", "20%", "40%"], ["0%", "25%", "80%", "20%"]]  # the second lies partly beyond it
    assert article.get_by_role("button").all_inner_texts() == ["Explain face 1", "Explain face 2"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_page_with_a_token_asks_for_it_and_keeps_it_nowhere(visit, folder: Path) -> None:
    with served(folder, token="0123456789abcdef") as running:
        page = visit(running.address)
        page.get_by_label("This server wants its token").fill("0123456789abcdef")
        page.keyboard.press("Enter")
        page.locator("#facts dt").first.wait_for()
        page.set_input_files("#files", [GOOD])
        assert "90 % interval" in answered(page, 1).inner_text()
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert "0123456789abcdef" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_have_no_serious_fault_for_those_who_cannot_see_them(visit, one: Served, scheme: str) -> None:
    sync_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(color_scheme=scheme, width=400 if scheme == "dark" else 1280)
    page.locator("#facts dt").first.wait_for()
    page.set_input_files("#files", [GOOD, WRONG])
    answered(page, 2)
    for _ in range(2):
        found = sync_playwright.Axe().run(page).response["violations"]
        assert [(one["id"], one["impact"]) for one in found if one["impact"] in ("serious", "critical")] == []
        page.goto(f"{one.address}/docs")
    assert page.get_by_role("heading", name="POST /predict").count() == 1
