"""Age groups and decades."""

import numpy as np

from agegender.heads.age_bands import AGE_GROUPS, age_decade, age_group


def test_age_groups_begin_at_their_lower_edge():
    assert age_group([0, 19.99, 20, 39.9, 40, 59.9, 60, 116]).tolist() == sorted(AGE_GROUPS * 2, key=AGE_GROUPS.index)


def test_decades_end_at_ninety():
    assert age_decade([9.9, 10, 89.9, 90, 116, np.nan]).tolist() == ["0–9", "10–19", "80–89", "90+", "90+", None]
