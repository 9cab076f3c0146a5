"""Age groups and decades."""

import numpy as np
import pandas as pd
import pytest

from agegender.errors import UsageError
from agegender.heads.age_bands import (
    AGE_GROUPS,
    FINE_BANDS,
    FINE_EDGES,
    age_decade,
    age_group,
    band_names,
    checked_edges,
    with_age_band,
)


def test_age_groups_begin_at_their_lower_edge():
    assert age_group([0, 19.99, 20, 39.9, 40, 59.9, 60, 116]).tolist() == sorted(AGE_GROUPS * 2, key=AGE_GROUPS.index)


def test_decades_end_at_ninety():
    assert age_decade([9.9, 10, 89.9, 90, 116, np.nan]).tolist() == ["0–9", "10–19", "80–89", "90+", "90+", None]


def test_edges_that_are_given_make_bands_that_are_disjoint_and_complete():
    ages = np.arange(0, 100)
    table = with_age_band(pd.DataFrame({"age_years": ages}), (3, 18, 19, 65))
    assert list(dict.fromkeys(table["age_band"])) == ["0–2", "3–17", "18", "19–64", "65+"]
    assert table["age_band"].notna().all()


def test_usual_bands_are_the_ones_that_have_names():
    assert band_names(FINE_EDGES) == FINE_BANDS


@pytest.mark.parametrize("edges", [(), (10, 10), (20, 10), (0, 5), (5.5,), (float("nan"),), (200,)])
def test_bands_that_make_no_sense_are_refused_in_words(edges):
    with pytest.raises(UsageError, match="rising whole years"):
        checked_edges(edges)
