"""What the dataset page says of people, photos and splits: planted heaping, empty cells, splits that differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.summary import warnings_of
from agegender.pages.dataset_page import dataset_context, write_dataset_page
from agegender.pages.dataset_people import cells_table, heaping_words, heatmaps, missing_table
from agegender.pages.dataset_photos import chosen, contact_sheet, pairs_by_distance, size_table
from agegender.pages.galleries import Photo
from agegender.pages.split_likeness import likeness_table
from agegender.pages.tables import Column, Row, Table, without_few
from pages.report_inputs import make_photos, make_predictions


def table_of(ages, **columns):
    rows = {"path": [f"{place}.jpg" for place in range(len(ages))], "source": "csv", "age_years": ages, **columns}
    return make_table(pd.DataFrame(rows).to_dict("list"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    rows = make_predictions(120)
    return make_photos(tmp_path_factory.mktemp("photos"), rows, photo_count=120)


def test_ages_that_gather_at_round_years_are_found_and_smooth_ones_are_not():
    generator = np.random.default_rng(3)
    smooth = generator.integers(18, 83, 6000).astype(float)
    guessed = np.where(generator.random(6000) < 0.5, np.round(smooth / 5) * 5, smooth)
    words = heaping_words(table_of(smooth))
    assert "no sign that they were rounded" in words[1]
    words = heaping_words(table_of(guessed))
    share = np.mean(guessed[(guessed >= 18) & (guessed <= 82)] % 5 == 0)
    assert f"ending in 0 or 5 hold {100 * share:.1f} %" in words[1]
    assert "against 20." in words[1]
    assert "they gather at round years" in words[1]


def test_few_ages_and_ages_between_years_say_nothing_of_heaping():
    assert heaping_words(table_of([20.0, 25.0])) == []
    assert heaping_words(table_of(np.linspace(20, 60, 500))) == []


def test_empty_and_tiny_cells_are_named_in_the_warnings():
    ages = [70.0] * 40 + [30.0] * 80
    gender = ["female"] * 20 + ["male"] * 20 + ["female"] * 40 + ["male"] * 40
    ethnicity = ["White"] * 40 + ["Asian"] * 20 + ["White"] * 20 + ["Asian"] * 20 + ["White"] * 20
    table = table_of(ages, gender=gender, ethnicity=ethnicity, split="test")
    said = warnings_of(FacesTable(table, "/"), {})
    empty = next(line for line in said if line.startswith("Nobody labelled"))
    assert "nobody labelled male and Asian of 60 and over" in empty
    assert "Nobody labelled female and Asian of 60 and over" in empty
    assert not any("White" in line for line in said if line.startswith("Nobody"))
    table.loc[table.index[:12], "split"] = "train"
    said = warnings_of(FacesTable(table, "/"), {})
    tiny = next(line for line in said if "fewer than 10 test photos" in line)
    assert tiny.startswith("1 of 8 groups by gender, ethnicity and ages")
    assert "female and White of 60 and over (8)" in tiny
    hidden = warnings_of(FacesTable(table, "/"), {}, least=10)
    assert any("female and White of 60 and over (under 10)" in line for line in hidden)


def test_the_heatmap_counts_every_photo_once_and_says_few_and_none(faces):
    kept = faces.kept()
    heats = heatmaps(kept, hide_few=False)
    assert [heat.caption.partition(":")[0] for heat in heats] == ["In train", "In valid", "In test"]
    texts = [cell.text for heat in heats for _, cells in heat.rows for cell in cells]
    numbers = [int(text.partition(" ")[0]) for text in texts if text != "none"]
    assert sum(numbers) == len(kept)
    assert all(
        text.endswith("few") == (number < 30)
        for text, number in zip([text for text in texts if text != "none"], numbers, strict=True)
    )
    table = cells_table(kept)
    assert sum(row.values["photos"] for row in table.rows) == len(kept)
    hidden = [cell.text for heat in heatmaps(kept, hide_few=True) for _, cells in heat.rows for cell in cells]
    assert not [text for text in hidden if text.split()[0].isdigit() and int(text.split()[0]) < 10]


def test_missing_values_are_counted_label_by_label():
    table = table_of([20.0, None, 40.0], gender=["male", None, None], hat=["cap", "cap", "none"])
    rows = {row.values["label"]: row.values for row in missing_table(table, hide_few=False).rows}
    assert [rows[name]["missing"] for name in ("age years", "gender", "ethnicity", "hat")] == [1, 2, 3, 0]
    assert rows["age years"]["range"] == "20 to 40, median 30"
    assert rows["hat"]["range"] == "most often cap, 66.7 %"


def test_splits_dealt_at_random_are_alike_and_a_planted_difference_is_seen():
    generator = np.random.default_rng(5)
    split = np.array(["train", "test"], dtype=object)[generator.integers(0, 2, 1200)]
    same = np.array(["a", "b"], dtype=object)[generator.integers(0, 2, 1200)]
    other = np.where((split == "test") & (generator.random(1200) < 0.3), "b", same)
    table = table_of(generator.integers(1, 90, 1200).astype(float), split=split, same=same, other=other)
    rows = {row.values["label"]: row.values for row in likeness_table(table).rows}
    assert rows["same"]["p"] > 0.05
    assert rows["age years"]["p"] > 0.05
    assert rows["other"]["p"] < 0.01
    shares = pd.crosstab(table["split"], table["other"], normalize="index")["b"]
    assert rows["other"]["difference"] == pytest.approx(100 * abs(shares["test"] - shares["train"]))
    assert rows["other"]["difference"] > rows["other"]["chance"]


def test_persons_are_dealt_whole_so_that_their_likeness_is_no_evidence():
    generator = np.random.default_rng(1)
    person = np.repeat(np.arange(40), 30)
    split = np.array(["train", "test"], dtype=object)[generator.integers(0, 2, 40)][person]
    look = np.array(["a", "b"], dtype=object)[generator.integers(0, 2, 40)][person]
    table = table_of([30.0] * 1200, split=split, look=look, subject_id=person.astype(str))
    alone = likeness_table(table.assign(subject_id=None)).rows[-1].values
    whole = likeness_table(table).rows[-1].values
    assert whole["label"] == "look"
    assert whole["chance"] > 3 * alone["chance"]
    assert whole["p"] > 0.05


def shown(row, said):
    return Photo("", row["path"], "", (said,), row["path"])


def test_the_sheet_is_the_same_each_time_and_never_larger_than_its_cap(faces):
    kept = faces.kept()
    sheet, again = (contact_sheet(rows, shown) for rows in (kept, kept.sample(frac=1, random_state=1)))
    one, other = (
        [sorted(photo.alt for cell in group["cells"] for photo in cell["photos"]) for group in made]
        for made in (sheet, again)
    )
    assert one == other
    assert max(len(cell["photos"]) for group in sheet for cell in group["cells"]) <= 12
    parts = [kept.assign(path=kept["path"] + str(copy), ethnicity=f"e{copy}") for copy in range(30)]
    many = contact_sheet(pd.concat(parts, ignore_index=True), shown)
    assert sum(len(cell["photos"]) for group in many for cell in group["cells"]) <= 360
    assert len(chosen(kept["path"], 5)) == 5


def test_sizes_are_those_of_the_files_and_photos_that_are_gone_give_no_table(faces, tmp_path):
    rows = size_table(faces).rows
    assert rows[0].values["group"] == "everybody"
    assert {row.values["shorter_side"] for row in rows} == {60.0}
    assert size_table(FacesTable(faces.table, tmp_path)) is None


def test_one_pair_for_each_distance_that_occurs(faces):
    table = faces.table.head(3).assign(
        phash=["0" * 16, "0" * 15 + "3", "f" * 16], file_sha512=["a", "b", "c"], twin_cluster=None
    )
    pairs = pairs_by_distance(
        FacesTable(table, faces.root, {"cleaning": {"near_duplicates": 1}}), lambda row, said: (row["path"], said)
    )
    assert [(pair["title"], pair["note"]) for pair in pairs] == [("2 of 64 bits apart", "taken for different photos")]
    assert {path for path, _ in pairs[0]["photos"]} == set(table["path"].head(2))


def test_rows_of_few_say_nothing_and_other_rows_keep_their_figures():
    columns = [Column("name", "Name"), Column("n", "Photos", 0), Column("train", "In train", 0), Column("x", "X", 1)]
    rows = [Row({"name": "a", "n": 9, "train": 3, "x": 1.5}), Row({"name": "b", "n": 40, "train": 4, "x": 2.5})]
    table = without_few(Table("t", "T", columns, rows), ("n", "train"))
    assert [dict(row.values) for row in table.rows] == [
        {"name": "a", "n": "<10", "train": "<10", "x": None},
        {"name": "b", "n": 40, "train": "<10", "x": 2.5},
    ]
    assert "fewer than 10 photos" in table.note
    assert "1.5" not in table.csv_text() + table.json_link


def test_mended_labels_stand_on_the_page_with_what_they_were(faces, tmp_path):
    table = faces.table.copy()
    table["corrected"] = None
    table.loc[0, "corrected"] = "age_years: 63 → 36"
    mended = FacesTable(table, faces.root, {"corrections": {"file": "c.csv", "mended": 1, "not_a_face": 0}})
    page = write_dataset_page(tmp_path / "dataset.html", mended).read_text(encoding="utf-8")
    assert "age_years: 63 → 36" in page
    assert "Taken in from a corrections file: 1 photo mended." in page
    hidden = write_dataset_page(tmp_path / "hidden.html", mended, hide_faces=True).read_text(encoding="utf-8")
    assert "63 → 36" not in hidden
    assert "under 10 photos mended" in hidden


def test_two_photos_without_any_label_still_make_a_page(tmp_path):
    table = make_table({"path": ["a.jpg", "b.jpg"], "source": ["csv", "csv"]})
    for hides in (False, True):
        context = dataset_context(FacesTable(table, tmp_path), {"leakage": []}, hide_faces=hides)
        assert context["heats"] == []
        assert context["heaping"] == []
