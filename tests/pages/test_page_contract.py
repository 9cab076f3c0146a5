"""Every page is scanned for its duties: offline, escaped, readable by machines and people."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.pages.compare_page import write_comparison
from agegender.pages.contact_sheet import ContactSheet
from agegender.pages.dataset_page import write_dataset_page
from agegender.pages.search_page import write_search
from pages.report_inputs import predicted_rows, search_found

PAGES = ("index", "bias", "lime", "card", "dataset", "contact", "search", "compare")


class Scan(HTMLParser):
    """Gathers what the rules below look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_data(self, data):
        if self._in_script:
            self.scripts.append(data)
            self._in_script = False

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def texts(report, photos, predictions, tmp_path_factory):
    dataset = write_dataset_page(tmp_path_factory.mktemp("dataset") / "dataset.html", photos)
    sheet = ContactSheet(["one"], report.content.heads)
    sheet.add(predicted_rows(predictions.head(40), photos.root))
    others = {"dataset": dataset, "contact": sheet.write(tmp_path_factory.mktemp("contact") / "contact.html")}
    models = {"plain": predictions, "shifted": predictions.assign(predicted_age_years=predictions["age_years"] + 2.0)}
    pairs = {"shifted": compare_pair(*models.values(), resample_count=100)}
    place = tmp_path_factory.mktemp("compare") / "compare.html"
    others["compare"] = write_comparison(place, board=leaderboard(models), pairs=pairs, first="plain")
    others["search"] = write_search(tmp_path_factory.mktemp("search") / "search.html", **search_found())
    return {name: path.read_text() for name, path in {**report.written.pages, **others}.items()}


@pytest.fixture(scope="module")
def identifiers(texts):
    return {name: {attributes.get("id") for _, attributes in Scan(text).tags} for name, text in texts.items()}


@pytest.mark.parametrize("name", PAGES)
def test_page_names_no_network_address(texts, name):
    assert not re.search(r"https?:|wss?:|@import|src=\"//", texts[name])
    for attributes in Scan(texts[name]).of("a", "img", "link", "image", "use", "script"):
        for key in ("href", "src", "xlink:href"):
            address = attributes.get(key) or "#"
            assert address.startswith(("#", "data:")) or re.fullmatch(r"[\w.]+(#[\w-]+)?", address), address


@pytest.mark.parametrize("name", PAGES)
def test_page_runs_only_the_script_whose_hash_its_policy_names(texts, name):
    scan = Scan(texts[name])
    (script,) = scan.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(tag["content"] for tag in scan.of("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert not [key for _, attributes in scan.tags for key in attributes if key.startswith("on")]


@pytest.mark.parametrize("name", PAGES)
def test_page_speaks_to_screen_readers(texts, name):
    scan = Scan(texts[name])
    assert scan.of("html")[0]["lang"] == "en"
    assert all(image.get("alt") for image in scan.of("img"))
    assert all(header.get("scope") in ("row", "col") for header in scan.of("th"))
    assert len(scan.of("table")) == len(scan.of("caption"))
    assert all(chart.get("aria-label") and chart["role"] == "img" for chart in scan.of("svg"))
    identifiers = [attributes["id"] for tag, attributes in scan.tags if "id" in attributes and tag != "clippath"]
    svg_free = [
        identifier for identifier in identifiers if not re.fullmatch(r"[mpC][0-9a-f]{10}.*|image[0-9a-f]+", identifier)
    ]
    assert len(svg_free) == len(set(svg_free))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_inside_a_page_arrives(texts, identifiers, name):
    for link in Scan(texts[name]).of("a"):
        page, _, anchor = (link["href"] or "").partition("#")
        if page.startswith("data:") or not anchor:
            continue
        target = identifiers[page.split(".")[0] or name]
        assert anchor in target, link["href"]


@pytest.mark.parametrize("name", PAGES)
def test_page_says_what_gender_means_and_shows_no_raw_missing_value(texts, name):
    assert "annotated label of how a person presents" in texts[name]
    visible = re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", texts[name], flags=re.S)
    assert not re.search(r"\b(nan|None|NaT|inf)\b", visible)


def test_charts_take_every_colour_from_the_page(texts):
    drawings = re.findall(r"<svg.*?</svg>", texts["bias"], flags=re.S)
    assert len(drawings) > 10
    for drawing in drawings:
        assert not re.findall(r"(?:fill|stroke): ?#\w+", drawing)


def test_pages_of_3000_photos_stay_under_3_mb(report):
    assert sum(path.stat().st_size for path in report.written.pages.values()) < 3_000_000


def test_claimed_findings_come_first_and_name_group_size_and_interval(report, texts):
    first = report.content.assessment.findings[0]
    assert first.is_gap
    assert first.columns == ("age_group",)
    assert texts["bias"].index("60+") < texts["bias"].index("distinguishable from chance")
    assert re.search(r"n\s=\s\d+, 95 % CI", texts["bias"])
