"""Random deals, the p-values made of them, and the ledger of a whole audit."""

import numpy as np
import pandas as pd
import pytest
from metric_tables import simulated_predictions
from scipy import stats

from agegender.audit.assessment import assess
from agegender.audit.chance import FAMILY_SHARES, family_p_values, studentised_gaps
from agegender.audit.dealing import Dealer, deal
from agegender.heads import Regression


def two_groups(n=200, shift=0.0, seed=0):
    generator = np.random.default_rng(seed)
    codes = (np.arange(n) < n // 4).astype(np.int64)
    return generator.normal(size=n) + shift * codes, codes


def dealt(values, codes, group_count, *, deal_count, seed=0):
    return deal([(values, 1, True)], [codes], [group_count], Dealer(len(values)), deal_count=deal_count, seed=seed)[0][
        0
    ]


def test_p_values_equal_scipys_permutation_test():
    values, codes = two_groups(shift=0.35)
    t = np.abs(studentised_gaps(dealt(values, codes, 2, deal_count=4000, seed=1), "signed"))
    ours = np.mean(t[:, 1] >= t[0, 1])
    theirs = stats.permutation_test(
        (values[codes == 1], values[codes == 0]),
        lambda one, two, axis: stats.ttest_ind(one, two, axis=axis, equal_var=False).statistic,
        n_resamples=4000,
        rng=2,
        vectorized=True,
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.012)


def test_a_family_of_one_keeps_its_p_value_and_a_larger_one_raises_it():
    generator = np.random.default_rng(0)
    t = np.abs(generator.normal(size=(2001, 10)))
    t[0] = 0.5
    t[0, 3] = 2.4
    alone, together = family_p_values(t[:, [3]])[0], family_p_values(t)[3]
    assert alone == pytest.approx(0.0164, abs=0.008)
    assert together == pytest.approx(1 - (1 - 0.0164) ** 10, abs=0.03)


def test_gaps_are_measured_alike_with_and_without_clusters_of_one_row():
    values, codes = two_groups(shift=0.4)
    clusters = np.random.default_rng(1).permutation(200)
    for kind, numbers in (("signed", values), ("positive", np.abs(values)), ("rate", (values > 0).astype(float))):
        t = [
            studentised_gaps(deal([(numbers, 1, True)], [codes], [2], dealer, deal_count=4000, seed=0)[0][0], kind)[0]
            for dealer in (Dealer(200), Dealer(200, None, clusters))
        ]
        assert t[0] == pytest.approx(t[1], rel=0.06)  # both against their own random deals


def test_far_beyond_all_deals_the_tail_says_how_far():
    t = np.abs(np.random.default_rng(0).normal(size=(1001, 1)))
    p_values = []
    for t[0] in (3.0, 3.9, 9.0):
        p_values.append(family_p_values(t)[0])
    assert p_values[0] == pytest.approx(((t[1:] >= 3.0).sum() + 1) / 1001)
    assert p_values[1] == pytest.approx(2 * stats.norm.sf(3.9), rel=0.6)
    assert p_values[2] == pytest.approx(1 / 10_010)


@pytest.mark.parametrize("kind", ["rate", "positive", "signed"])
def test_values_that_do_not_vary_are_no_gap(kind):
    assert (studentised_gaps(dealt(np.ones(100), np.arange(100) % 3, 3, deal_count=10), kind) == 0).all()


def test_twice_the_error_is_as_far_out_as_half_of_it():
    values = np.abs(np.random.default_rng(0).normal(size=400))
    t = studentised_gaps(dealt(values, np.arange(400) % 2, 2, deal_count=10), "positive")
    assert t[:, 0] == pytest.approx(-t[:, 1], rel=1e-3, abs=1e-3)


def test_a_gap_has_one_corrected_p_value_in_the_findings_and_in_the_tables():
    table = simulated_predictions(2500)
    table.loc[table["age_years"] >= 60, "predicted_age_years"] -= 6.0
    assessment = assess(table)
    gaps = [finding for finding in assessment.findings if finding.is_gap]
    assert gaps
    for finding in gaps:
        groups = assessment.comparisons.get(finding.columns, finding.metric).groups
        assert next(group for group in groups if group.values == finding.values).p_corrected == finding.p_value


def test_metrics_without_a_family_have_no_corrected_p_value():
    result = assess(simulated_predictions(400)).comparisons.get(("ethnicity",), "age.within_8")
    assert np.isnan([group.p_corrected for group in result.groups]).all()
    assert result.largest_gap is None


def test_a_further_head_shares_the_false_alarms_of_its_kind():
    assert sum(map(sum, FAMILY_SHARES.values())) == pytest.approx(1.0)
    table = simulated_predictions(600).assign(ethnicity="one", gender="male", predicted_gender="male")
    table["camera"] = np.where(np.arange(600) % 2, "a", "b")
    table["age_years"], table["predicted_age_years"] = 30.0, 30.0 + np.random.default_rng(0).normal(0, 5, 600)
    heads = assess(table, adjust_for=None).heads
    height = Regression("height", "height_cm", "cm")
    both = table.assign(height_cm=table["age_years"], predicted_height_cm=table["predicted_age_years"])
    p_values = [
        [group.p_corrected for group in made.comparisons.get(("camera",), "age.mean_absolute_error").groups]
        for made in (assess(table, adjust_for=None), assess(both, heads=(*heads, height), adjust_for=None))
    ]
    # The same deals: with a second head of its kind each has half of the share.
    share, others = FAMILY_SHARES["mean_absolute_error"][0], FAMILY_SHARES["mean_signed_error"][0]
    total = share + others + FAMILY_SHARES["accuracy"][0] + FAMILY_SHARES["recall"][0]
    expected = np.minimum(1.0, np.array(p_values[0]) * (share / total) / (share / 2 / total))
    assert p_values[1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rows", [1, 200])
def test_a_table_in_which_no_column_has_two_groups_is_judged_without_groups(rows):
    table = pd.DataFrame({"age_years": [30.0] * rows, "predicted_age_years": [33.0] * rows, "ethnicity": "White"})
    assessment = assess(table)
    assert assessment.comparisons.by_columns == {}
    assert assessment.findings == []
    assert assessment.by("mae")["value"].tolist() == [3.0]


def test_what_cannot_differ_takes_nothing_from_what_can():
    rows = simulated_predictions(400, seed=3)
    always, sometimes = (assess(one).ledger for one in (rows.assign(predicted_gender=rows["gender"]), rows))
    shares = [one._shares["age.mean_absolute_error", 0] for one in (always, sometimes)]
    assert shares[0] > 1.5 * shares[1]
    assert np.nanmin(always.get("gender.accuracy", ("ethnicity",)).p_corrected) == 1.0


def test_shares_of_what_can_differ_sum_to_one():
    ledger = assess(simulated_predictions(400, seed=3)).ledger
    assert sum(ledger._shares.values()) == pytest.approx(1.0)
