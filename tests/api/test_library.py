"""The library: every name that `import agegender` gives, used as a notebook uses it."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import agegender as ag
from agegender.errors import AgeGenderError, TableError, UsageError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
TINY = {"body": "test_resnet", "image_size": 32, "epochs": 1, "batch_size": 16, "weights": "none", "device": "cpu"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> ag.Faces:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    drawn = ag.Faces.drawn(folder, 150, image_size=48).clean(near_duplicates=None).split()
    height = 100 + drawn.table["age_years"].clip(upper=18) * 4 + np.arange(len(drawn.table)) % 7
    return ag.Faces(drawn.table.assign(height_cm=height), drawn.root, drawn.notes)


@pytest.fixture(scope="module")
def model(faces) -> ag.Model:
    return ag.Model.train(faces, heads=["age", "gender", "expression", "height"], name="four", **TINY)


@pytest.fixture(scope="module")
def table(model, faces) -> pd.DataFrame:
    return model.predict(faces)


def test_every_public_name_is_there_and_documented():
    for name in ag.__all__:
        assert len(getattr(ag, name).__doc__ or "") > 20, name
    with pytest.raises(AttributeError, match="has no attribute 'Modell'"):
        _ = ag.Modell


def test_every_head_reaches_the_predictions_table(model, table, faces):
    assert [head.name for head in model.heads] == ["age", "gender", "expression", "height"]
    for head in model.heads:
        assert table[list(head.prediction_columns)].notna().all().all() or head.kind == "regression"
    assert table["split"].tolist() == faces.kept()["split"].tolist()
    expression = model.heads[2]
    chances = table[list(expression.probability_columns.values())]
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-9)
    assert table["predicted_expression"].isin(expression.classes).all()
    assert table["predicted_height_cm"].between(50, 250).all()


@pytest.mark.parametrize("form", ["path", "text", "array", "pil"])
def test_a_photo_is_predicted_in_any_form(model, table, faces, form):
    row = table.iloc[0]
    path = faces.photo_path(row["path"])
    photo = {
        "path": path,
        "text": str(path),
        "array": np.asarray(Image.open(path).convert("RGB")),
        "pil": Image.open(path),
    }[form]
    predicted = model.predict(photo)
    assert len(predicted) == 1
    assert predicted["predicted_age_years"].iloc[0] == pytest.approx(row["predicted_age_years"], abs=1e-3)


def test_a_folder_is_predicted_photo_by_photo_and_a_broken_one_is_named(model, faces, tmp_path):
    for path in faces.table["path"].head(2):
        shutil.copy(faces.photo_path(path), tmp_path)
    (tmp_path / "zz-broken.jpg").write_bytes(b"no photo")
    predicted = model.predict(tmp_path)
    assert predicted["error"].isna().tolist() == [True, True, False]
    assert predicted["predicted_age_years"].notna().tolist() == [True, True, False]


def test_a_model_comes_back_as_it_was_saved(model, table, faces, tmp_path):
    folder = model.save(tmp_path / "models" / "four")
    again = ag.Model.load(folder)
    assert again.heads == model.heads
    pd.testing.assert_frame_equal(
        again.predictions[table.columns], model.predictions[table.columns], check_dtype=False, atol=1e-9
    )
    pd.testing.assert_frame_equal(again.predict(faces), table, check_dtype=False, atol=1e-4)


def test_the_audit_judges_test_rows_and_says_so(table):
    audit = ag.Audit(table)
    assert audit.split == "test"
    assert len(audit.rows) == (table["split"] == "test").sum()
    assert [head.name for head in audit.heads] == ["age", "gender", "height", "expression"] or len(audit.heads) == 4
    by = audit.by("gender.accuracy", "ethnicity")
    assert {"ethnicity", "value", "low", "high", "n", "persons"} <= set(by.columns)
    with pytest.raises(UsageError, match="mean_absolute_error"):
        audit.by("mae", "ethnicity")  # two heads have one
    assert audit.metrics["test"]["expression"]["macro_f1"] >= 0


def test_the_whole_audit_is_one_long_table_of_the_same_numbers(table):
    audit = ag.Audit(table)
    frame = audit.to_frame()
    assert not frame.duplicated(["metric", "grouping", "group"]).any()
    for (metric, columns), part in frame[frame["group"] != ""].groupby(["metric", "grouping"]):
        expected = audit.by(metric, *columns.split(" × "))
        for column in ("value", "low", "high", "n"):
            ours = part["value" + ("_" + column if column in ("low", "high") else "")] if column != "n" else part["n"]
            np.testing.assert_allclose(ours.astype(float), expected[column].astype(float))
    assert {"age.mean_absolute_error", "gender.accuracy"} <= set(frame["metric"])
    claimed = {(one.metric, " × ".join(one.columns)) for one in audit.findings if one.is_gap}
    assert claimed <= set(zip(frame["metric"], frame["grouping"], strict=True))


def test_results_show_themselves_and_stay_small(model, table, faces):
    explained = model.explain(faces.photo_path(table["path"].iloc[0]), samples=64)
    for shown in (faces, model, ag.Audit(table), ag.Comparison([table, table.copy()]), explained):
        text = shown._repr_html_()
        assert text.startswith("<")
        assert len(text) < 60_000


def test_explanations_have_a_map_for_every_target(model, table, faces):
    explained = model.explain(faces.photo_path(table["path"].iloc[0]), samples=64)
    names = [one.target.key for one in explained.maps]
    wanted = [target.key for head in model.heads for target in head.targets]
    assert names == wanted
    assert explained.plot().axes


def test_pages_of_every_head_are_written(model, table, tmp_path):
    assert ag.Audit(table).to_html(tmp_path / "bias.html").stat().st_size > 10_000
    text = (tmp_path / "bias.html").read_text(encoding="utf-8")
    for word in ("expression", "height", "cm"):
        assert word in text
    page = ag.Comparison({"one": table, "two": table.assign(predicted_age_years=30.0)}).to_html(tmp_path / "c.html")
    assert "expression" in page.read_text(encoding="utf-8")


def test_a_learner_of_ones_own_becomes_a_model(model, faces, table):
    again = ag.Model.from_learner(model.learner, heads=model.heads, image_size=32)
    predicted = again.predict(faces)
    np.testing.assert_allclose(predicted["predicted_age_years"], model.predict(faces)["predicted_age_years"], atol=60)
    assert predicted["predicted_expression"].tolist() == table["predicted_expression"].tolist()


def test_bad_use_is_an_error_of_the_tree(faces, table, tmp_path):
    with pytest.raises(TableError):
        ag.Audit(pd.DataFrame({"a": [1]}))
    with pytest.raises(AgeGenderError):
        ag.Model.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no column mask_wearing"):
        ag.Model.train(faces, heads=["mask_wearing"], **TINY)
    with pytest.raises(UsageError):
        ag.Comparison([])
