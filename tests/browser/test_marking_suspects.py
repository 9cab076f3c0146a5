"""Suspected labels are marked in a real browser, and what is saved is what `prepare --corrections` takes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pages.report_inputs import make_photos, make_predictions

from agegender.api.audit import Audit
from agegender.data.corrections import correct_faces, photo_code, read_corrections
from agegender.data.faces_table import FacesTable, make_table

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FacesTable, dict[bool, Path]]:
    folder = tmp_path_factory.mktemp("suspects")
    predictions = make_predictions(300).assign(split="test")
    predictions.loc[[3, 5, 8], "age_years"] = (predictions.loc[[3, 5, 8], "age_years"] + 55) % 110
    predictions.loc[5, "path"] = "=1+2,'\"<b>.jpg"
    photos = make_photos(folder / "photos", predictions, photo_count=3)
    audit = Audit(predictions, images=photos.root)
    pages = {
        hides: audit.suspects_to_html(folder / f"{hides}.html", least=0.0, most=300, hide_faces=hides)
        for hides in (False, True)
    }
    columns = [name for name in ("path", "age_years", "gender", "ethnicity") if name in predictions]
    return FacesTable(make_table(predictions[columns].assign(source="csv").to_dict("records")), folder), pages


def item(path: str, column: str = "age_years") -> str:
    return f'li[data-photo="{photo_code(path)}"][data-column="{column}"]'


@pytest.mark.parametrize("hides", [False, True])
def test_marks_become_the_file_that_prepare_takes(made, open_page, tmp_path, hides: bool) -> None:
    faces, pages = made
    rows: pd.DataFrame = faces.table
    names = [rows.loc[number, "path"] for number in (3, 5, 8)]
    page = open_page(pages[hides])
    button = page.locator("#save-marks")
    assert button.is_disabled()
    page.locator(f"{item(names[0])} input[type=text]").fill("41")
    page.locator(f"{item(names[0])} input[type=text]").blur()
    assert page.locator(f"{item(names[0])} input[type=checkbox]").first.is_checked()
    page.locator(f"{item(names[1])} input[value='wrong label']").check()
    page.locator(f"{item(names[1])} input[value='not a face']").check()  # one mark a label
    assert not page.locator(f"{item(names[1])} input[value='wrong label']").is_checked()
    page.locator(f"{item(names[2])} input[value='look again']").check()
    assert "3 of " in page.locator("#marked-count").inner_text()
    with page.expect_download() as download:
        button.click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert (names[0] in file.read_text(encoding="utf-8")) is not hides
    done, counts = correct_faces(faces, read_corrections(file))
    assert {name: count for name, count in counts.items() if count} == {"mended": 1, "not_a_face": 1, "look_again": 1}
    assert done.table.loc[3, "age_years"] == 41
    assert done.table.loc[5, "dropped_because"] == "not a face, found by review"


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_narrow_screens(made, open_page, width: int) -> None:
    page = open_page(made[1][False], width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_javascript_the_list_can_be_read_and_the_button_is_not_shown(made, open_page) -> None:
    page = open_page(made[1][False], java_script_enabled=False)
    assert page.locator("#suspects li").count() > 100
    assert not page.locator("#save-marks").is_visible()
