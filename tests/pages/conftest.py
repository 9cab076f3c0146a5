from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest

from agegender.audit.assessment import assess
from agegender.data.faces_table import FacesTable
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import ReportSet, write_report_set
from pages.report_inputs import make_explanations, make_photos, make_predictions


class Made(NamedTuple):
    content: ReportContent
    written: ReportSet


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    return make_predictions(1600)


@pytest.fixture(scope="session")
def photos(predictions, tmp_path_factory) -> FacesTable:
    return make_photos(tmp_path_factory.mktemp("photos"), predictions)


@pytest.fixture(scope="session")
def report(predictions, photos, tmp_path_factory) -> Made:
    """All pages of one made-up model."""
    history = pd.DataFrame({"epoch": [1, 2], "train_loss_age": [2.0, 1.0], "valid_age_mae": [9.0, 5.0]})
    card = {"name": "made-up", "body": "resnet34", "image": {"size": 96}, "data": {"photos": {"train": 540}}}
    content = ReportContent(assess(predictions, title="made-up"), photos.root, card, history, make_explanations())
    return Made(content, write_report_set(tmp_path_factory.mktemp("report"), content))
