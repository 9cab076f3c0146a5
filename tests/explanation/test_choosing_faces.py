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


def test_a_report_shows_the_worst_both_ways_and_a_typical_face_of_each_label():
    table = ages_and_genders()
    chosen = choose_faces(table, REPORT_CHOICE, (AGE, GENDER))
    errors = (chosen["predicted_age_years"] - chosen["age_years"]).tolist()
    assert chosen["reason"].tolist() == [
        *["worst over-estimate"] * 5,
        *["worst under-estimate"] * 5,
        "typical face labelled female",
        "typical face labelled male",
    ]
    all_errors = np.sort(table["predicted_age_years"] - table["age_years"])
    assert errors[:5] == pytest.approx(all_errors[::-1][:5])
    assert errors[5:10] == pytest.approx(all_errors[:5])
    assert (chosen["gender"] == chosen["predicted_gender"])[-2:].all()
    assert chosen["path"].is_unique


def test_a_further_head_adds_its_most_certain_mistakes_with_its_name():
    table = with_moods(ages_and_genders())
    plain = choose_faces(table, REPORT_CHOICE, (AGE, GENDER))
    chosen = choose_faces(table, REPORT_CHOICE, (AGE, GENDER, MOOD))
    added = chosen[chosen["reason"].str.startswith("most certain mistake")]
    assert set(plain["path"][:10]) <= set(chosen["path"])
    assert 0 < len(added) <= 5
    assert (added["mood"] != added["predicted_mood"]).all()
    confidence = table[list(MOOD.probability_columns.values())].max(axis=1)
    mistaken = confidence[table["mood"] != table["predicted_mood"]].nlargest(5).index
    assert set(added["path"]) | set(plain["path"]) >= set(table["path"][mistaken])
    row = added.iloc[0]
    assert f"mood labelled {row['mood']}, taken for {row['predicted_mood']}" in row["reason"]


def test_a_model_without_age_is_judged_by_what_it_has():
    table = with_moods(ages_and_genders())[["path", "mood", "predicted_mood", *MOOD.probability_columns.values()]]
    reasons = choose_faces(table, Choice(worst=2, best=2), (MOOD,))["reason"].tolist()
    assert [reason.split(":")[0] for reason in reasons] == ["worst", "worst", "best", "best"]
    assert "taken for" in reasons[0]
    assert "recognised" in reasons[2]


def test_another_number_is_named_and_has_its_unit():
    table = ages_and_genders().rename(columns={"age_years": "height_cm", "predicted_age_years": "predicted_height_cm"})
    reason = choose_faces(table, Choice(worst=1), (HEIGHT,))["reason"].iloc[0]
    assert reason.endswith(" cm in height")
    found = choose_faces(table, Choice(worst_each_way=1, has_typical=True), (HEIGHT,))["reason"].tolist()
    assert found == ["worst over-estimate in height", "worst under-estimate in height", "typical face"]


def test_faces_at_random_need_no_predictions_and_do_not_hang_on_the_order_of_rows():
    table = ages_and_genders()[["path", "age_years", "gender"]]
    chosen = choose_faces(table, Choice(random=7, seed=2), (AGE, GENDER))
    shuffled = choose_faces(table.sample(frac=1, random_state=0), Choice(random=7, seed=2), (AGE, GENDER))
    assert chosen["path"].tolist() == shuffled["path"].tolist()
    assert set(chosen["reason"]) == {"chosen at random"}


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
