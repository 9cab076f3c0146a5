"""Who is among the largest errors: shares that paper tells, and chance that does what it says."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from agegender.audit.grouping import Grouping
from agegender.audit.worst_errors import worst_errors


def grouping_of(codes, count):
    return {("camera",): Grouping(("camera",), tuple((f"group {number}",) for number in range(count)), codes)}


def test_shares_and_chance_are_those_of_the_hypergeometric_distribution():
    errors = np.concatenate([np.full(30, 50.0), np.linspace(0, 10, 570)])
    codes = np.concatenate([np.zeros(30, int), np.where(np.arange(570) < 70, 0, 1)])
    found = worst_errors(errors, grouping_of(codes, 2))
    own, other = found.groups
    assert (own.n, own.worst_n, other.worst_n) == (100, 30, 70)
    assert own.expected == pytest.approx(100 / 6)
    assert (own.low, own.high) == tuple(hypergeom.ppf([0.025, 0.975], 600, 100, 100))
    assert (own.differs, other.differs) == ("more", "less")


def test_every_group_counts_and_they_sum_to_the_hundred():
    generator = np.random.default_rng(2)
    codes = generator.integers(0, 7, 1000)
    found = worst_errors(generator.exponential(5, 1000), grouping_of(codes, 7))
    assert sum(one.worst_n for one in found.groups) == found.count == 100
    assert sum(one.n for one in found.groups) == found.total == 1000


def test_without_a_difference_hardly_any_audit_tells_of_one():
    told = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        found = worst_errors(generator.exponential(5, 800), grouping_of(generator.integers(0, 5, 800), 5))
        told += any(one.differs for one in found.groups)
    assert told <= 17  # 10 are expected at most


def test_of_one_person_the_worst_photo_alone_counts():
    errors = np.concatenate([np.linspace(20, 30, 50), np.linspace(0, 10, 600)])
    clusters = np.concatenate([np.zeros(50, int), np.arange(1, 601)])
    codes = np.where(np.arange(650) < 50, 0, 1)
    found = worst_errors(errors, grouping_of(codes, 2), clusters=clusters)
    assert found.total == 601
    assert [one.worst_n for one in found.groups] == [1, 99]


def test_too_few_photos_tell_nothing_and_unknown_errors_do_not_count():
    codes = np.zeros(500, int)
    assert worst_errors(np.ones(499), grouping_of(codes[:499], 1)) is None
    errors = np.ones(500)
    assert worst_errors(errors, grouping_of(codes, 1)).total == 500
    errors[0] = np.nan
    assert worst_errors(errors, grouping_of(codes, 1)) is None
