"""What pages are drawn of: maps, thumbnails, charts, tables of matrices."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pandas as pd

from agegender.audit.estimates import Estimate
from agegender.heads import AGE, GENDER
from agegender.pages import charts
from agegender.pages.bias_tables import confusion_matrix, decade_matrix
from agegender.pages.tables import matrix_table
from agegender.pages.thumbnails import thumbnail


def pixels(address: str) -> np.ndarray:
    encoded = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def test_thumbnail_of_a_photo_that_is_gone_or_broken_is_empty(tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    assert thumbnail(tmp_path / "gone.jpg") == ""
    assert thumbnail(tmp_path / "text.jpg") == ""
    assert thumbnail(None) == ""


def test_thumbnail_is_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (200, 150, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), cv2.GaussianBlur(noise, (0, 0), 3))
    address = thumbnail(tmp_path / "a.jpg")
    assert pixels(address).shape == (104, 104, 3)
    assert len(address) < 6_000


def test_letters_that_no_font_here_has_stay_as_they_are():
    line = {"a": (np.arange(3.0), np.arange(3.0))}
    drawing = charts.line_chart(line, title="年齢 \U000a6eba", x_label="x", y_label="", description="d")
    assert "年齢 \U000a6eba" in drawing


def test_many_points_become_pixels_and_few_stay_vectors():
    labels = {"title": "t", "x_label": "x", "y_label": "y", "description": "d", "ends": (0.0, 100.0)}
    few = charts.cloud_chart(np.arange(100), np.arange(100), **labels)
    many = charts.cloud_chart(np.arange(5_000) % 90, np.arange(5_000) % 80, **labels)
    assert "<image" not in few
    assert "data:image/png" in many
    assert len(many) < 150_000


def test_chart_keeps_the_decimals_of_its_texts():
    drawing = charts.line_chart(
        {"rate": ([1, 2], [0.0025, 0.0075])}, title="t", x_label="x", y_label="y", description="d"
    )
    assert re.search(r">0\.00\d", drawing)


def test_chart_escapes_names_and_reads_no_mathematics():
    drawing = charts.forest_chart(
        ["<b>$x_1$", "y"],
        [Estimate(1, 0, 2)] * 2,
        title="t",
        x_label="x",
        description='"<i>',
        null_value=0.0,
        is_faint=[False] * 2,
    )
    assert "<b>" not in drawing
    assert "&lt;b&gt;$x_1$" in drawing
    assert "&#34;&lt;i&gt;" in drawing


def test_confusion_matrix_counts_labels_against_guesses():
    rows = pd.DataFrame(
        {"gender": ["male"] * 3 + ["female", None], "predicted_gender": ["male", "male", "female", "male", "male"]}
    )
    matrix = confusion_matrix(GENDER, rows, "x")
    assert matrix.counts.tolist() == [[2, 1], [1, 0]]
    assert matrix.cells(0)[0] == ("2 (67 %)", 0.667)
    assert matrix_table("m", [matrix]).records()[0] == {
        "matrix": "x", "labelled": "male", "predicted male": 2, "predicted female": 1
    }  # fmt: skip


def test_decade_matrix_reaches_as_far_as_the_oldest_age():
    matrix = decade_matrix(AGE, pd.DataFrame({"age_years": [5.0, 33.0], "predicted_age_years": [4.0, 61.0]}))
    assert matrix.names[-1] == "60–69"
    assert matrix.counts[3, 6] == 1
    assert decade_matrix(AGE, pd.DataFrame({"age_years": [np.nan], "predicted_age_years": [4.0]})) is None
