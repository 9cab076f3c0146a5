"""Balanced drawing: equal shares for groups, a cap for the rarest, and the weights reach the loader."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.data.balancing import MOST_REPEATS, balancing_weights
from agegender.errors import UsageError


def rows_of(counts: dict[str, int]) -> pd.DataFrame:
    ethnicity = [name for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"age_years": 30.0, "gender": "male", "ethnicity": ethnicity})


def test_every_group_gets_the_same_share() -> None:
    rows = rows_of({"A": 60, "B": 30, "C": 10})
    shares = pd.Series(balancing_weights(rows, ["ethnicity"])).groupby(rows["ethnicity"]).sum()
    assert shares.to_numpy() == pytest.approx(100 / 3)


def test_combinations_are_balanced_not_columns_one_by_one() -> None:
    rows = rows_of({"A": 40, "B": 40}).assign(gender=["male"] * 30 + ["female"] * 10 + ["male"] * 10 + ["female"] * 30)
    shares = pd.Series(balancing_weights(rows, ["ethnicity", "gender"])).groupby([rows["ethnicity"], rows["gender"]])
    assert shares.sum().to_numpy() == pytest.approx(20.0)


def test_the_rarest_are_not_repeated_without_end() -> None:
    weights = balancing_weights(rows_of({"A": 5_000, "B": 1}), ["ethnicity"])
    assert weights.max() == MOST_REPEATS


def test_unknown_labels_are_a_group_of_their_own() -> None:
    rows = rows_of({"A": 50, "B": 50})
    rows.loc[:9, "ethnicity"] = None
    assert np.isfinite(balancing_weights(rows, ["ethnicity", "age_group"])).all()


def test_a_column_that_is_no_group_is_refused() -> None:
    for columns in (["path"], []):
        with pytest.raises(UsageError, match="age_group"):
            balancing_weights(rows_of({"A": 2}), columns)
