from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from agegender.audit.predictions_table import write_predictions
from agegender.data.faces_table import write_faces
from agegender.report import main
from pages.report_inputs import make_photos, make_predictions

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def models(tmp_path, report):
    """A folder with one model folder that holds no weights, which reports never read."""
    folder = tmp_path / "models" / "first"
    folder.mkdir(parents=True)
    predictions = make_predictions(120).assign(split="test", ethnicity=None, gender=None, predicted_gender=None)
    write_predictions(predictions, folder / "predictions.parquet")
    write_faces(make_photos(tmp_path / "photos", predictions), folder / "faces.parquet")
    card = {"name": "first", "body": "resnet34", "heads": [], "image": {"size": 96}}
    (folder / "model.json").write_text(json.dumps(card))
    return folder.parent


def test_newest_model_is_reported_and_named(models, tmp_path, capsys):
    (tmp_path / "reports" / "first").mkdir(parents=True)
    (tmp_path / "reports" / "first" / "lime.html").write_text("old")
    code = main(["--models-dir", str(models), "--reports-dir", str(tmp_path / "reports"), "--json", "--no-faces"])
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert code == 0
    assert "newest model" in said.err
    assert "first" in said.err
    assert "lime.html is from an earlier run and stays as it is; it may show faces" in said.err
    assert set(document["pages"]) == {"index", "bias", "card"}
    assert document["photos"] == 120
    assert document["split"] == "test"
    assert all((tmp_path / "reports" / "first" / f"{name}.html").is_file() for name in document["pages"])


def test_a_report_that_cannot_be_written_is_refused_before_the_table_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("agegender.report._foreign_content", lambda *_: pytest.fail("the table was read"))
    given = ["--predictions", str(tmp_path / "theirs.csv")]
    (tmp_path / "file").write_text("in the way")
    assert main([*given, "--out", str(tmp_path / "file" / "pages")]) == 2
    assert "in the way; name another place" in capsys.readouterr().err
    monkeypatch.setattr("agegender.writing.shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert main([*given, "--out", str(tmp_path / "pages")]) == 2
    assert "a report needs about 20 MB in" in capsys.readouterr().err
    assert not (tmp_path / "pages").exists()


def test_foreign_table_is_audited_with_its_own_column_names(tmp_path, capsys):
    table = make_predictions(120)[["age_years", "predicted_age_years"]].rename(columns=lambda name: f"their_{name}")
    table.to_csv(tmp_path / "theirs.csv", index=False)
    code = main([
        "--predictions", str(tmp_path / "theirs.csv"), "--out", str(tmp_path / "out"), "--json",
        "--columns", "age_years=their_age_years", "predicted_age_years=their_predicted_age_years",
    ])  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [one["check"] for one in document["age_checks"]] == ["18:25", "13-16"]
    assert document["split"] == "all rows"
    assert "Only its predictions were given" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models-dir", "nowhere"], "no model"),
        (["--model", "nowhere"], "no model folder"),
        (["--predictions", "nowhere.csv"], "no predictions table"),
        (["--predictions", "t.csv", "--columns", "age=x"], "no column of ours"),
        (["--predictions", "t.csv", "--columns", "age_years"], "OURS=THEIRS"),
        (["--predictions", "t.csv", "--columns", "age_years=x"], "no column 'x'"),
        (["--predictions", "t.csv"], "--columns"),
        (["--predictions", "t.csv", "--images", "nowhere"], "no folder"),
        (["--columns", "age_years=x"], "--predictions"),
        (["--predictions", "t.csv", "--age-checks", "18:16"], "challenge age lies below the legal age"),
        (["--predictions", "t.csv", "--age-checks", "18:25", "abc"], "age check 'abc' is no LEGAL:CHALLENGE"),
        (["--predictions", "t.csv", "--age-checks", "16-13"], "range begins after it ends"),
        (["--predictions", "t.csv", "--age-check-rate", "5"], "rate 5 is no share between 0 and 1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_columns_of_any_head_can_be_mapped(tmp_path, capsys):
    table = make_predictions(80)[["gender"]].assign(h=range(80), pred_h=range(1, 81))
    table.to_csv(tmp_path / "theirs.csv", index=False)
    code = main([
        "--predictions", str(tmp_path / "theirs.csv"), "--out", str(tmp_path / "out"), "--json",
        "--columns", "height_cm=h", "predicted_height_cm=pred_h",
    ])  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out)["photos"] == 80
    page = (tmp_path / "out" / "bias.html").read_text()
    assert "True against predicted height" in page
    assert "by h<" not in page


def test_title_never_leads_out_of_the_reports(tmp_path, capsys):
    make_predictions(60).to_csv(tmp_path / "t.csv", index=False)
    code = main(
        ["--predictions", str(tmp_path / "t.csv"), "--reports-dir", str(tmp_path / "reports"), "--title", "../../x"]
    )
    assert code == 0
    assert capsys.readouterr().out.count("wrote") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reports", "t.csv"]
