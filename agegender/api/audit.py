"""`agegender.Audit`: who a model is wrong about, from its predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.audit.assessment import Assessment, assess
from agegender.audit.challenge_ages import chosen_table
from agegender.audit.findings import Finding
from agegender.audit.metrics_document import evaluation_metrics
from agegender.audit.predictions_table import read_predictions, with_our_names
from agegender.heads import Head
from agegender.heads.age_bands import FINE_EDGES
from agegender.pages.page_writing import ReportContent
from agegender.settings import AGE_CHECK_RATE, AGE_CHECKS

Place = str | Path
_MOST_SHOWN = 12


class Audit:
    """An audit of anybody's predictions: one row per photo, labels beside what was predicted.

    Parameters
    ----------
    predictions : DataFrame, str or Path
        A table, or a Parquet or CSV file of one: `age_years` and `predicted_age_years`, `gender` and `predicted_gender`
        or a probability (`female_probability`), or any other label column with its `predicted_<column>`. Groups are
        made of `ethnicity`, `gender`, age bands, `expression` and every other column of few texts; `split` is
        honoured; rows that share a `subject_id`, a `twin_cluster` or a `path` are dealt and counted together.
    columns : mapping, optional
        Our column names to theirs, `{"predicted_age_years": "pred"}`.
    heads : sequence of Regression and Classification, optional
        What was predicted; by default what the columns tell.
    split : str, optional
        The rows to judge, "test" where there is a split: rows that a model was trained on flatter it. "all" takes all.
    adjust_for : str or sequence of str, optional
        Label columns that are held equal when groups are compared, numbers by splines and fine bins, texts by their
        values. "auto" (the default) takes the labelled age where the table has it; None or () holds nothing equal.
    title : str
        What the pages call the model.
    images : str or Path, optional
        The folder that `path` starts from, so that pages can show faces.
    age_bands : sequence of float, optional
        The years at which the bands of `age_band` begin, beside the four of `age_group`: 5, 10, 15, 20, then decades.
    age_checks : sequence of str, optional
        What is asked of ages: "18:25" lets in who is judged 25 where the law says 18, "13-16" who is judged 13 to 16.
    age_check_rate : float
        At most such a share of people up to four years under a legal age is to be let through, 0..1.

    Raises
    ------
    TableError
        Nothing in the table can be judged, or it lacks a column of `adjust_for`.
    UsageError
        `age_checks` or `age_check_rate` make no sense.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"age_years": [20, 30, 40, 50] * 20, "predicted_age_years": [22, 31, 35, 49] * 20,
    ...                       "gender": ["female", "male"] * 40, "predicted_gender": ["female"] * 80})
    >>> audit = Audit(table)
    >>> audit.by("mae", "gender")[["gender", "value", "n"]].values.tolist()
    [['female', 3.5, 40], ['male', 1.0, 40]]
    """

    def __init__(  # noqa: PLR0913 (what is judged, and how)
        self,
        predictions: pd.DataFrame | Place,
        *,
        columns: Mapping[str, str] | None = None,
        heads: Sequence[Head] | None = None,
        split: str | None = None,
        adjust_for: str | Sequence[str] | None = "auto",
        title: str | None = None,
        images: Place | None = None,
        age_bands: Sequence[float] = FINE_EDGES,
        age_checks: Sequence[str] = AGE_CHECKS,
        age_check_rate: float = AGE_CHECK_RATE,
    ) -> None:
        self._age_bands = tuple(age_bands)
        name = "predictions" if isinstance(predictions, pd.DataFrame) else Path(predictions).stem
        table = predictions if isinstance(predictions, pd.DataFrame) else read_predictions(Path(predictions))
        self.photos_root = None if images is None else Path(images).absolute()
        self.assessment: Assessment = assess(
            with_our_names(table, columns or {}), heads=heads, title=title or name, split=split, adjust_for=adjust_for,
            age_bands=age_bands, age_checks=age_checks, age_check_rate=age_check_rate,
        )  # fmt: skip

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that can be judged."""
        return self.assessment.heads

    @property
    def rows(self) -> pd.DataFrame:
        """The judged rows, errors beside them."""
        return self.assessment.judged

    @property
    def split(self) -> str:
        """Which rows are judged: "test", "valid", "train" or "all rows"."""
        return self.assessment.judged_split

    @property
    def notices(self) -> tuple[str, ...]:
        """What is unusual about the table, as sentences."""
        return self.assessment.notices

    @property
    def findings(self) -> list[Finding]:
        """What can be claimed about groups, strongest first, then what cannot be told.

        Each has `kind`, `metric`, `columns`, `values`, `n`, `size`, `low`, `high`, `p_value` (corrected for all
        that was looked at) and `sentence`. Groups are compared at equal ages, or what `adjust_for` names. Without any
        true difference a gap is claimed in at most 5 of 100 audits.
        """
        return list(self.assessment.findings)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The usual scores, per split and head, overall and by group."""
        return evaluation_metrics(self.assessment.rows, self.assessment.heads, age_bands=self._age_bands)

    @property
    def age_checks(self) -> pd.DataFrame:
        """Who a check of ages would let in or turn away wrongly, by group; no rows without a number in years.

        Errors are counted near the limits: for 18:25 `let_through` among people labelled 14 to 17, `asked_near` (asked
        for an ID) among 18 to 24, `asked_past` among 25 to 34; for 13-16 `older_let_in` among 17 to 20,
        `younger_let_in` among 9 to 12, `kept_out` among 13 to 16. In NIST's words the first of each check are false
        positives, those who are asked or kept out false negatives.

        Returns
        -------
        DataFrame
            `head`, `check`, `measure`, `first_age` and `last_age` (labelled, whole years, both included), `grouping`
            and `group` (empty for everybody), `n` photos, `rate`, 0..1, with `rate_low` and `rate_high` (95 %
            interval; photos of one person count as one person's), `gap` to all other groups and `gap_same_age` (at
            equal labelled ages), whose intervals are corrected for all comparisons of the check, and `differs`:
            "more", "less" or "cannot be told", which groups under 30 photos always are.

        References
        ----------
        NIST IR 8525, Face Analysis Technology Evaluation: Age Estimation and Verification, 2024.

        Examples
        --------
        >>> import pandas as pd
        >>> table = pd.DataFrame({"age_years": [16] * 40 + [30] * 40,
        ...                       "predicted_age_years": [20] * 38 + [26] * 2 + [31] * 40})
        >>> checks = Audit(table, age_checks=["18:25"]).age_checks
        >>> checks[["measure", "n", "rate"]].values.tolist()
        [['let_through', 40, 0.05], ['asked_near', 0, nan], ['asked_past', 40, 0.0]]
        """
        tables = [result.table() for result in self.assessment.age_checks]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @property
    def challenge_ages(self) -> pd.DataFrame:
        """The challenge age that keeps the wanted rate in every group of one half of the judged people.

        It is chosen on one half and measured on the other; the halves hang on the photos' names and keep persons whole.

        Returns
        -------
        DataFrame
            `head`, `check`, `wanted` (`age_check_rate`), `age` (the lowest that keeps it; missing where none of those
            tried does), and of everybody and of each group with people enough `grouping`, `group`, `first_n` and
            `first_rate` (of the half by which it was chosen: it flatters), `n`, `rate`, `rate_low` and `rate_high` (of
            the other, 95 % interval), and `verdict`: "kept", "not kept" or "cannot be told". No rows with fewer than
            30 photos near every limit.
        """
        return chosen_table(self.assessment.age_checks, self.assessment.chosen_ages)

    def by(self, metric: str, *columns: str) -> pd.DataFrame:
        """Return a metric for every group of one or more columns.

        Parameters
        ----------
        metric : str
            `age.mean_absolute_error`, `gender.accuracy`, …, or a short name that one head alone has, such as `mae`.
        *columns : str
            `ethnicity`, `age_group`, …; several make intersections.

        Returns
        -------
        DataFrame
            The group's value in each column, `value`, `low` and `high` (95 % interval), `n` photos, `persons`.

        Raises
        ------
        UsageError
            There is no such metric.
        TableError
            There is no such column.
        """
        return self.assessment.by(metric, *columns)

    def to_frame(self) -> pd.DataFrame:
        """Return every metric of every group in one long table, as spreadsheets, trackers and plots take them.

        Returns
        -------
        DataFrame
            `metric` (`age.mean_absolute_error`, …), `unit` ("share" is 0..1), `grouping` (columns joined by " × "),
            `group` (empty: all rows of the grouping), `n` photos, `value`, `gap` (to all others) and `gap_at_equal`
            (the same with what `adjust_for` names held equal), each with `_low` and `_high`; `p_corrected` of the
            tested gap; `is_ranked`, whether the group has 30 photos. Intervals are of 95 %, of a value by itself, of
            gaps corrected for all comparisons of this audit. What is unknown is NaN.
        """
        return self.assessment.comparisons.to_frame()

    @property
    def content(self) -> ReportContent:
        """What pages are made of."""
        return ReportContent(self.assessment, photos_root=self.photos_root)

    def to_html(self, path: Place, *, hide_faces: bool = False) -> Path:
        """Write the bias page, one offline file, whole or not at all; return its place."""
        from agegender.pages.report_set import write_page_alone

        return write_page_alone(Path(path), "bias", replace(self.content, hide_faces=hide_faces))

    def report(self, folder: Place, *, hide_faces: bool | None = None) -> dict[str, Path]:
        """Write every page that can be made of the predictions to `folder`; return page name -> file."""
        from agegender.pages.report_set import write_report_set

        return write_report_set(Path(folder), self.content, hide_faces=hide_faces).pages

    def suspects(self, *, least: float = 0.5) -> pd.DataFrame:
        """Return the labels that are probably wrong, the surest first.

        Parameters
        ----------
        least : float
            The least probability, 0..1.

        Returns
        -------
        DataFrame
            `path`, `column` (of the label), `label`, `suggested`, `probability_wrong`, `predicted`, and of numbers
            `low` and `high`; see `audit.suspected_labels`. The rows must be ones that the model never saw: a model
            trained with `folds=5` has such predictions of every photo.

        Raises
        ------
        TableError
            Labels are too few.
        """
        from agegender.audit.suspected_labels import suspected_labels

        return suspected_labels(self.rows, self.heads, least=least)

    def suspects_to_html(self, path: Place, *, least: float = 0.5, most: int = 200, hide_faces: bool = False) -> Path:
        """Write a page of the `most` surest of them, on which a person marks what is wrong; return its place."""
        from agegender.pages.suspects_page import write_suspects

        content = replace(self.content, hide_faces=hide_faces)
        return write_suspects(Path(path), content, self.suspects(least=least), most=most)

    def _repr_html_(self) -> str:
        shown = self.findings[:_MOST_SHOWN]
        lines = [
            f"<li>{'<b>' if one.is_gap else ''}{escape(one.sentence)}{'</b>' if one.is_gap else ''}</li>"
            for one in shown
        ]
        heads = ", ".join(head.title for head in self.heads)
        notes = "".join(f"<p><i>{escape(notice)}</i></p>" for notice in self.notices)
        return (
            f"<p><b>{escape(self.assessment.title)}</b>: {len(self.rows):,} photos ({escape(self.split)}), "
            f"{escape(heads)}</p>{notes}<ul>{''.join(lines)}</ul>"
        )
