"""Large tables are not dealt row by row: what is drawn instead has the means and the spread of real deals."""

import numpy as np
import pytest

from agegender.audit import dealing
from agegender.audit.dealing import Dealer, deal

DEALS = 2000


def both_ways(monkeypatch, values, partitions, counts, dealer):
    wanted = [(values, len(partitions), True)]
    dealt = deal(wanted, partitions, counts, dealer, deal_count=DEALS, seed=1)[0]
    monkeypatch.setattr(dealing, "_MOST_ROWS", 0)
    drawn = deal(wanted, partitions, counts, dealer, deal_count=DEALS, seed=2)[0]
    return dealt, drawn


@pytest.mark.parametrize("photos", [1, 4])
def test_drawn_sums_vary_as_dealt_ones_do(monkeypatch, photos):
    generator = np.random.default_rng(photos)
    persons = np.repeat(np.arange(8000 // photos), photos)
    strata = (persons % 3).astype(np.int64)
    values = strata + generator.exponential(size=persons.max() + 1)[persons] + generator.exponential(size=8000)
    by_person = generator.choice(3, persons.max() + 1, p=[0.7, 0.25, 0.05])[persons]
    by_row = np.where(generator.random(8000) < 0.1, -1, generator.choice(3, 8000, p=[0.6, 0.3, 0.1]))
    dealer = Dealer(8000, strata, persons if photos > 1 else None)
    for dealt, drawn in zip(*both_ways(monkeypatch, values, [by_person, by_row], [3, 3], dealer), strict=True):
        assert drawn.sums[0] == pytest.approx(dealt.sums[0])
        assert drawn.squares[0] == pytest.approx(dealt.squares[0])
        spread = dealt.sums[1:].std(axis=0)
        assert drawn.sums[1:].std(axis=0) == pytest.approx(spread, rel=0.07)
        assert np.abs(drawn.sums[1:].mean(axis=0) - dealt.sums[1:].mean(axis=0)).max() < 0.1 * spread.max()
        for name in ("squares", "weighted"):
            theirs, ours = getattr(dealt, name)[1:], getattr(drawn, name)[1:]
            assert ours.mean(axis=0) == pytest.approx(theirs.mean(axis=0), rel=0.02)
        apart = dealt.sums[1:, 0] - dealt.sums[1:, 1], drawn.sums[1:, 0] - drawn.sums[1:, 1]
        assert apart[1].std() == pytest.approx(apart[0].std(), rel=0.07)


def test_few_rows_are_drawn_as_skewed_as_they_are(monkeypatch):
    generator = np.random.default_rng(0)
    values, codes = generator.exponential(size=5000), (np.arange(5000) >= 40).astype(np.int64)
    (dealt,), (drawn,) = both_ways(monkeypatch, values, [codes], [2], Dealer(5000))
    for share in (0.005, 0.995):
        assert np.quantile(drawn.sums[:, 0], share) == pytest.approx(np.quantile(dealt.sums[:, 0], share), rel=0.05)
    correlations = [np.corrcoef(one.sums[:, 0], one.squares[:, 0])[0, 1] for one in (dealt, drawn)]
    assert correlations[1] == pytest.approx(correlations[0], abs=0.05)
