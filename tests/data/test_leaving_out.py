"""--leave-out: poor photos go for a stored reason, and a loss that falls on some groups more than others is said."""

from __future__ import annotations

from pathlib import Path

import cv2
import pandas as pd
import pytest
from dataset_layouts import write_utkface

from agegender.data.faces_table import FacesTable, make_table
from agegender.data.leaving_out import check_names, leave_out, left_out_words, losses_by_group
from agegender.data.preparing import prepare_faces
from agegender.data.summary import count_steps
from agegender.errors import UsageError
from agegender.pages.dataset_page import dataset_context
from agegender.photos.quality import CHECKS
from agegender.settings import QUALITY_CHECKS


def scored(*, dark_of="old", share=0.3):
    """300 photos, a third of them old; of one band a share is dark, of everybody every thirtieth blurry."""
    rows = pd.DataFrame({"path": [f"{place}.jpg" for place in range(300)], "source": "csv"})
    rows["age_years"] = [70.0 if place % 3 == 0 else 30.0 for place in range(300)]
    rows["gender"] = ["female" if place % 2 else "male" for place in range(300)]
    inside = rows["age_years"] > 60 if dark_of == "old" else rows["age_years"] > 0
    rows["is_dark"] = inside & (rows.index % 100 < 100 * share)
    rows["dark_score"] = rows["is_dark"].map({True: 0.1, False: 0.9})
    rows["is_blurry"] = rows.index % 30 == 0
    rows["blurry_score"] = rows["is_blurry"].map({True: 0.001, False: 0.9})
    return FacesTable(make_table(rows.to_dict("list")), Path("/nowhere"))


def test_the_names_are_those_of_the_checks_that_there_are():
    assert QUALITY_CHECKS == CHECKS
    assert check_names("no_face, blurry,blurry") == ("no_face", "blurry")
    with pytest.raises(UsageError, match="Did you mean blurry"):
        check_names("blury")
    with pytest.raises(UsageError, match="no quality check"):
        check_names(",")


def test_suspected_photos_get_their_reason_and_no_other_row_changes():
    faces = scored()
    left = leave_out(faces, ["dark", "blurry"])
    dropped = left.table["dropped_because"]
    assert (dropped[faces.table["is_dark"]] == "poor quality: dark").all()
    only_blurry = faces.table["is_blurry"] & ~faces.table["is_dark"]
    assert (dropped[only_blurry] == "poor quality: blurry").all()
    assert dropped[~(faces.table["is_dark"] | faces.table["is_blurry"])].isna().all()
    assert faces.table["dropped_because"].isna().all()
    assert left.notes["left_out"] == ["dark", "blurry"]
    assert any(step.name == "poor quality: dark" and "--leave-out" in step.explanation for step in count_steps(left))


def test_a_reason_that_was_there_before_stays():
    faces = scored()
    faces.table.loc[0, "dropped_because"] = "unreadable"
    assert leave_out(faces, ["dark"]).table.loc[0, "dropped_because"] == "unreadable"


def test_a_check_that_nobody_scored_is_refused():
    with pytest.raises(UsageError, match="no photo has a score"):
        leave_out(scored(), ["brisque"])


def test_the_share_of_each_group_is_told_and_an_uneven_one_is_warned_of():
    left = leave_out(scored(), ["dark"])
    found = {(one.grouping, one.group): one for one in losses_by_group(left)}
    everybody, old = found["all", "everybody"], found["age", "≥60"]
    assert (old.before, old.lost, old.share) == (100, 30, 0.3)
    assert found["age", "20–39"].lost == 0
    assert everybody.share == pytest.approx(0.1)
    words = left_out_words(left)
    assert words[0].startswith("30 of 300 photos (10.0%) were left out for poor quality (dark)")
    assert [line.startswith("Uneven: 30.0% of the photos with age ≥60") for line in words[1:]] == [True]
    assert words[1] in dataset_context(left, {"leakage": []}, hide_faces=True)["warnings"]


def test_a_loss_that_falls_on_all_alike_is_no_warning():
    assert len(left_out_words(leave_out(scored(dark_of="all"), ["dark"]))) == 1
    assert left_out_words(scored()) == []


def test_prepare_scores_the_photos_that_it_is_to_leave_out(tmp_path, capsys):
    root = write_utkface(tmp_path)
    small = sorted(path for path in root.glob("2*"))[0]
    cv2.imwrite(str(small), cv2.resize(cv2.imread(str(small)), (20, 20)))
    faces, counts = prepare_faces("utkface", [root], leave_out=("tiny",))
    assert faces.table.set_index("path").loc[small.name, "dropped_because"] == "poor quality: tiny"
    assert counts["dropped"]["poor quality: tiny"] == 1
    assert not faces.kept()["is_tiny"].any()
    assert "were left out for poor quality (tiny)" in capsys.readouterr().err
