"""The page of suspected labels: the surest first, offline, escaped, nameless where nobody is to be shown."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import agegender as ag
from agegender import report, suspects
from agegender.data.corrections import photo_code

NASTY = '"><script>alert(1)</script>.png'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suspects")
    generator = np.random.default_rng(0)
    count = 400
    is_female = generator.random(count) < 0.5
    ages = generator.uniform(5, 90, count).round()
    chance = np.where(is_female, 0.999, 0.001)
    rows = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(count)],
            "age_years": ages,
            "predicted_age_years": ages + generator.normal(0, 4, count),
            "gender": np.where(is_female, "female", "male"),
            "predicted_gender": np.where(is_female, "female", "male"),
            "gender_probability_female": chance,
            "split": "test",
        }
    )
    rows.loc[3, "path"] = NASTY.replace("/", "-")
    rows.loc[3, "age_years"] = 88 if rows.loc[3, "predicted_age_years"] < 50 else 5
    rows.loc[9, "gender"] = "male" if is_female[9] else "female"
    for name in (rows.loc[3, "path"], "9.png"):
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)
    rows.to_csv(folder / "theirs.csv", index=False)
    return folder / "theirs.csv"


def page_of(table: Path, tmp_path: Path, *words: str) -> tuple[str, dict]:
    out = tmp_path / "reports" / "suspects.html"
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = suspects.main(
            ["--predictions", str(table), "--images", str(table.parent), "--out", str(out), "--json", *words]
        )
    assert code == 0
    return out.read_text(encoding="utf-8"), json.loads(said.getvalue())


def test_the_planted_ones_lead_and_can_be_marked(table: Path, tmp_path: Path) -> None:
    text, document = page_of(table, tmp_path)
    assert {one["column"] for one in document["suspects"][:2]} == {"age_years", "gender"}
    assert {one["path"] for one in document["suspects"][:2]} == {NASTY.replace("/", "-"), "9.png"}
    assert text.count("data:image/webp") >= 2
    for mark in ("wrong label", "not a face", "look again"):
        assert f'value="{mark}"' in text
    assert f'data-photo="{photo_code("9.png")}" data-path="9.png" data-column="gender"' in text


def test_names_are_escaped_and_only_the_pages_own_script_runs(table: Path, tmp_path: Path) -> None:
    text, _ = page_of(table, tmp_path)
    assert "<script>alert" not in text
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text
    assert not re.search(r"https?:|wss?:", text)


def test_hidden_faces_hide_names_in_the_page_and_the_document(table: Path, tmp_path: Path) -> None:
    text, document = page_of(table, tmp_path, "--no-faces")
    assert "9.png" not in text
    assert photo_code("9.png") in text
    assert "path" not in document["suspects"][0]
    again, _ = page_of(table, tmp_path)  # remembered
    assert "9.png" not in again


@pytest.mark.parametrize(
    ("words", "said"),
    [("--least 2", "no probability"), ("--most 0", "leaves no suspect"), ("--out page.txt", "an HTML file")],
)
def test_bad_options_are_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert suspects.main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_the_library_does_the_same(table: Path, tmp_path: Path) -> None:
    audit = ag.Audit(table, images=table.parent)
    assert audit.suspects(least=0.9)["probability_wrong"].min() >= 0.9
    page = audit.suspects_to_html(tmp_path / "s.html", hide_faces=True)
    assert "9.png" not in page.read_text(encoding="utf-8")


def test_the_page_and_the_report_beside_it_lead_to_each_other(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    made = ["--predictions", str(table), "--images", str(table.parent), "--out", str(folder)]
    link, back = '<a href="suspects.html">Labels to look at</a>', '<a href="bias.html">Bias</a>'
    assert report.main(made) == 0
    bias = folder / "bias.html"
    before = bias.read_text(encoding="utf-8")
    assert link not in before
    text, _ = page_of(table, tmp_path)
    assert back in text
    assert bias.read_text(encoding="utf-8").count(link) == before.count('<a href="card.html">Model card</a>') > 0
    assert report.main(made) == 0  # the report anew: the page is of the same run, and stays linked
    assert link in bias.read_text(encoding="utf-8")
    assert back in (folder / "suspects.html").read_text(encoding="utf-8")
    assert report.main([*made, "--no-faces"]) == 0  # it shows faces, so nothing leads to it any more
    assert link not in bias.read_text(encoding="utf-8")
