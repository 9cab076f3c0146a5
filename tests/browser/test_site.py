"""The site: built strictly, asking nothing of any network, every link leading somewhere, readable for everybody."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Whom the site's text links to. Nobody here follows these links: look at a new one before it is added.
KNOWN_HOSTS = {
    "127.0.0.1:8000",
    "arxiv.org",
    "github.com",
    "keepachangelog.com",
    "optuna.org",
    "pytorch.org",
    "scikit-learn.org",
}
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class Page(HTMLParser):
    """What a page loads, links to and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.path = path
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.update(value for name in ("id", "name") if (value := found.get(name)))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif found.get(LOADING.get(tag, "")):
            self.loads.append(found[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-d", str(folder / "read"), str(DOCS)]
    done = subprocess.run([*command, str(folder / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_downloads" not in path.parts}


def test_every_document_is_a_page(pages, site):
    written = {path.relative_to(site).with_suffix("") for path in pages}
    documents = {path.relative_to(DOCS).with_suffix("") for path in (*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb"))}
    assert documents - written == set()
    assert len(documents) > 90


def test_the_example_is_in_the_site_and_found_from_its_first_page(pages, site):
    assert "example/index.html" in pages[site / "index.html"].links
    assert {path.name for path in (site / "example").glob("*.html")} >= {"index.html", "bias.html", "lime.html"}


def test_no_page_asks_anything_of_any_network(pages, site):
    loaded = {address for page in pages.values() for address in page.loads}
    assert {address for address in loaded if urlsplit(address).scheme not in ("", "data")} == set()
    assert not any(address.startswith("//") for address in loaded)
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(\s*['\"]?|@import\s+['\"]?)(https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_link_and_anchor_leads_somewhere(pages):
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.exists() or (known and unquote(parts.fragment) not in known.anchors):
                lost.append((path.name, link))
    assert lost == []


def test_links_to_elsewhere_are_whole_addresses_of_known_hosts(pages):
    links = {link for page in pages.values() for link in page.links}
    outside = {link for link in links if urlsplit(link).scheme not in ("", "mailto", "data")}
    assert {urlsplit(link).netloc for link in outside} <= KNOWN_HOSTS
    assert all(re.fullmatch(r"https?://[^\s<>\"{}|\\^`]+", link) for link in outside)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "guides/audit-a-table", "reference/artefacts", "notebooks/first_steps"])
def test_axe_finds_nothing_serious(site, chromium, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = chromium.new_page(color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{site / name}.html")
    found = axe.Axe().run(page).response["violations"]
    page.close()
    assert [one for one in asked if not one.startswith(("file:", "data:"))] == []
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in grave] == []
