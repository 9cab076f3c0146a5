"""The pages in a real browser: sorting, filtering, state in the address, drill-down, downloads, narrow screens."""

from __future__ import annotations

import csv
import json
import re

import pytest
from pages.report_inputs import make_explanations, make_photos, make_predictions, predicted_rows, search_found

from agegender.api.audit import Audit
from agegender.api.comparison import Comparison
from agegender.audit.assessment import assess
from agegender.pages.contact_sheet import ContactSheet
from agegender.pages.dataset_page import write_dataset_page
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_report_set
from agegender.pages.search_page import write_search

pytestmark = pytest.mark.browser
TABLE = "#gender-ethnicity-age"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    predictions = make_predictions(700).assign(split="test")
    photos = make_photos(folder / "photos", predictions, photo_count=700)
    content = ReportContent(assess(predictions, title="made-up"), photos.root, explanations=make_explanations(4))
    sheet = ContactSheet(["one", "two"], content.heads)
    sheet.add(predicted_rows(predictions.head(60), photos.root))
    return {**write_report_set(folder, content).pages, "contact": sheet.write(folder / "contact.html")}


def column(page, table: str, place: int) -> list[str]:
    return page.locator(f"{table} tbody tr:not([hidden])").evaluate_all(
        "(rows, place) => rows.map((row) => row.cells[place].firstChild.textContent.trim())", place
    )


def test_click_on_a_heading_sorts_and_says_so(pages, open_page):
    page = open_page(pages["bias"], "#by-ethnicity")
    heading = page.locator("#ethnicity-age thead th").nth(1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    counts = [int(text) for text in column(page, "#ethnicity-age", 1)]
    assert counts == sorted(counts, reverse=True)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [int(text) for text in column(page, "#ethnicity-age", 1)] == sorted(counts)
    assert "sorted by Photos" in page.locator("#status").inner_text()


def test_small_groups_stay_last_however_one_sorts(pages, open_page):
    page = open_page(pages["bias"], "#by-gender-ethnicity-age-group")
    table = "#gender-ethnicity-age-group-age"
    page.locator(f"{table} thead th button").nth(2).click()
    few = page.locator(f"{table} tbody tr").evaluate_all("rows => rows.map((row) => row.classList.contains('few'))")
    assert any(few)
    assert few == sorted(few)


def test_sorting_and_filter_survive_in_the_address(pages, open_page):
    page = open_page(pages["bias"], "#by-gender-ethnicity")
    page.locator(f"{TABLE} thead th button").nth(1).click()
    page.locator("input[data-filters=gender-ethnicity-age]").fill("female × as")
    shown = column(page, TABLE, 0)
    assert shown == ["female × Asian"]
    again = open_page(pages["bias"], page.evaluate("location.hash"))
    assert column(again, TABLE, 0) == shown
    assert again.locator(f"{TABLE} thead th").nth(1).get_attribute("aria-sort") == "descending"
    assert again.locator("#by-gender-ethnicity").evaluate("inside => inside.parentElement.open")


def test_group_name_leads_to_its_faces(pages, open_page):
    page = open_page(pages["bias"], "#by-gender")
    page.locator("#gender-age tbody a").first.click()
    gallery = page.locator("#faces-gender-0")
    assert gallery.evaluate("inside => inside.parentElement.open")
    picture = gallery.locator("img").first
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert "the model's guess" in picture.get_attribute("alt")


def test_finding_leads_to_its_figures(pages, open_page):
    page = open_page(pages["index"])
    page.locator("ol.findings a", has_text="Figures").first.click()
    page.wait_for_url("**/bias.html#by-*")
    anchor = page.evaluate("location.hash.slice(1)")
    assert page.locator(f"[id={anchor}]").evaluate("place => place.getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("kind", ["CSV", "JSON"])
def test_tables_can_be_saved_without_any_network(pages, open_page, tmp_path, kind):
    # A browser opens what a link leads into; no script of ours is needed for it.
    page = open_page(pages["bias"], "#by-ethnicity", java_script_enabled=False)
    with page.expect_download() as download:
        page.locator(".table", has=page.locator("#ethnicity-age")).get_by_text(kind, exact=True).click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    text = saved.read_text(encoding="utf-8-sig")
    assert kind == "JSON" or saved.read_bytes().startswith(b"\xef\xbb\xbf")  # or spreadsheets misread it
    if kind == "JSON":
        table = json.loads(text)
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    else:
        rows = list(csv.DictReader(text.splitlines()))
    assert saved.name == f"ethnicity-age.{kind.lower()}"
    assert {row["group"] for row in rows} == {"White", "Black", "Asian", "Indian", "Others"}


@pytest.mark.parametrize("name", ["index", "bias", "lime", "card", "contact"])
def test_page_never_scrolls_sideways_on_a_phone(pages, open_page, name):
    page = open_page(pages[name], width=400, color_scheme="dark")
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("name", ["index", "bias", "lime", "card"])
def test_page_reads_without_javascript(pages, open_page, name):
    page = open_page(pages[name], java_script_enabled=False)
    assert page.locator("h2").count() >= 3
    assert page.locator("button:visible").count() == 0
    assert page.locator("input:visible, select:visible").count() == 0
    assert page.locator("figure:visible, table:visible, article:visible, main p:visible, li:visible").count() >= 3


def test_dark_and_light_change_charts_as_well(pages, open_page):
    colours = {}
    for scheme in ("light", "dark"):
        page = open_page(pages["bias"], color_scheme=scheme)
        read = "place => getComputedStyle(place)[place.tagName === 'text' ? 'fill' : 'backgroundColor']"
        colours[scheme] = (page.locator("body").evaluate(read), page.locator("svg.chart text").first.evaluate(read))
    assert colours["light"] != colours["dark"]
    for background, ink in colours.values():
        assert abs(_brightness(background) - _brightness(ink)) > 120


def test_bias_page_is_light_enough_to_open_at_once(pages, open_page):
    page = open_page(pages["bias"])
    # What a browser spends is in proportion to both; folded parts are not laid out before they are opened.
    assert page.evaluate("document.getElementsByTagName('*').length") < 25_000
    assert pages["bias"].stat().st_size < 3_000_000


def test_print_leaves_folded_what_is_folded_and_takes_few_pages(pages, open_page):
    page = open_page(pages["bias"])
    page.locator("#by-gender-ethnicity").evaluate("inside => { inside.parentElement.open = true; }")
    folded = page.locator("details:not([open])").count()
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) < 15
    assert page.locator("details:not([open])").count() == folded > 5
    page.emulate_media(media="print")
    assert not page.locator("nav.sections").is_visible()


def test_a_filter_that_nothing_meets_says_no_rows(pages, open_page):
    page = open_page(pages["bias"], "#by-gender-ethnicity")
    counted = page.locator(".table", has=page.locator(TABLE)).locator(".row-count")
    before = counted.inner_text()
    field = page.locator("input[data-filters=gender-ethnicity-age]")
    field.fill("nobody")
    assert counted.inner_text() == f"0 of {before.split()[0]} rows shown"
    field.fill("")
    assert counted.inner_text() == before


def test_without_javascript_a_link_to_faces_opens_them(pages, open_page):
    page = open_page(pages["bias"], "#by-gender", java_script_enabled=False)  # as a finding leads into its fold
    page.locator("#gender-age tbody a").first.click()
    page.wait_for_url("**#faces-gender-0")
    assert page.locator("#faces-gender-0").is_visible()


def test_the_tab_key_stops_rarely_and_arrows_lead_on(pages, open_page):
    page = open_page(pages["bias"])
    page.wait_for_timeout(100)  # regions are measured in the next frame
    stops = """[...document.querySelectorAll('a, button, input, select, summary, [tabindex]')]
        .filter((one) => one.tabIndex >= 0 && one.checkVisibility()).length"""
    assert page.evaluate(stops) < 130
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate(stops) < 320
    buttons = page.locator("#ethnicity-age thead button")
    buttons.first.focus()
    page.keyboard.press("ArrowRight")
    assert buttons.nth(1).evaluate("button => button === document.activeElement && button.tabIndex === 0")
    page.keyboard.press("Enter")
    assert page.locator("#ethnicity-age thead th").nth(1).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Home")
    assert buttons.first.evaluate("button => button === document.activeElement")


def test_navigation_marks_where_the_reader_is(pages, open_page):
    page = open_page(pages["bias"])
    assert page.locator("nav.pages [aria-current=page]").inner_text() == "Bias"
    page.locator("nav.sections a", has_text="Scores").click()
    page.wait_for_function("document.querySelector('nav.sections [aria-current]').textContent === 'Scores'")
    assert page.locator("nav.sections [aria-current]").count() == 1


def test_names_stay_beside_a_scrolled_table_on_a_phone(pages, open_page):
    page = open_page(pages["bias"], width=400)
    scroll = page.locator(".scroll", has=page.locator("#ethnicity-age"))
    scroll.evaluate("region => { region.scrollLeft = 300; }")
    name = scroll.locator("tbody th").first
    assert abs(name.bounding_box()["x"] - scroll.bounding_box()["x"]) <= 1
    assert scroll.locator("tbody th a").first.bounding_box()["height"] >= 24


@pytest.fixture(scope="module")
def further_pages(tmp_path_factory):
    """The pages that are no part of a report."""
    folder = tmp_path_factory.mktemp("further")
    predictions = make_predictions(150).assign(split="test")
    photos = make_photos(folder / "photos", predictions, photo_count=20)
    audit = Audit(predictions, images=photos.root)
    return {
        "suspects": audit.suspects_to_html(folder / "suspects.html", least=0.0, most=20),
        "search": write_search(folder / "search.html", **search_found()),
        "dataset": write_dataset_page(folder / "dataset.html", photos),
        "compare": Comparison([predictions, predictions.assign(predicted_age_years=30.0)]).to_html(
            folder / "compare.html"
        ),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["suspects", "search", "dataset", "compare"])
def test_further_pages_have_no_serious_fault_either(further_pages, open_page, name, scheme):
    check_with_axe(open_page(further_pages[name], color_scheme=scheme, width=400 if scheme == "dark" else 1280))


@pytest.mark.parametrize("name", ["index", "bias", "lime", "card", "contact"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_fault_for_those_who_cannot_see_them(pages, open_page, name, scheme):
    check_with_axe(open_page(pages[name], color_scheme=scheme, width=400 if scheme == "dark" else 1280))


def check_with_axe(page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = axe.run(page).response["violations"]
    told = [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
    assert told == []


def _brightness(colour: str) -> float:
    parts = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(parts) / 3
