"""Cuts that a page computes in a real browser: equal to Python's to the shown digits, quick, without a verdict."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pages.report_inputs import make_explanations, make_photos, make_predictions

from agegender.audit.assessment import assess
from agegender.audit.estimates import measure_groups
from agegender.audit.words import interval
from agegender.data.corrections import correct_faces, read_corrections
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_report_set
from agegender.pages.slicing import _seed_words

pytestmark = pytest.mark.browser
TEXTS = """rows => rows.map((row) => [...row.cells].map(
    (cell) => [...cell.childNodes].map((one) => one.textContent).join(' ')))"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sliced")
    predictions = make_predictions(700).assign(split="test")
    # Photos of some people stand twice, so that clusters are drawn.
    predictions["subject_id"] = [f"p{place // 2 if place < 60 else place}" for place in range(700)]
    faces = make_photos(folder / "photos", predictions, photo_count=700)
    worst = (predictions["predicted_age_years"] - predictions["age_years"]).abs().idxmax()
    explained = make_explanations(1, path=predictions.loc[worst, "path"])
    content = ReportContent(assess(predictions, title="made-up"), faces.root, explanations=explained)
    return content, write_report_set(folder / "report", content).pages, faces


def cut(page, *keys: str) -> dict[str, list[str]]:
    """Choose columns and return what the table says of each group: a text for each cell."""
    page.evaluate("location.hash = 'slice'")
    for place, key in enumerate((*keys, "", "")[:3]):
        page.locator(".cut-column").nth(place).select_option(key)
    page.wait_for_function("document.querySelector('#slice-table tfoot td')")
    rows = page.locator("#slice-table tbody tr").evaluate_all(TEXTS)
    return {row[0]: row[1:] for row in rows}


def tabled(page, table: str) -> dict[str, list[str]]:
    """Return what a table of the page says of each group."""
    rows = page.locator(f"{table} tbody tr").evaluate_all(TEXTS)
    titles = page.locator(f"{table} thead th").evaluate_all("cells => cells.map((cell) => cell.dataset.key)")
    return {row[0]: dict(zip(titles, row, strict=True)) for row in rows}


@pytest.mark.parametrize(
    "keys", [("gender",), ("ethnicity",), ("age_group", "ethnicity"), ("age_group", "gender", "ethnicity")]
)
def test_cuts_say_what_the_tables_say(made, open_page, keys):
    page = open_page(made[1]["bias"])
    found = cut(page, *keys)
    name = "-".join(one for one in ("gender", "ethnicity", "age_group") if one in keys).replace("_", "-")
    ages, genders = tabled(page, f"#{name}-age"), tabled(page, f"#{name}-gender") if name != "gender" else {}
    assert found.keys() == ages.keys()
    for group, (n, mae, signed, accuracy) in found.items():
        assert [n, mae, signed] == [ages[group][key] for key in ("n", "mae", "signed_error")]
        if group in genders:
            assert accuracy == genders[group]["gender_accuracy"]


def test_a_cut_by_error_equals_python(made, open_page):
    content = made[0]
    judged, clusters = content.assessment.judged, content.assessment.clusters
    errors = judged["predicted_age_years"] - judged["age_years"]
    size = errors.abs()
    assert clusters is not None
    found = cut(open_page(made[1]["bias"]), "age.error")
    right = (judged["predicted_gender"] == judged["gender"]).to_numpy(float)
    bands = np.select([errors < -8, errors < -5, size <= 5, errors <= 8], [0, 1, 2, 3], 4)
    ends, _ = measure_groups(size.to_numpy(), bands, 5, is_rate=False, clusters=clusters, resample_count=2000, seed=7)
    shares, _ = measure_groups(right, bands, 5, is_rate=True, clusters=clusters, resample_count=2000, seed=7)
    middle, outside = "by 5 to 8 years", "by 8 years or more"
    names = [
        f"too young {outside}",
        f"too young {middle}",
        "within ±5 years",
        f"too old {middle}",
        f"too old {outside}",
    ]
    assert list(found) == names
    for place, name in enumerate(names):
        n, mae, _, accuracy = found[name]
        assert int(n) == (bands == place).sum()
        assert mae == interval(ends.of(place))
        assert accuracy == interval(shares.of(place), is_percent=True)


@pytest.mark.parametrize("clustered", [False, True])
def test_every_size_of_group_equals_python(made, open_page, clustered):
    generator = np.random.default_rng(3)
    sizes = (1, 2, 5, 8, 40, 3200 if not clustered else 1700, 33)
    codes = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = generator.normal(1, 5, codes.size)
    own = pd.factorize(generator.permutation(codes.size) // 1.1)[0] if clustered else None
    page = open_page(made[1]["bias"])
    for numbers, rate in ((np.abs(values), False), (values, False), ((values > 0).astype(float), True)):
        found = page.evaluate(
            """([values, codes, count, clusters, seed, isRate]) => (
            isRate ? Estimates.rates(values, codes, count, clusters)
            : Estimates.means([values], codes, count, clusters, seed)[0]
            ).map((one) => [one.mean, one.low, one.high])""",
            [numbers.tolist(), codes.tolist(), len(sizes), own if own is None else own.tolist(), _seed_words(7), rate],
        )
        told, _ = measure_groups(numbers, codes, len(sizes), is_rate=rate, clusters=own, resample_count=2000, seed=7)
        expected = np.stack([told.values, told.low, told.high], axis=1)
        np.testing.assert_allclose(np.array(found, dtype=float), expected, rtol=2e-4)


def test_values_and_words_choose_the_faces(made, open_page):
    page = open_page(made[1]["bias"])
    cut(page, "gender")
    page.locator(".cut-value").first.select_option(label="female")
    assert page.locator("#slice-table tbody tr").count() == 1
    page.locator("#face-from").fill("60")
    faces = page.locator("#slice-faces li")
    told = faces.evaluate_all("faces => faces.map((one) => JSON.parse(one.dataset.labels))")
    assert told
    assert all(one["gender"] == "female" and float(one["age_years"]) >= 60 for one in told)
    again = open_page(made[1]["bias"], page.evaluate("location.hash"))
    again.wait_for_function("document.querySelector('#slice-table tfoot td')")
    assert again.locator("#slice-table tbody th").all_inner_texts() == ["female"]
    path = faces.first.get_attribute("data-path")
    page.locator("#face-words").fill(path)
    assert faces.count() == 1
    assert faces.first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.locator("#face-words").fill("nobody")
    assert "0 of 0 faces" in page.locator("#face-count").inner_text()


def test_marks_in_the_gallery_become_the_file_that_prepare_takes(made, open_page, tmp_path):
    page = open_page(made[1]["bias"])
    cut(page, "gender")
    faces = page.locator("#slice-faces li")
    paths = [faces.nth(place).get_attribute("data-path") for place in range(3)]
    faces.nth(0).locator("input[type=text]").fill("41")
    faces.nth(0).locator("input[type=text]").blur()
    faces.nth(1).get_by_label("wrong label").check()
    faces.nth(1).locator("select").select_option("gender")
    faces.nth(2).get_by_label("not a face").check()
    page.locator("#face-words").fill(paths[1])  # a list made anew keeps the marks
    assert faces.first.get_by_label("wrong label").is_checked()
    with page.expect_download() as download:
        page.locator("#save-marks").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    done, counts = correct_faces(made[2], read_corrections(file))
    assert {name: n for name, n in counts.items() if n} == {"mended": 1, "made_unknown": 1, "not_a_face": 1}
    rows = done.table.set_index("path")
    assert rows.loc[paths[0], "age_years"] == 41
    assert pd.isna(rows.loc[paths[1], "gender"])
    assert rows.loc[paths[2], "dropped_because"] == "not a face, found by review"


def test_a_cut_can_be_saved(made, open_page, tmp_path):
    page = open_page(made[1]["bias"])
    found = cut(page, "ethnicity")
    with page.expect_download() as download:
        page.locator("#slice-csv").click()
    download.value.save_as(tmp_path / "cut.csv")
    rows = list(csv.DictReader((tmp_path / "cut.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row["group"] for row in rows] == list(found)
    assert all(float(row["age_mae_low"]) < float(row["age_mae"]) < float(row["age_mae_high"]) for row in rows)


def test_the_part_that_cuts_gives_no_verdict_and_has_no_serious_fault(made, open_page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(made[1]["bias"], width=400)
    cut(page, "gender", "ethnicity", "age_group")
    words = page.locator("#slice").inner_text()
    assert "no test is made" in words
    assert "p (" not in words
    found = axe.run(page, "#slice").response["violations"]
    assert [
        (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def saved(page, button, folder) -> str:
    with page.expect_download() as download:
        button.click()
    download.value.save_as(folder / download.value.suggested_filename)
    return (folder / download.value.suggested_filename).read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_drawing_stands_alone_and_its_numbers_are_those_of_the_table(made, open_page, tmp_path, scheme):
    page = open_page(made[1]["bias"], "#by-ethnicity", color_scheme=scheme)
    figure = page.locator("figure", has=page.locator("svg[aria-label^='Mean error by ethnicity']")).first
    drawing = ElementTree.fromstring(saved(page, figure.get_by_text("SVG", exact=True), tmp_path))
    assert drawing.tag.endswith("}svg")
    text = ElementTree.tostring(drawing, encoding="unicode")
    assert "var(" not in text
    assert drawing[0].text.startswith("Mean error by ethnicity")
    rows = list(csv.DictReader(saved(page, figure.get_by_text("CSV", exact=True), tmp_path).splitlines()))
    points = {row["name"].split(" (")[0]: float(list(row.values())[2]) for row in rows if row["part"] == "point"}
    table = made[0].assessment.by("signed_error", "ethnicity").set_index("ethnicity")["value"]
    assert points == pytest.approx(table.to_dict(), abs=1e-4)


def test_a_cloud_is_saved_as_numbers_of_its_rows(made, open_page, tmp_path):
    page = open_page(made[1]["bias"], "#ages")
    figure = page.locator("figure", has=page.locator("svg[data-only*=female]")).first
    rows = list(csv.DictReader(saved(page, figure.get_by_text("CSV", exact=True), tmp_path).splitlines()))
    judged = made[0].assessment.judged
    women = judged[judged["gender"] == "female"]
    assert [float(row["labelled"]) for row in rows] == women["age_years"].tolist()


def test_a_point_shows_whose_it_is(made, open_page):
    page = open_page(made[1]["bias"], "#ages")
    judged = made[0].assessment.judged
    worst = judged.loc[(judged["predicted_age_years"] - judged["age_years"]).abs().idxmax()]
    cloud = page.locator("svg[data-cloud=age]").first
    cloud.focus()
    page.keyboard.press("ArrowRight")  # the largest error first
    card = page.locator("#pointed")
    told = card.inner_text()
    assert f"label {worst['age_years']:.0f} years, {worst['gender']}" in told
    assert worst["path"] in told
    assert card.locator("img").evaluate("image => image.naturalWidth") > 0
    mark = page.locator("circle.pointed").bounding_box()
    page.keyboard.press("Escape")
    assert not card.is_visible()
    page.mouse.move(mark["x"] + mark["width"] / 2 + 1, mark["y"] + mark["height"] / 2)  # the same point by pointer
    assert card.inner_text() == told
    # Where the mark stands is where the drawing has the point: the farthest from the line of equal ages.
    offset = abs(worst["predicted_age_years"] - worst["age_years"])
    assert offset > 12


def test_a_face_leads_to_its_explanation_and_a_map_names_its_regions(made, open_page):
    page = open_page(made[1]["bias"], "#faces")
    link = page.locator("#faces a", has_text="Explained").first
    link.click()
    page.wait_for_url("**/lime.html#photo-*")
    anchor = page.evaluate("location.hash.slice(1)")
    assert page.locator(f"#{anchor}").count() == 1
    picture = page.locator("[data-regions] img[data-weights]").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert page.locator("#pointed").inner_text().startswith("hair\n")
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5)
    assert page.locator("#pointed").inner_text().startswith("region 5")


def test_a_page_without_faces_holds_no_row_of_a_photo(made, open_page, tmp_path):
    pages = write_report_set(tmp_path, made[0], hide_faces=True, only=["bias"]).pages
    text = pages["bias"].read_text()
    assert "data-rows=" not in text
    assert "data-place=" not in text
    assert 'id="photo-' not in text
    assert ".jpg" not in text
    assert "nothing can be cut anew here" in open_page(pages["bias"], "#slice").locator("#slice").inner_text()
