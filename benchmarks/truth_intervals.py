"""Age intervals of models that treat groups differently: whether every group is covered, and at what width.

The alternatives see the same 3,000 calibration rows: version 0.1's intervals (`truth_marginal.py`), Mondrian (a
quantile for each gender, ethnicity and band of the predicted age together) and conformalised quantile regression
(gradient boosting on everything that is known, half of the rows to fit and half to calibrate).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from truth_marginal import marginal_intervals
from truth_rows import WIDTH
from truth_tables import ETHNICITIES, GENDERS, Labels

from agegender.heads.interval_fitting import fit_intervals

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]
Draw = Callable[[int], pd.DataFrame]
CALIBRATION_ROWS, TEST_ROWS = 3_000, 100_000
LEVEL = 0.9
LEAST_SHARE, MOST_SHARE = 0.87, 0.93
BAND_EDGES = (20.0, 40.0, 60.0)
_FEWEST_IN_A_CELL = 20
# What is known: of a photo what the model says, of a labelled row its labels as well.
KNOWN = {"photo": ("predicted_gender",), "row": ("gender", "ethnicity")}


def model(generator: np.random.Generator, labels: Labels) -> Draw:
    """Return a model as a function that draws rows it has judged, with a bias and a scale of each ethnicity and gender.

    `spread` is what the model believes of its error: right on average, and rough.
    """
    shift = dict(zip(ETHNICITIES, generator.uniform(-2.0, 2.0, len(ETHNICITIES)), strict=True))
    scale = dict(zip(ETHNICITIES, np.exp(generator.uniform(-0.3, 0.3, len(ETHNICITIES))), strict=True))
    shift |= dict(zip(GENDERS, generator.uniform(-0.7, 0.7, len(GENDERS)), strict=True))
    scale |= dict(zip(GENDERS, np.exp(generator.uniform(-0.1, 0.1, len(GENDERS))), strict=True))

    def draw(n: int) -> pd.DataFrame:
        rows = labels.draw(generator, n)
        bias = sum(rows[name].map(shift) for name in ("gender", "ethnicity"))
        spread = (2.0 + 0.1 * rows["age_years"]) * rows["gender"].map(scale) * rows["ethnicity"].map(scale)
        size = np.where(generator.random(n) < 0.1, 1.8, 1.0)  # one in ten is far out
        error = bias + 0.12 * (38.0 - rows["age_years"]) + spread * size * generator.normal(size=n)
        rows["predicted_age_years"] = (rows["age_years"] + error).clip(0.0, 110.0)
        rows["spread"] = spread * np.exp(0.2 * generator.normal(size=n))
        other = np.where(rows["gender"] == "male", "female", "male")
        rows["predicted_gender"] = np.where(generator.random(n) < 0.93, rows["gender"], other)
        return rows

    return draw


def ages_trial(known: str, generator: np.random.Generator, labels: Labels, _: int) -> dict[str, float]:
    """Return whether every group of a fit is covered as promised, how wide intervals are, and the same of rivals."""
    draw = model(generator, labels)
    calibration, test = draw(CALIBRATION_ROWS), draw(TEST_ROWS)
    columns = KNOWN[known]
    fitted = fit_intervals(
        calibration["age_years"],
        calibration["predicted_age_years"],
        spread=calibration["spread"],
        groups={name: calibration[name].to_numpy(dtype=object) for name in columns},
        level=LEVEL,
    )
    groups = {name: test[name].to_numpy(dtype=object) for name in columns}
    ends = {
        "ours": fitted.interval(test["predicted_age_years"], spread=test["spread"], groups=groups),
        "0.1": marginal_intervals(calibration, test, LEVEL),
    }
    if known == "row":
        ends |= {"Mondrian": _mondrian(calibration, test, columns), "CQR": _cqr(calibration, test, columns)}
    judged = {name: _shares(test, low, high, columns) for name, (low, high) in ends.items()}
    width = {name: float(np.mean(high - low)) for name, (low, high) in ends.items()}
    figures = {name: float(all(LEAST_SHARE <= share <= MOST_SHARE for share in one)) for name, one in judged.items()}
    figures |= {
        WIDTH: width["ours"] / width["0.1"],
        **{f"{name}'s width": width[name] / width["0.1"] for name in ends if name not in ("ours", "0.1")},
        "least coverage of a group": min(judged["ours"]),
        "of 0.1": min(judged["0.1"]),
    }
    if known == "photo":
        figures["least coverage of an ethnicity"] = min(_shares(test, *ends["ours"], ("ethnicity",)))
    return figures


def _shares(rows: pd.DataFrame, low: Floats, high: Floats, columns: tuple[str, ...]) -> list[float]:
    """Return the share of labels inside for every group of the columns, and for every band of the predicted age."""
    inside = pd.Series((low <= rows["age_years"]) & (rows["age_years"] <= high))
    keys = [rows[name].to_numpy() for name in columns if name in rows]
    keys.append(_bands(rows))
    return [float(share) for key in keys for share in inside.groupby(key).mean()]


def _bands(rows: pd.DataFrame) -> NDArray[np.int64]:
    return np.digitize(rows["predicted_age_years"], BAND_EDGES)


def _quantile(scores: Floats) -> float:
    """Return the split-conformal quantile of scores."""
    return float(np.sort(scores)[min(int(np.ceil(LEVEL * (len(scores) + 1))), len(scores)) - 1])


def _mondrian(calibration: pd.DataFrame, test: pd.DataFrame, columns: tuple[str, ...]) -> Ends:
    """Return a quantile of the absolute residuals in each cell; the common one where a cell has too few rows."""
    score = (calibration["age_years"] - calibration["predicted_age_years"]).abs()
    cells = [
        pd.MultiIndex.from_arrays([*(rows[name] for name in columns), _bands(rows)]) for rows in (calibration, test)
    ]
    found = {
        cell: _quantile(part.to_numpy())
        for cell, part in score.groupby(cells[0].to_flat_index())
        if len(part) >= _FEWEST_IN_A_CELL
    }
    reach = pd.Series(cells[1].to_flat_index()).map(found).fillna(_quantile(score.to_numpy())).to_numpy()
    middle = test["predicted_age_years"].to_numpy()
    return np.maximum(middle - reach, 0.0), middle + reach


def _cqr(calibration: pd.DataFrame, test: pd.DataFrame, columns: tuple[str, ...]) -> Ends:
    def features(rows: pd.DataFrame) -> Floats:
        kinds = [pd.get_dummies(rows[name]).reindex(columns=sorted(set(calibration[name]))) for name in columns]
        return np.column_stack([rows["predicted_age_years"], rows["spread"], *(one.to_numpy() for one in kinds)])

    half = CALIBRATION_ROWS // 2
    first, second = calibration[:half], calibration[half:]
    boosting = partial(HistGradientBoostingRegressor, max_iter=60, min_samples_leaf=40, max_leaf_nodes=8)
    models = [
        boosting(loss="quantile", quantile=tail).fit(features(first), first["age_years"])
        for tail in ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0)
    ]
    low, high = (one.predict(features(second)) for one in models)
    more = _quantile(np.maximum(low - second["age_years"], second["age_years"] - high).to_numpy())
    low, high = (one.predict(features(test)) for one in models)
    return np.maximum(low - more, 0.0), high + more
