"""--no-faces: no page holds a path, a picture, a row about one photo, or a figure of fewer than ten photos."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from urllib.parse import unquote

import pytest

from agegender.audit.assessment import assess
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.audit.words import FEW
from agegender.data.faces_table import FacesTable, make_table
from agegender.pages.compare_page import write_comparison
from agegender.pages.dataset_page import write_dataset_page
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_report_set
from pages.report_inputs import make_explanations, make_photos, make_predictions

PAGES = ("index", "bias", "card", "lime", "compare", "dataset")
# Keys of tables that count photos; whatever else is a whole number is none.
COUNTS = re.compile(r"(?:.*_)?(?:n|photos|photo_count|files|kept|train|valid|test|unlabelled|missing)|with_\w+")


def cells(page):
    """Yield caption, key and number of every count on a page and in the files that it holds."""
    for table in re.findall(r"<table id=.*?</table>", page, flags=re.S):
        caption = re.sub(r"<[^>]*>", "", re.search(r"<caption>(.*?)</caption>", table, re.S)[1]).strip()
        keys = re.findall(r'<th scope="col" data-key="([^"]*)"', table)
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table.partition("<tbody>")[2], flags=re.S):
            found = re.findall(r"<t[hd]([^>]*)>(.*?)</t[hd]>", row, flags=re.S)
            for key, (attributes, _) in zip(keys, found, strict=True):
                value = re.search(r'data-sort="([^"]*)"', attributes)
                if COUNTS.fullmatch(key) and value:
                    yield caption, key, value[1]
    for name, record in records(page):
        yield from ((name, key, str(value)) for key, value in record.items() if COUNTS.fullmatch(str(key)))


def records(page):
    for name, data in re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)" download="([^"]*)"', page):
        yield from ((data, record) for record in csv.DictReader(io.StringIO(unquote(name))))
    for data, name in re.findall(r'href="data:application/json;base64,([^"]*)" download="([^"]*)"', page):
        found = json.loads(base64.b64decode(data))
        rows = [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]
        yield from ((name, record) for record in rows)


def few(page):
    numbers = ((where, key, value) for where, key, value in cells(page) if re.fullmatch(r"\d+(\.0)?", value))
    return [(where, key, value) for where, key, value in numbers if 0 < float(value) < FEW]


@pytest.fixture(scope="module")
def rows():
    rows = make_predictions(150).assign(split=["test"] * 110 + ["train"] * 31 + ["valid"] * 9)
    rows.loc[:4, "ethnicity"] = "Rare"
    return rows


@pytest.fixture(scope="module")
def pages(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hidden")
    photos = make_photos(tmp_path_factory.mktemp("photos"), rows, photo_count=150)
    content = ReportContent(assess(rows, title="x"), photos.root, explanations=make_explanations(2, path="7_0.jpg"))
    write_report_set(folder, content, hide_faces=True)
    test = rows[rows["split"] == "test"]
    better = test.assign(predicted_age_years=test["age_years"])
    board, pair = leaderboard({"a": test, "b": better}), compare_pair(test, better)
    write_comparison(folder / "compare.html", board=board, pairs={"b": pair}, first="a", hide_faces=True)
    write_dataset_page(folder / "dataset.html", dataset(rows, photos), hide_faces=True)
    return {name: (folder / f"{name}.html").read_text() for name in PAGES} | {
        "MODEL_CARD": (folder / "MODEL_CARD.md").read_text()
    }


def dataset(rows, photos):
    """Twins, contradictions, a poor photo and a few losses."""
    table = rows[["path", "age_years", "gender", "ethnicity", "split"]].assign(source="csv")
    table["twin_cluster"], table["file_sha512"] = None, None
    table.loc[:1, ["twin_cluster", "file_sha512"]] = ["t1", "a"]
    table["blurry_score"], table["is_blurry"] = 0.5, False
    table.loc[2:4, ["blurry_score", "is_blurry"]] = [0.001, True]
    table["dropped_because"] = None
    table.loc[1, "dropped_because"] = "exact duplicate"
    table.loc[5, "dropped_because"] = "unreadable"
    labels = table.loc[:1, ["path", "age_years", "gender", "ethnicity"]].to_dict("records")
    cleaning = {"conflicts": [{"kind": "exact", "photos": labels}], "conflict_groups": 1}
    return FacesTable(
        make_table(table.to_dict("list")), photos.root, {"cleaning": cleaning, "malformed_names": ["q.jpg"]}
    )


@pytest.mark.parametrize("name", [*PAGES, "MODEL_CARD"])
def test_no_page_names_a_file(pages, rows, name):
    assert not [path for path in (*rows["path"], "q.jpg") if path in pages[name] or unquote(path) in pages[name]]


@pytest.mark.parametrize("name", ["index", "bias", "card", "compare", "dataset"])
def test_no_page_shows_a_picture_or_a_point_of_one_photo(pages, name):
    assert "<img" not in pages[name]
    assert "<image" not in pages[name]
    assert not re.search(r"label \d+, (fe)?male", pages[name])
    # A cloud draws its points as uses of one marker.
    assert all(drawing.count("<use") < 80 for drawing in re.findall(r"<svg.*?</svg>", pages[name], flags=re.S))


@pytest.mark.parametrize("name", PAGES)
def test_no_table_nor_its_files_count_fewer_than_ten_photos(pages, name):
    assert few(pages[name]) == []


@pytest.mark.parametrize("name", ["index", "bias", "card", "dataset"])
def test_a_group_of_five_has_no_row_of_its_own_with_figures(pages, name):
    for where, record in records(pages[name]):
        if "Rare" in map(str, record.values()):
            assert not [value for value in record.values() if re.fullmatch(r"\d+\.\d+", str(value))], (where, record)


def test_the_pages_say_what_was_left_out_and_why(pages):
    assert re.search(r"fewer than 10 photos", pages["bias"])
    assert "fewer than 10 photos" in pages["dataset"]
