"""Heads are chosen from what a table holds, and come back from a card or a foreign table as they were."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from agegender.errors import CardError, TableError, UsageError
from agegender.heads import (
    AGE,
    GENDER,
    Classification,
    Regression,
    choose_heads,
    head_from_dict,
    head_to_dict,
    heads_of_predictions,
    with_settings,
)
from agegender.loss_choices import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, losses_words

ROWS = 60


@pytest.fixture
def faces() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "path": [f"{place}.jpg" for place in range(ROWS)],
            "age_years": generator.uniform(1, 90, ROWS),
            "gender": generator.choice(["male", "female"], ROWS),
            "expression": generator.choice(["happy", "neutral", "sad"], ROWS),
            "height_cm": generator.normal(170, 9, ROWS),
            "beauty": generator.integers(1, 6, ROWS),
            "ethnicity": generator.choice(["Black", "White"], ROWS),
            "remark": [f"remark {place}" for place in range(ROWS)],
            "age_class": generator.choice(["≥60", "<30", "30–59"], ROWS),
            "one": "same",
        }
    )


def test_age_and_gender_are_the_heads_that_nobody_needs_to_name(faces):
    assert choose_heads(None, faces) == ((AGE, GENDER), ())


def test_a_head_without_labels_is_left_out_with_a_sentence(faces):
    heads, notes = choose_heads(None, faces.assign(gender=None))
    assert heads == (AGE,)
    assert notes == ("no head for gender: there are no labels in the column gender.",)


def test_a_name_finds_its_column_with_a_unit_behind(faces):
    heads, _ = choose_heads(["height", "age_years", "expression", "age_class"], faces)
    assert [(head.name, head.column, head.kind) for head in heads] == [
        ("height", "height_cm", "regression"),
        ("age", "age_years", "regression"),
        ("expression", "expression", "classification"),
        ("age_class", "age_class", "classification"),
    ]
    assert heads[0].unit == "cm"
    assert heads[2].classes == ("happy", "neutral", "sad")
    assert heads[3].classes == ("<30", "30–59", "≥60")


def test_few_whole_numbers_need_their_kind_said(faces):
    with pytest.raises(UsageError, match=r"5 different whole numbers.*beauty:regression or --heads beauty:class"):
        choose_heads(["beauty"], faces)
    assert choose_heads(["beauty:regression"], faces)[0][0].kind == "regression"
    assert choose_heads(["beauty:classification"], faces)[0][0].classes == ("1", "2", "3", "4", "5")


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (["hight_cm"], UsageError, r"no column hight_cm.*Did you mean height_cm\?"),
        (["age", "age"], UsageError, "named twice"),
        (["age", "age_years"], UsageError, "two heads are about the column 'age_years'"),
        (["ethnicity"], UsageError, "--sensitive-head"),
        (["gender:regression"], TableError, "no number"),
        (["one"], TableError, "nothing to learn"),
        (["path"], UsageError, "no column path"),
        (["age:years"], UsageError, "NAME:regression or NAME:classification"),
    ],
)
def test_what_cannot_be_a_head_is_one_clear_line(faces, wanted, error, words):
    with pytest.raises(error, match=words):
        choose_heads(wanted, faces)


def test_a_column_of_notes_has_too_many_classes():
    table = pd.DataFrame({"remark": [f"remark {place}" for place in range(500)]})
    with pytest.raises(TableError, match="500 classes"):
        choose_heads(["remark"], table)


def test_a_sensitive_head_is_marked(faces):
    (head,), _ = choose_heads(["ethnicity"], faces, allows_sensitive=True)
    assert head.is_sensitive
    assert "neither exported nor served" in head.caution


@pytest.mark.parametrize(
    "head",
    [AGE, GENDER, Regression("height", "height_cm", "cm"), Classification("e", "e", ("a", "b", "c"), weight=2.0)],
)
def test_a_card_gives_back_the_head_that_it_was_given(head):
    assert head_from_dict(head_to_dict(head)) == head


def test_the_heads_of_version_0_1_are_understood():
    age = {"name": "age", "column": "age_years", "kind": "years", "classes": [], "loss": "soft-labels", "weight": 1.0}
    gender = {"name": "gender", "column": "gender", "kind": "classes", "classes": ["male", "female"],
              "loss": "cross-entropy", "weight": 1.0}  # fmt: skip
    assert (head_from_dict(age), head_from_dict(gender)) == (AGE, GENDER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "ranking"}, "'ranking', which this version does not know"),
        ({"name": "../up"}, "letters, digits and _ only"),
        ({"loss": "magic"}, "has the loss 'magic'"),
        ({"grid": None}, "no usable grid"),
        ({"weight": "much"}, "is .much.; expected float"),
        ({"sparkle": 1}, "has the entry 'sparkle'"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(change, words):
    with pytest.raises(CardError, match=words):
        head_from_dict(head_to_dict(AGE) | change)


def test_the_columns_of_a_foreign_table_tell_its_heads(faces):
    table = faces[["path", "expression", "height_cm", "gender"]].assign(
        predicted_height_cm=170.0, predicted_expression="happy", expression_probability_sad=0.2, female_probability=0.4
    )
    heads = heads_of_predictions(table)
    assert [head.name for head in heads] == ["gender", "height", "expression"]
    assert heads[1] == Regression("height", "height_cm", "cm")
    assert heads[2].classes == ("happy", "neutral", "sad")


def test_another_loss_brings_the_weight_that_was_measured_for_it():
    assert with_settings(AGE, loss="l1").weight == 4.0
    assert with_settings(AGE, loss="l1", weight=2.0).weight == 2.0
    with pytest.raises(UsageError, match="has no loss 'soft-labels'"):
        with_settings(Regression("height", "height_cm", "cm"), loss="soft-labels")


def test_an_empty_column_of_predictions_is_no_head():
    assert heads_of_predictions(pd.DataFrame({"hat": [None], "predicted_hat": pd.Series([None], dtype=object)})) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("focal:gamma=-1", "gamma of focal is -1; it must be 0 to 10"),
        ("focal:gamma=nan", "gamma of focal is nan"),
        ("focal:gama=1", "Did you mean gamma"),
        ("focal:gamma", "no setting=number"),
        ("focal:", "no setting=number"),
        ("focal:gamma=1,gamma=2", "given twice"),
        ("cross-entropy:gamma=1", "balanced"),
        ("cross-entropy:smoothing=1", "0 to 0.9"),
        ("fokal", "Did you mean focal"),
        ("l1", "it has cross-entropy, focal"),
    ],
)
def test_settings_of_a_loss_that_make_no_sense_are_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        with_settings(GENDER, loss=text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", ["soft-labels", "cross-entropy", "dldl-v2", "mean-variance"])
def test_a_loss_of_a_distribution_needs_a_grid_and_gives_one(loss: str) -> None:
    assert with_settings(AGE, loss=loss).output_count == 121
    with pytest.raises(UsageError, match="it has smooth-l1, l1, mse, huber"):
        with_settings(Regression("height", "height_cm", "cm"), loss=loss)


def test_settings_of_a_loss_go_to_the_card_and_come_back() -> None:
    head = with_settings(GENDER, loss="focal:balanced=0.5,gamma=2")
    assert head.loss_settings == (("balanced", 0.5),)  # the usual ones are not kept
    assert head_to_dict(head)["loss_settings"] == {"gamma": 2.0, "balanced": 0.5, "smoothing": 0.0}
    assert head_from_dict(json.loads(json.dumps(head_to_dict(head)))) == head
    assert hash(head) != hash(GENDER)
    without = {name: value for name, value in head_to_dict(AGE).items() if name != "loss_settings"}
    assert head_from_dict(without) == AGE  # as earlier versions wrote it


@pytest.mark.parametrize("given", [{"gamma": -1}, {"gama": 1}, {"gamma": "2"}, {"gamma": None}, [["gamma"]], 3, "x"])
def test_loss_settings_of_a_card_that_make_no_sense_are_refused(given: object) -> None:
    with pytest.raises(CardError):
        head_from_dict(head_to_dict(with_settings(GENDER, loss="focal")) | {"loss_settings": given})


def test_the_help_names_every_loss_and_setting() -> None:
    from agegender.train import build_parser

    said = " ".join(build_parser().format_help().split())
    for losses in (REGRESSION_LOSSES, CLASSIFICATION_LOSSES):
        assert losses_words(losses).replace("-", "") in said.replace("- ", "").replace("-", "")
