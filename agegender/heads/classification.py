"""The classification head: classes in a stored order, with their columns, metrics, scores, calibration and words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError
from agegender.heads.calibration import expected_calibration_error, fit_temperature, temperature_of
from agegender.heads.row_metrics import RowMetric, figure, numbers
from agegender.heads.target import Target
from agegender.loss_choices import LossSettings

Floats = NDArray[np.float64]
UNKNOWN = float("nan")
LEAST_CALIBRATION_ROWS = 30
_UNKNOWN_CLASS = -1
# Other spellings of a class that tables have, in lower case.
_SPELLINGS = {"male": ("m", "man"), "female": ("f", "woman")}
_SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Classification:
    """One of several classes to predict, as data.

    Attributes
    ----------
    name : str
        Also the name of its loss, `loss/<name>`.
    column : str
        The column of the faces table with its labels.
    classes : tuple of str
        In the order of the logits.
    caution : str
        What every page says about such labels; empty where nothing need be said.
    is_sensitive : bool
        Trained only on demand, and neither exported nor served.
    loss : str
        One of `CLASSIFICATION_LOSSES`.
    weight : float
        Its share in the combined loss.
    loss_settings : tuple of (str, float)
        The loss's settings that are not the usual ones.
    """

    name: str
    column: str
    classes: tuple[str, ...]
    caution: str = ""
    is_sensitive: bool = False
    loss: str = "cross-entropy"
    weight: float = 1.0
    loss_settings: LossSettings = ()
    kind: ClassVar[str] = "classification"

    @property
    def output_count(self) -> int:
        """How many numbers the network gives: a logit per class."""
        return len(self.classes)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """What `columns` takes of a photo: the logits."""
        return (len(self.classes),)

    @property
    def title(self) -> str:
        """What people call it: the name without underscores."""
        return self.name.replace("_", " ")

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, so that one probability says it all."""
        return len(self.classes) == 2

    @property
    def predicted(self) -> str:
        """Column of the predicted class, `predicted_gender`."""
        return f"predicted_{self.column}"

    @property
    def probability_columns(self) -> dict[str, str]:
        """Class -> column of its probability, `gender_probability_female`."""
        slugs = [slug(name) for name in self.classes]
        unique = [one if slugs.count(one) == 1 else f"{one}_{place}" for place, one in enumerate(slugs)]
        return {name: f"{self.name}_probability_{one}" for name, one in zip(self.classes, unique, strict=True)}

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """What the head fills in the predictions table, the prediction first."""
        return (self.predicted, *self.probability_columns.values())

    @property
    def number_columns(self) -> tuple[str, ...]:
        """Columns that hold numbers: the probabilities."""
        return tuple(self.probability_columns.values())

    @property
    def spellings(self) -> dict[str, str]:
        """How a class may be spelt, in lower case -> class."""
        others = {text: name for name in self.classes for text in _SPELLINGS.get(name, ())}
        return others | {name.strip().lower(): name for name in reversed(self.classes)}

    @property
    def right_column(self) -> str:
        """Derived column: 1.0, 0.0, or missing where the label or the prediction is."""
        return f"is_{self.name}_right"

    @property
    def confidence_column(self) -> str:
        """Derived column: the probability of the predicted class, missing where none is known."""
        return f"{self.name}_confidence"

    @property
    def derived_columns(self) -> tuple[str, ...]:
        """What `with_errors` adds."""
        return (self.right_column, self.confidence_column)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What explanations explain: the log-odds of the second class, or of each where there are more."""
        if self.is_binary:
            first, second = self.classes
            words = (f"speaks for “{first}”", f"speaks for “{second}”")
            return (Target(self.name, f"{self.title} ({second})", "log-odds", *words),)
        return tuple(
            Target(
                f"{self.name}_{slug(name)}", f"{self.title}: {name}", "log-odds",
                f"speaks against “{name}”", f"speaks for “{name}”",
            )
            for name in self.classes
        )  # fmt: skip

    @property
    def metrics(self) -> tuple[RowMetric, ...]:
        """Metrics per row; the first is the head's main one."""
        needs = (self.column, self.predicted)
        accuracy = RowMetric(
            self.name, "accuracy", "accuracy", f"{self.title} accuracy", "share", "higher", needs, self.is_right
        )
        recalls = [self._recall_metric(name, needs) for name in self.classes]
        return (accuracy, *recalls)

    def is_right(self, table: pd.DataFrame) -> Floats:
        """Return 1.0 or 0.0 for each row, NaN where the label or the prediction is missing."""
        label, predicted = as_names(table[self.column]), as_names(table[self.predicted])
        known = (label.notna() & predicted.notna()).to_numpy(dtype=bool)
        same = (label == predicted).to_numpy(dtype=bool)
        return np.where(known, same.astype(np.float64), np.nan)

    def with_errors(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with the derived columns."""
        confidence = np.full(len(table), UNKNOWN)
        for name, column in self.probability_columns.items():
            if column in table:
                is_said = (as_names(table[self.predicted]) == name).to_numpy(dtype=bool)
                confidence = np.where(is_said, numbers(table, column), confidence)
        return table.assign(**{self.right_column: self.is_right(table), self.confidence_column: confidence})

    def labels(self, column: pd.Series) -> NDArray[np.int64]:
        """Return training targets, int64 (rows,), -1 where unknown.

        Raises
        ------
        TableError
            A label is none of the classes.
        """
        column = as_names(column)
        strangers = column.notna() & ~column.isin(self.classes)
        if strangers.any():
            raise TableError(
                f"{int(strangers.sum())} labels of the head {self.name!r} are none of {', '.join(self.classes)}, "
                f"first {column[strangers].iloc[0]!r} in the column {self.column}. Leave an unknown label empty."
            )
        place = {name: number for number, name in enumerate(self.classes)}
        return column.map(place).fillna(_UNKNOWN_CLASS).to_numpy(dtype=np.int64)

    def columns(self, logits: ArrayLike, calibration: Mapping[str, Any] | None = None) -> dict[str, NDArray]:
        """Return the prediction columns of logits, shape (rows, classes).

        Parameters
        ----------
        calibration : mapping, optional
            The head's entry of the card's calibration: `{"temperature": …}`.
        """
        scaled = np.asarray(logits, dtype=np.float64) / temperature_of(calibration or {})
        odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        # A network that answers with NaN has not answered; the largest of unknown numbers would be the first class.
        names = np.array([*self.classes, None], dtype=object)
        is_known = np.isfinite(probabilities).all(axis=1)
        predicted = names[np.where(is_known, probabilities.argmax(axis=1), len(self.classes))]
        return {self.predicted: predicted, **dict(zip(self.probability_columns.values(), probabilities.T, strict=True))}

    def calibrate(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Return what validation rows with label and probabilities teach, for the card.

        {} where they are too few, or hold one class only.
        """
        known = rows[[self.column, *self.number_columns]].dropna()
        known = known[as_names(known[self.column]).isin(self.classes)]
        if len(known) < LEAST_CALIBRATION_ROWS or known[self.column].nunique() < 2:
            return {}
        probabilities = known[list(self.number_columns)].to_numpy(dtype=np.float64)
        logits = np.log(np.clip(probabilities, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY))
        return {"temperature": fit_temperature(logits, self.labels(known[self.column]))}

    def scores(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Return the overall scores of a predictions table's rows, JSON-able; see `classification_scores`."""
        labels, predicted = as_names(rows[self.column]), as_names(rows[self.predicted])
        return classification_scores(labels, predicted, self.classes, self.probabilities(rows))

    def probabilities(self, rows: pd.DataFrame) -> Floats | None:
        """Return the probabilities, shape (rows, classes), or None where the table lacks one."""
        if not all(name in rows for name in self.number_columns):
            return None
        return np.stack([numbers(rows, name) for name in self.number_columns], axis=1)

    def classes_of(self, column: pd.Series) -> pd.Series:
        """Return the class of each cell however it is spelt, None where it is missing or no class."""
        spellings = self.spellings
        texts = as_names(column).map(str, na_action="ignore")
        known = {
            text: text if text in self.classes else spellings.get(text.strip().lower())
            for text in texts.dropna().unique()
        }
        return texts.map(known).astype(object).where(lambda cells: cells.notna(), None)

    def likeliest(self, rows: pd.DataFrame) -> NDArray[np.object_]:
        """Return each row's class of the highest probability, of equals the last; None where one is not known."""
        probabilities = self.probabilities(rows)
        if probabilities is None:
            return np.full(len(rows), None, dtype=object)
        last = len(self.classes) - 1 - np.nan_to_num(probabilities)[:, ::-1].argmax(axis=1)
        names = np.array([*self.classes, None], dtype=object)
        return names[np.where(np.isfinite(probabilities).all(axis=1), last, len(self.classes))]

    def label_words(self, value: Any) -> str:
        """Return a label or a prediction as a photo's caption has it; "" where it is missing."""
        return value if isinstance(value, str) else ""

    def sentence(self, row: Mapping[str, Any]) -> str:
        """Return a prediction as `predict` prints it."""
        if not isinstance(row[self.predicted], str):
            return f"{self.title} unknown"
        probability = row.get(self.probability_columns.get(row[self.predicted], ""), UNKNOWN)
        name = "" if self.caution else f"{self.title} "
        return f"{name}labelled {row[self.predicted]} with probability {probability:.2f}"

    def summary(self, scores: Mapping[str, Any]) -> str:
        """Return the main scores in a few words, as `evaluate` prints them."""
        name, key = ("AUC", "roc_auc") if self.is_binary else ("macro F1", "macro_f1")
        accuracy = figure(scores, "accuracy", ".1%")
        return f"{self.title} accuracy {accuracy}, {name} {figure(scores, key, '.3f')}"

    def _recall_metric(self, name: str, needs: tuple[str, ...]) -> RowMetric:
        def recall(table: pd.DataFrame) -> Floats:
            is_labelled = (as_names(table[self.column]) == name).to_numpy(dtype=bool)
            return np.where(is_labelled, self.is_right(table), np.nan)

        key = f"recall_{slug(name)}"
        return RowMetric(self.name, key, key, f"recall of {name} labels", "share", "higher", needs, recall)


GENDER = Classification(
    "gender",
    "gender",
    ("male", "female"),
    caution=(
        "“Gender” here is the dataset's annotated label of how a person presents in a photo. It isn't anybody's "
        "identity, and a prediction of it is no fact about anybody. The data know two labels only, so people whom "
        "neither describes are counted wrongly or not at all."
    ),
)


def as_names(column: pd.Series) -> pd.Series:
    """Return a column of classes as texts, missing where it was; a class that is a number is called by it."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.map(lambda value: f"{value:g}", na_action="ignore").astype(object)
    return column.astype(object)


def slug(name: str) -> str:
    """Return a class name as part of a column's name.

    >>> slug("slightly happy"), slug("≥60"), slug("<30"), slug("30–59")
    ('slightly_happy', 'from_60', 'under_30', '30_59')
    """
    text = str(name).replace("<", "under ").replace("≥", "from ").replace("≤", "to ").replace(">", "over ")
    text = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_") or "other"


def classification_scores(
    labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str], probabilities: ArrayLike | None = None
) -> dict[str, Any]:
    """Return the usual scores of predicted classes.

    Parameters
    ----------
    labels, predicted : array of str, shape (rows,)
        One of the classes or missing; a row that lacks one does not count.
    classes : sequence of str
    probabilities : array, shape (rows, classes), optional
        0..1, NaN where unknown. Without them the scores that need them are NaN.

    Returns
    -------
    dict
        `n`, `skipped`, per class `support_`, `precision_`, `recall_`, `f1_` with the class's slug behind, `accuracy`,
        `macro_f1` (over classes that occur), and of the probabilities `log_loss` (nats), `brier`,
        `expected_calibration_error` (ten equal bins), `roc_auc`, `pr_auc`. For two classes the last four are about the
        second one; for more they are about the predicted class's probability (`expected_calibration_error`), the sum
        over classes (`brier`), and the mean over classes that occur, each against the rest (`roc_auc`, `pr_auc`).

    Raises
    ------
    TableError
        The columns differ in length, or a probability lies outside 0..1.

    Examples
    --------
    >>> scores = classification_scores(["male", "female", "female"], ["male", "female", "male"], ("male", "female"))
    >>> round(scores["accuracy"], 3), scores["recall_female"]
    (0.667, 0.5)
    """
    truth, guess = _texts(labels), _texts(predicted)
    if truth.shape != guess.shape:
        raise TableError(f"{truth.size} labels but {guess.size} predictions: give one of each per row.")
    known = pd.notna(truth) & pd.notna(guess) & np.isin(truth, list(classes))
    by_class = {name: _one_class(truth[known] == name, guess[known] == name) for name in classes}
    present = [scores["f1"] for scores in by_class.values() if scores["support"]]
    count = int(known.sum())
    return {
        "n": count,
        "skipped": int(truth.size - count),
        "accuracy": float(np.mean(truth[known] == guess[known])) if count else UNKNOWN,
        "macro_f1": float(np.mean(present)) if present else UNKNOWN,
        **{f"{score}_{slug(name)}": value for name, scores in by_class.items() for score, value in scores.items()},
        **_probability_scores(truth, _checked(probabilities, (truth.size, len(classes))), classes),
    }


def _one_class(is_it: NDArray[np.bool_], is_said: NDArray[np.bool_]) -> dict[str, float]:
    hits, support, said = int(np.sum(is_it & is_said)), int(is_it.sum()), int(is_said.sum())
    return {
        "support": support,
        "precision": hits / said if said else UNKNOWN,
        "recall": hits / support if support else UNKNOWN,
        "f1": 2.0 * hits / (support + said) if support + said else UNKNOWN,
    }


def _probability_scores(truth: NDArray, probabilities: Floats, classes: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    known = np.isin(truth, list(classes)) & np.isfinite(probabilities).all(axis=1)
    if not known.any():
        names = ("roc_auc", "pr_auc", "log_loss", "brier", "expected_calibration_error")
        return dict.fromkeys(names, UNKNOWN)
    chance = probabilities[known]
    is_it = np.stack([truth[known] == name for name in classes], axis=1)
    place = is_it.argmax(axis=1)
    looked_at = [1] if len(classes) == 2 else range(len(classes))
    judged = [number for number in looked_at if 0 < is_it[:, number].sum() < len(place)]
    if len(classes) == 2:
        # Beside a probability of the second class, that of the first is no further knowledge.
        brier = float(brier_score_loss(is_it[:, 1], chance[:, 1], pos_label=True))
        error = expected_calibration_error(is_it[:, 1], chance[:, 1])
    else:
        brier = float(np.mean(np.sum((chance - is_it) ** 2, axis=1)))
        error = expected_calibration_error(chance.argmax(axis=1) == place, chance.max(axis=1))
    likely = np.clip(chance / np.maximum(chance.sum(axis=1, keepdims=True), 1e-15), 1e-15, 1.0 - 1e-15)
    return {
        "roc_auc": _mean([roc_auc_score(is_it[:, number], chance[:, number]) for number in judged]),
        "pr_auc": _mean([average_precision_score(is_it[:, number], chance[:, number]) for number in judged]),
        "log_loss": float(log_loss(place, likely, labels=range(len(classes)))),
        "brier": brier,
        "expected_calibration_error": error,
    }


def _texts(values: ArrayLike) -> NDArray:
    texts = pd.Series(values, dtype=object).to_numpy(copy=True)
    texts[pd.isna(texts)] = None
    return texts


def _checked(values: ArrayLike | None, shape: tuple[int, int]) -> Floats:
    if values is None:
        return np.full(shape, UNKNOWN)
    probabilities = np.asarray(values, dtype=np.float64)
    if probabilities.shape != shape:
        raise TableError(f"{shape[0]} labels but {len(probabilities)} rows of probabilities: give one of each per row.")
    wrong = (probabilities < 0.0) | (probabilities > 1.0)
    if wrong.any():
        raise TableError(
            f"{int(wrong.sum())} probabilities lie outside 0 to 1, first {probabilities[wrong][0]}; "
            f"log-odds must be turned into probabilities first."
        )
    return probabilities


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else UNKNOWN
