"""Who is dealt whose place: everybody, rows that are alike, or persons whole."""

import numpy as np
import pytest

from agegender.audit.dealing import Dealer, cluster_strata, deal
from agegender.audit.held_equal import HeldEqual

NOTHING = HeldEqual((), (), ())


def orders(dealer, deal_count=30, seed=0):
    return np.concatenate([dealer.order[rows] for _, rows in dealer.deals(deal_count, seed)])


def sums_of(values, codes, group_count, dealer=None, *, deal_count=20):
    dealer = dealer or Dealer(len(values))
    return deal([(values, 1, True)], [codes], [group_count], dealer, deal_count=deal_count, seed=0)[0][0]


def two_groups(n=200):
    return np.random.default_rng(0).normal(size=n), (np.arange(n) < n // 4).astype(np.int64)


def test_the_first_deal_is_the_observed_one():
    values, codes = two_groups()
    sums = sums_of(values, codes, 2)
    assert sums.means()[0] == pytest.approx([values[codes == 0].mean(), values[codes == 1].mean()], abs=1e-6)
    assert sums.known_sums[:, 0] == pytest.approx(np.full(21, values.sum()), abs=1e-3)


def test_rows_without_a_group_are_dealt_but_not_counted_in_the_rest():
    values, codes = two_groups()
    codes[:30] = -1
    sums = sums_of(values, codes, 2)
    assert sums.counts.tolist() == [150, 20]
    assert sums.known_count == 170


def test_some_values_are_summed_over_the_first_columns_only():
    values, codes = two_groups()
    wanted = [(values, 2, True), ((values > 0).astype(float), 1, False)]
    both, first = deal(wanted, [codes, 1 - codes], [2, 2], Dealer(200), deal_count=9, seed=0)
    assert (len(both), len(first)) == (2, 1)
    assert both[0].sums == pytest.approx(both[1].sums[:, ::-1])
    assert first[0].sums[0].sum() == (values > 0).sum()
    assert first[0].squares.size == 0


def test_nothing_to_group_by_is_no_deal_at_all():
    assert deal([(np.ones(5), 0, True)], [], [], Dealer(5), deal_count=3, seed=0) == [[]]


def test_rows_take_the_places_of_rows_of_their_stratum_only():
    strata = np.random.default_rng(1).integers(0, 4, 60)
    dealt, dealer = orders(Dealer(60, strata)), Dealer(60, strata)
    assert (strata[dealt] == strata[dealer.order]).all()
    assert (np.sort(dealt, axis=1) == np.arange(60)).all()
    assert len(np.unique(dealt, axis=0)) == 31


def test_clusters_move_whole_to_the_places_of_others_of_their_size():
    clusters = np.random.default_rng(1).permutation(np.repeat(np.arange(30), [1, 1, 1, 3, 3, 2] * 5))
    dealer = Dealer(clusters.size, None, clusters)
    places = clusters[dealer.order]
    for order in orders(dealer):
        dealt = clusters[order]
        pairs = {(place, who) for place, who in zip(places, dealt, strict=True)}
        assert len(pairs) == 30
        assert all((clusters == place).sum() == (clusters == who).sum() for place, who in pairs)


def test_rows_of_a_person_are_shuffled_among_themselves():
    clusters = np.repeat(np.arange(5), 4)
    dealer = Dealer(20, np.arange(5).repeat(4), clusters)
    dealt = orders(dealer, 50)
    assert (clusters[dealt] == clusters[dealer.order]).all()
    assert len(np.unique(dealt, axis=0)) > 40


@pytest.mark.parametrize("within", [False, True])
def test_sums_over_clusters_are_those_of_pandas(within):
    generator = np.random.default_rng(2)
    clusters = np.sort(generator.integers(0, 40, 120))
    codes = generator.integers(-1, 3, 120) if within else generator.integers(-1, 3, 40)[clusters]
    values = generator.normal(1.0, 1.0, 120)
    sums = sums_of(values, codes, 3, Dealer(120, None, clusters), deal_count=3)
    for group in range(3):
        parts = [values[(codes == group) & (clusters == one)] for one in np.unique(clusters[codes == group])]
        assert sums.counts[group] == sum(map(len, parts))
        assert sums.cluster_counts[group] == len(parts)
        assert sums.squared_sizes[group] == sum(len(part) ** 2 for part in parts)
        assert sums.sums[0, group] == pytest.approx(sum(part.sum() for part in parts), abs=1e-4)
        assert sums.squares[0, group] == pytest.approx(sum(part.sum() ** 2 for part in parts), rel=1e-4)
        assert sums.weighted[0, group] == pytest.approx(sum(part.sum() * len(part) for part in parts), rel=1e-3)


def test_a_cluster_lies_in_the_stratum_of_its_median_age():
    generator = np.random.default_rng(3)
    clusters = generator.permutation(np.repeat(np.arange(400), 3))
    ages = np.repeat(generator.uniform(0, 90, 400), 3)[np.argsort(np.argsort(clusters, kind="stable"))]
    ages = ages + generator.normal(0, 1, 1200)
    strata = cluster_strata(HeldEqual(("age",), (ages,), ()), 1200, clusters)
    for one in range(400):
        assert len(np.unique(strata[clusters == one])) == 1
    assert len(np.unique(strata)) == 12
    assert (cluster_strata(NOTHING, 1200, clusters) == 0).all()
