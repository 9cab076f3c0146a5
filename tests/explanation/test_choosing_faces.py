from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.errors import TableError, UsageError
from agegender.explanation.choosing_faces import REPORT_CHOICE, Choice, choose_faces, label_columns
from agegender.heads import AGE, GENDER, Classification, Regression

MOOD = Classification("mood", "mood", ("calm", "happy", "sad"))
HEIGHT = Regression("height", "height_cm", "cm")


def ages_and_genders(count: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    ages = generator.uniform(10, 80, count)
    genders = generator.choice(["male", "female"], count)
    return pd.DataFrame(
        {
            "path": [f"{i:02d}.jpg" for i in range(count)],
            "age_years": ages,
            "gender": genders,
            "split": "test",
            "predicted_age_years": ages + generator.normal(0, 8, count),
            "predicted_gender": np.where(generator.random(count) < 0.8, genders, "male"),
        }
    )


def with_moods(table: pd.DataFrame) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    chances = generator.dirichlet((1, 1, 1), len(table))
    columns = dict(zip(MOOD.probability_columns.values(), chances.T, strict=True))
    said = np.array(MOOD.classes)[chances.argmax(axis=1)]
    return table.assign(mood=generator.choice(MOOD.classes, len(table)), predicted_mood=said, **columns)


def test_a_report_shows_the_worst_numbers_the_most_certain_mistakes_and_faces_at_random():
    table = with_moods(ages_and_genders(200))
    chosen = choose_faces(table, REPORT_CHOICE, (AGE, GENDER, MOOD))
    kinds = chosen["reason"].str.partition(":")[0]
    assert kinds.iloc[:18].tolist() == [
        *["largest error of age"] * 6,
        *["most certain mistake of gender"] * 6,
        *["most certain mistake of mood"] * 6,
    ]
    assert chosen["chosen_for"].iloc[:18].tolist() == ["age"] * 6 + ["gender"] * 6 + ["mood"] * 6
    errors = (chosen["predicted_age_years"] - chosen["age_years"]).abs()
    all_errors = np.sort((table["predicted_age_years"] - table["age_years"]).abs())[::-1]
    assert errors.iloc[:6].tolist() == pytest.approx(all_errors[:6])
    assert (chosen["gender"] != chosen["predicted_gender"]).iloc[6:12].all()
    moods = chosen.iloc[12:18]
    confidence = table[list(MOOD.probability_columns.values())].max(axis=1)
    expected = confidence[table["mood"] != table["predicted_mood"]].nlargest(18)
    assert set(moods["path"]) <= set(table["path"][expected.index])
    row = moods.iloc[0]
    assert f"labelled {row['mood']}, taken for {row['predicted_mood']}" in row["reason"]
    assert chosen["is_random"].sum() == 48
    assert set(chosen["reason"].iloc[18:]) == {"chosen at random"}
    assert chosen["path"].is_unique


def test_faces_at_random_are_drawn_from_all_whatever_else_was_chosen():
    table = ages_and_genders(60)
    alone = choose_faces(table, Choice(random=40), (AGE, GENDER))
    beside = choose_faces(table, Choice(worst=20, mistakes=5, random=40), (AGE, GENDER))
    assert set(beside["path"][beside["is_random"]]) == set(alone["path"])
    both = beside[beside["is_random"] & (beside["chosen_for"] != "")]
    assert len(both) > 0
    assert beside["path"].is_unique
    everyone = choose_faces(table, Choice(worst=3, random=99), (AGE,))
    assert everyone["is_random"].all()
    assert len(everyone) == 60


def test_each_face_is_as_likely_to_be_drawn_as_any_other():
    table = ages_and_genders(20)
    drawn = [choose_faces(table, Choice(worst=5, random=10, seed=seed), (AGE,)) for seed in range(400)]
    counts = sum(
        one.set_index("path")["is_random"].reindex(table["path"], fill_value=False).astype(int) for one in drawn
    )
    # 200 each on average, with a standard deviation of 10.
    assert counts.between(160, 240).all()
    assert len({tuple(sorted(one["path"][one["is_random"]])) for one in drawn}) > 390


def test_a_model_without_age_is_judged_by_what_it_has():
    table = with_moods(ages_and_genders())[["path", "mood", "predicted_mood", *MOOD.probability_columns.values()]]
    reasons = choose_faces(table, Choice(mistakes=2, best=2), (MOOD,))["reason"].tolist()
    assert [reason.split(":")[0] for reason in reasons] == [
        *["most certain mistake of mood"] * 2,
        *["nearest to the label of mood"] * 2,
    ]
    assert "taken for" in reasons[0]
    assert "recognised" in reasons[2]


def test_another_number_is_named_and_has_its_unit():
    table = ages_and_genders().rename(columns={"age_years": "height_cm", "predicted_age_years": "predicted_height_cm"})
    reason = choose_faces(table, Choice(worst=1), (HEIGHT,))["reason"].iloc[0]
    assert reason.startswith("largest error of height: ")
    assert reason.endswith(" cm")


def test_a_table_of_two_photos_gives_both():
    chosen = choose_faces(ages_and_genders(2), REPORT_CHOICE, (AGE, GENDER))
    assert sorted(chosen["path"]) == ["00.jpg", "01.jpg"]
    assert chosen["is_random"].all()


def test_faces_at_random_need_no_predictions_and_do_not_hang_on_the_order_of_rows():
    table = ages_and_genders()[["path", "age_years", "gender"]]
    chosen = choose_faces(table, Choice(random=7, seed=2), (AGE, GENDER))
    shuffled = choose_faces(table.sample(frac=1, random_state=0), Choice(random=7, seed=2), (AGE, GENDER))
    assert chosen["path"].tolist() == shuffled["path"].tolist()
    assert set(chosen["reason"]) == {"chosen at random"}
    assert chosen["path"].tolist() != choose_faces(table, Choice(random=7, seed=3))["path"].tolist()


def test_a_group_is_kept_to_and_must_exist():
    table = ages_and_genders()
    assert set(choose_faces(table, Choice(random=99, group={"gender": "male"}))["gender"]) == {"male"}
    with pytest.raises(UsageError, match="There are female, male"):
        choose_faces(table, Choice(random=1, group={"gender": "x"}))
    with pytest.raises(TableError, match="no column 'planet'"):
        choose_faces(table, Choice(random=1, group={"planet": "Mars"}))


def test_what_is_told_of_a_face_is_every_label_and_no_prediction():
    columns = label_columns(with_moods(ages_and_genders()), (AGE, GENDER, MOOD))
    assert columns == ["age_years", "gender", "mood", "split"]
