"""Rows fall into groups by the text of their cells, whatever the column is made of."""

import pandas as pd
import pytest

from agegender.audit.grouping import MOST_VALUES, make

CELLS = ["b", None, "a", "b", "c", "a", "b"]


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_missing_cells_belong_to_no_group(dtype):
    groups = make(pd.DataFrame({"kind": pd.Series(CELLS, dtype=dtype)}), ["kind"])
    assert groups.values == (("a",), ("b",), ("c",))
    assert groups.codes.tolist() == [1, -1, 0, 1, 2, 0, 1]


def test_values_of_the_same_text_are_one_group():
    groups = make(pd.DataFrame({"kind": pd.Series([1, "1", 2, "2", 1], dtype=object)}), ["kind"])
    assert groups.values == (("1",), ("2",))
    assert groups.codes.tolist() == [0, 0, 1, 1, 0]


def test_age_groups_come_in_their_order_and_before_other_words():
    table = pd.DataFrame({"age_group": ["≥60", "unknown", "<20", "20–39", "<20"]})
    assert make(table, ["age_group"]).values == (("<20",), ("20–39",), ("≥60",), ("unknown",))


def test_the_most_frequent_of_too_many_values_are_kept_and_the_rest_counts_as_others():
    cells = [f"v{number}" for number in range(MOST_VALUES + 5) for _ in range(number + 1)]
    groups = make(pd.DataFrame({"kind": cells}), ["kind"])
    assert {name for (name,) in groups.values} == {f"v{number}" for number in range(5, MOST_VALUES + 5)}
    assert (groups.codes == MOST_VALUES).sum() == 1 + 2 + 3 + 4 + 5
    assert any("most frequent" in note for note in groups.notes)
