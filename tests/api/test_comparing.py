"""Comparing models from their tables, and the course's submission file as its scorer reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender import compare
from agegender.api.comparison import Comparison
from agegender.audit.models_compared import write_submission
from agegender.audit.predictions_table import write_predictions
from agegender.errors import TableError


def table(shift_years: float, rows: int = 80) -> pd.DataFrame:
    ages = np.linspace(5, 80, rows)
    genders = np.array(["male", "female"] * (rows // 2), dtype=object)
    return pd.DataFrame(
        {
            "path": [f"{number:03}.jpg" for number in range(rows)],
            "age_years": ages,
            "gender": genders,
            "ethnicity": np.array(["White", "Asian", "Black", "Indian"] * (rows // 4), dtype=object),
            "split": ["test"] * rows,
            "predicted_age_years": ages + shift_years,
            "predicted_gender": genders,
            "female_probability": (genders == "female") * 0.8 + 0.1,
        }
    )


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.parquet" for name in ("good", "bad")]
    for path, shift in zip(paths, (1.0, 4.0), strict=True):
        write_predictions(table(shift), path)
    return paths


def test_the_better_model_leads_and_the_difference_is_paired(tables: list[Path]) -> None:
    comparison = Comparison(tables)
    assert comparison.board["model"].tolist() == ["good", "bad"]
    assert comparison.pairs["bad"].changes["age"].error_difference.value == pytest.approx(3.0)


def test_a_model_named_twice_is_compared_with_itself(tables: list[Path]) -> None:
    comparison = Comparison([tables[0], tables[0]])
    assert len(comparison.pairs) == 1
    (pair,) = comparison.pairs.values()
    assert pair.changes["age"].error_difference.value == 0.0


def test_a_submission_has_one_age_a_line_and_no_header(tmp_path: Path) -> None:
    assert write_submission(table(0.0).sample(frac=1, random_state=1), tmp_path / "predictions.zip") == 80
    with zipfile.ZipFile(tmp_path / "predictions.zip") as archive:
        assert archive.namelist() == ["predictions.csv"]
        lines = archive.read("predictions.csv").decode().split("\r\n")
    assert lines[-1] == ""
    assert [float(line) for line in lines[:-1]] == pytest.approx(np.linspace(5, 80, 80).tolist())


def test_a_submission_with_a_missing_age_is_refused(tmp_path: Path) -> None:
    rows = table(0.0)
    rows.loc[3, "predicted_age_years"] = np.nan
    with pytest.raises(TableError, match="1 photos"):
        write_submission(rows, tmp_path / "predictions.zip")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_its_page(tables: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([*map(str, tables), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "compare.html").stat().st_size > 5_000
    assert "bad against good" in capsys.readouterr().out


def test_one_model_alone_is_refused(tables: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(tables[0])]) == 2
    assert "second one" in capsys.readouterr().err


def test_the_terminal_has_every_bias_score_and_says_which_is_unknown(
    tables: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*map(str, tables), "--out", str(tmp_path / "page")]) == 0
    board = capsys.readouterr().out.splitlines()
    assert all(f"bias_{name}" in board[0] for name in ("gender", "age", "ethnicity", "expression"))
    assert board[1].count("unknown") == 1
    moods = np.array(["happy", "neutral", "neutral", "other"] * 20, dtype=object)
    for path, shift in zip(tables, (1.0, 4.0), strict=True):
        rows = table(shift)
        rows["predicted_age_years"] += np.where(moods == "happy", 3.0, 0.0)
        write_predictions(rows.assign(expression=moods), path)
    assert compare.main([*map(str, tables), "--out", str(tmp_path / "page")]) == 0
    board = capsys.readouterr().out.splitlines()
    assert "unknown" not in board[1]
    assert float(board[1].split()[board[0].split().index("bias_expression")]) == pytest.approx(2.0)


def test_a_submission_of_another_length_is_refused_and_nothing_is_written(
    tables: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "predictions.zip"
    words = [str(tables[0]), "--submission", str(target)]
    assert compare.main([*words, "--submission-rows", "1978"]) == 2
    assert "80 ages, and 1978 photos" in capsys.readouterr().err
    assert not target.exists()
    assert compare.main([*words, "--submission-rows", "80"]) == 0
    assert target.is_file()
    assert compare.main([str(tables[0]), str(tables[1]), "--submission-rows", "80"]) == 2
    assert compare.main([*words, "--submission-rows", "0"]) == 2
