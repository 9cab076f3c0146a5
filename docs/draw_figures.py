"""Draw the pictures of "How it works" from computations: `python docs/draw_figures.py`, a minute on one core.

They print the figures that the pages beside them name.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

import agegender as ag

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#4a5568"
LOOKS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "agegender",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def chance() -> None:
    """Deal the example's errors to its ethnicity labels 5,000 times, and show how large the largest gap becomes."""
    theirs = pd.read_csv(HERE / "guides" / "theirs.csv")
    errors = (theirs["age_guess"] - theirs["age"]).abs().to_numpy()
    groups, _ = pd.factorize(theirs["ethnicity"])

    def largest_gap(values: np.ndarray) -> float:
        means = np.bincount(groups, values) / np.bincount(groups)
        return float(means.max() - means.min())

    generator = np.random.default_rng(7)
    dealt = np.array([largest_gap(generator.permutation(errors)) for _ in range(5000)])
    found, line = largest_gap(errors), float(np.quantile(dealt, 0.95))
    figure, axes = plt.subplots(figsize=(7, 3.2))
    axes.hist(dealt, bins=40, color=GREY, alpha=0.6)
    axes.axvline(line, color=BLUE, linestyle="--")
    axes.axvline(found, color=ORANGE)
    top = axes.get_ylim()[1]
    axes.text(found + 0.1, top * 0.9, f"dashed: 95 of 100 deals\nstay below {line:.1f}", color=BLUE, va="top")
    axes.text(found + 0.1, top * 0.6, f"solid: found, {found:.1f}", color=ORANGE, va="top")
    axes.set(xlabel="largest gap between the four groups, years", ylabel="deals")
    _save(figure, "chance")
    beyond = (dealt >= found).mean()
    print(f"chance: found {found:.2f}, 95 % line {line:.2f}, median {np.median(dealt):.2f}, beyond {beyond:.4f}")


def many_comparisons() -> None:
    """Test 1 to 40 groups between which there is no difference, with and without correction, 1,000 audits each."""
    counts, rows, audits = [1, 2, 5, 10, 20, 40], 50, 1000
    generator = np.random.default_rng(7)
    plain, corrected = [], []
    for count in counts:
        groups = generator.laplace(size=(audits, count, rows))
        rest = generator.laplace(size=(audits, count, 10 * rows))
        p_values = stats.ttest_ind(groups, rest, axis=2, equal_var=False).pvalue.min(axis=1)
        plain.append((p_values < 0.05).mean())
        corrected.append((p_values * count < 0.05).mean())
    figure, axes = plt.subplots(figsize=(7, 3.2))
    axes.plot(counts, np.array(plain) * 100, "o-", color=ORANGE)
    axes.plot(counts, np.array(corrected) * 100, "s-", color=BLUE)
    axes.axhline(5, color=GREY, linestyle=":")
    axes.text(counts[-1], plain[-1] * 100 - 32, "one test after another", color=ORANGE, ha="right")
    axes.text(counts[-1], 10, "corrected for all of them", color=BLUE, ha="right")
    axes.set(xlabel="groups that are tested", ylabel="audits that claim something, %", ylim=(0, 100))
    _save(figure, "many-comparisons")
    print("many comparisons:", dict(zip(counts, np.round(plain, 3), strict=True)), np.round(corrected, 3))


def equal_ages() -> None:
    """Two groups whose errors depend on age alone, one being older: the gap as it is, and at equal ages."""
    generator = np.random.default_rng(7)
    is_b = generator.random(3000) < 0.3
    ages = np.clip(np.where(is_b, generator.normal(52, 14, 3000), generator.normal(34, 14, 3000)), 1, 95).round()
    errors = generator.laplace(scale=2 + 0.1 * ages)
    table = pd.DataFrame({"age_years": ages, "predicted_age_years": ages + errors})
    table["group"] = np.where(is_b, "B, older", "A, younger")
    result = ag.Audit(table).assessment.compare("mae", ["group"])
    older = next(group for group in result.groups if group.values[0].startswith("B"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(3, 2))
    figure.subplots_adjust(wspace=0.5)
    for name, colour, mark in (("A, younger", GREY, "."), ("B, older", ORANGE, "x")):
        rows = table[table["group"] == name].iloc[:150]
        sizes = (rows["predicted_age_years"] - rows["age_years"]).abs()
        left.plot(rows["age_years"], sizes, mark, color=colour, markersize=4, alpha=0.6, label=name)
    left.set(xlabel="age, years", ylabel="absolute error, years", ylim=(0, 40))
    left.legend(frameon=False)
    for place, gap, colour in ((1, older.gap_to_rest, ORANGE), (0, older.adjusted_gap, BLUE)):
        right.plot([gap.low, gap.high], [place, place], color=colour)
        right.plot([gap.value], [place], "o", color=colour)
    right.axvline(0, color=GREY, linestyle=":")
    right.set(yticks=[0, 1], yticklabels=["at equal ages", "as it is"], xlabel="gap of B, years", ylim=(-0.6, 1.6))
    _save(figure, "equal-ages")
    for what, gap in (("raw", older.gap_to_rest), ("equal", older.adjusted_gap)):
        print(f"equal ages, {what}: {gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f}), p {older.p_corrected:.3f}")


def intervals() -> None:
    """Two groups, of which a model errs more on one: coverage of one width for all, and of ours."""
    generator = np.random.default_rng(7)
    calibrating, new = _two_groups(generator, 1500), _two_groups(generator, 20_000)
    reach = float(np.quantile((calibrating["age_years"] - calibrating["predicted_age_years"]).abs(), 0.9))
    card = ag.AGE.calibrate(calibrating, known=["predicted_gender"])
    ends = ag.AGE.intervals(new, card)
    low, high = (ends[name] for name in ag.AGE.interval_columns)
    true, predicted = new["age_years"].to_numpy(), new["predicted_age_years"].to_numpy()
    held = {"one width": np.abs(true - predicted) <= reach, "per group": (low <= true) & (true <= high)}
    is_female = (new["predicted_gender"] == "female").to_numpy()
    figure, axes = plt.subplots(figsize=(7, 2.6))
    for place, (name, mark, colour) in enumerate((("one width", "s", ORANGE), ("per group", "o", BLUE))):
        shares = [100 * held[name][group].mean() for group in (is_female, ~is_female)]
        for share, word in zip(shares, ("female", "male"), strict=True):
            axes.plot([share], [1 - place], mark, color=colour)
            side = "left" if share == max(shares) else "right"
            axes.text(share, 1.15 - place, f"{word} {share:.1f}", ha=side)
            print(f"intervals, {name}, predicted {word}: {share:.1f} %")
    axes.axvline(90, color=GREY, linestyle=":")
    axes.set(yticks=[1, 0], yticklabels=["one width for all", "agegender"], xlabel="labels inside the 90 % interval, %")
    axes.set(xlim=(72, 103), ylim=(-0.6, 1.7))
    _save(figure, "intervals")
    print(f"intervals, widths: {2 * reach:.1f} for all, {np.mean(high - low):.1f} on average per group")


def _two_groups(generator: np.random.Generator, count: int) -> pd.DataFrame:
    """Return rows whose predictions are a year too low and twice as scattered for one predicted gender."""
    ages = generator.uniform(18, 80, count).round()
    female = generator.random(count) < 0.5
    errors = generator.normal(np.where(female, -1.0, 0.0), np.where(female, 7.0, 3.5))
    gender = np.where(female, "female", "male")
    return pd.DataFrame({"age_years": ages, "predicted_age_years": ages + errors, "predicted_gender": gender})


def _save(figure: plt.Figure, name: str) -> None:
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight", facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    plt.rcParams.update(LOOKS)
    for draw in (chance, many_comparisons, equal_ages, intervals):
        draw()
