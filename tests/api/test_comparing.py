"""Comparing models from their tables, and the course's submission file as its scorer reads it."""

from __future__ import annotations

import html
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender import compare
from agegender.api.comparison import Comparison
from agegender.audit.predictions_table import write_predictions
from agegender.audit.submission import write_submission
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
    assert (
        "Age: bad is worse than good: mean absolute error 4.00 years against 1.00, 3.00 higher"
        in capsys.readouterr().out
    )


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


def numbers_in(document: object) -> set[float]:
    """Return every number of a JSON document, its percentages and its sizes too."""
    if isinstance(document, dict):
        return set().union(*map(numbers_in, document.values()))
    if isinstance(document, list):
        return set().union(*map(numbers_in, document))
    return {abs(document), abs(100 * document)} if isinstance(document, (int, float)) else set()


def test_every_number_of_the_sentences_stands_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables, generator = {}, np.random.default_rng(3)
    for name, noise in (("plain", 6.0), ("better", 5.0), ("other", 5.5)):
        rows = table(0.0, 600)
        rows["predicted_age_years"] += noise * generator.normal(size=600) - 2.0 * (rows["ethnicity"] == "Black")
        rows["predicted_gender"] = np.where(generator.random(600) < noise / 30, "male", rows["gender"])
        tables[name] = tmp_path / f"{name}.csv"
        rows.drop(columns="female_probability").to_csv(tables[name], index=False)
    words = [*map(str, tables.values()), "--out", str(tmp_path / "page"), "--json"]
    assert compare.main(words) == 0
    document = json.loads(capsys.readouterr().out)
    page = html.unescape(re.sub(r"</?span[^>]*>", "", (tmp_path / "page" / "compare.html").read_text()))
    known = numbers_in(document)
    sentences = [
        *document["headline"],
        *(one for pair in document["against_first"].values() for one in pair["sentences"]),
    ]
    assert len(sentences) > 6
    for sentence in sentences:
        assert sentence in page
        said = re.sub(r"Ages [\d–+]+|ages [\d–+]+|95 %|under \d\d", "", sentence)
        for text in re.findall(r"\d[\d,]*(?:\.\d+)?", said):
            digits = len(text.partition(".")[2])
            shown = float(text.replace(",", ""))
            assert any(abs(one - shown) <= 0.51 * 10.0**-digits for one in known), (text, sentence)


def test_identical_answers_are_said_as_identical(tables: list[Path]) -> None:
    said = " ".join(Comparison([tables[0], tables[0]]).headline)
    assert "give one and the same age for each of 80 photos" in said
    assert "give one and the same gender for each of 80 photos" in said
    assert "mended" not in said


def test_without_labels_only_agreement_is_said(tmp_path: Path) -> None:
    models = {name: table(shift).drop(columns=["age_years", "gender"]) for name, shift in (("a", 0.0), ("b", 2.0))}
    comparison = Comparison(models)
    said = " ".join(comparison.headline)
    assert "Age has no labels, so only agreement can be said: a and b are 2.00 years apart on average" in said
    assert "b +2.00 against a" in said
    assert "b and a give one and the same gender" in said
    assert "flatters" not in said
    assert comparison.to_html(tmp_path / "compare.html").stat().st_size > 5_000


def test_two_photos_are_said_to_tell_nothing(tmp_path: Path) -> None:
    models = {name: table(shift).iloc[[3, 40]] for name, shift in (("a", 0.0), ("b", 2.0))}
    assert "With 2 photos hardly any difference can be told from chance." in Comparison(models).headline


def test_heads_that_one_model_alone_has_are_named_and_left_out(tmp_path: Path) -> None:
    both = table(1.0)
    ages, genders = (
        both.drop(columns=["gender", "predicted_gender", "female_probability"]),
        both.drop(columns=["age_years", "predicted_age_years"]),
    )
    assert (
        "genders alone predicts gender here, which is not compared."
        in Comparison({"ages": both[ages.columns], "genders": both}).headline
    )
    with pytest.raises(TableError, match="no head in common"):
        Comparison({"ages": ages, "genders": genders})
