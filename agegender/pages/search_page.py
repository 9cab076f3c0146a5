"""`search.html`: what a search of settings tried, how it went, what did best and what mattered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from agegender.audit.words import count, number
from agegender.pages.charts import FAINT, SERIES, bar_chart, chart, svg
from agegender.pages.page_writing import write_page
from agegender.pages.tables import Column, Row, Table, table_of_frame

WHOLE, ENDED = "complete", "pruned"
_FEW_POINTS = 40  # more are drawn smaller


def write_search(  # noqa: PLR0913 (what a search has found, each by its name)
    path: Path, *, title: str, table: pd.DataFrame, best: Mapping[str, Any], value: float, words: str, rises: bool,
    importances: Mapping[str, float], command: str, is_drawn: bool,
) -> Path:  # fmt: skip
    """Write the page of a search to `path`, whole or not at all.

    Parameters
    ----------
    table : DataFrame
        A row per trial: `trial`, `state`, `value`, `best_epoch`, `epochs`, `seconds`, `why`, and its settings.
    words : str
        What the trials are judged by.
    rises : bool
        Whether more of it is better.
    """
    whole = table[table["state"] == WHOLE]
    winner = int(whole["trial"].iloc[int((whole["value"] if rises else -whole["value"]).to_numpy().argmax())])
    settings = [Column("setting", "Setting"), Column("value", f"Value in trial {winner}")]
    rows = [Row({"setting": name, "value": _short(one)}) for name, one in best.items()]
    seconds = float(table["seconds"].fillna(0).sum())
    return write_page(
        path,
        "search.html",
        title=f"Search: {title}",
        subject=title,
        trials=count(len(table)),
        ended=count(len(table) - len(whole)),
        words=words,
        rises=rises,
        winner=winner,
        value=_short(value),
        minutes=number(seconds / 60, 1),
        best=Table("best", "Settings of the best trial", settings, rows),
        command=command,
        course=_course_chart(table, words, rises=rises),
        mattered=_importance_chart(importances, len(whole)),
        all_trials=table_of_frame("trials", "Every trial", _readable(table), digits=3),
        is_drawn=is_drawn,
        sections=[("best-settings", "Best"), ("mattered", "What mattered"), ("all", "Trials"), ("methods", "Methods")],
    )


def _short(value: Any) -> str:
    if value is None or value == () or value != value:  # noqa: PLR0124 (NaN is what a table makes of None)
        return "none"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the words of people; numbers of very different sizes, such as rates, stay texts."""
    shown = table.copy()
    for name in ("best_epoch", "epochs", "seconds"):
        shown[name] = pd.to_numeric(shown[name]).round().astype("Int64")
    shown["state"] = shown["state"].map({WHOLE: "whole", ENDED: "ended early"})
    told = ("trial", "state", "value", "best_epoch", "epochs", "seconds", "why")
    for name in shown.columns.difference(told, sort=False):
        shown[name] = [_short(one) for one in shown[name]]
    return shown[[*told[:-1], *shown.columns.difference(told, sort=False), "why"]]


def _course_chart(table: pd.DataFrame, words: str, *, rises: bool) -> Markup:
    whole = table[table["state"] == WHOLE]
    ended = table[(table["state"] == ENDED) & table["value"].notna()]
    best = whole["value"].cummax() if rises else whole["value"].cummin()
    size = 22 if len(table) <= _FEW_POINTS else 9
    with chart(3.0) as figure:
        axes = figure.add_subplot(title="How the search went", xlabel="trial", ylabel=words)
        axes.step(whole["trial"], best, where="post", color=SERIES[0], label="best so far")
        axes.scatter(whole["trial"], whole["value"], s=size, color=SERIES[0], label="whole trial")
        axes.scatter(ended["trial"], ended["value"], s=size, color=FAINT, marker="x", label="ended early")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        last = _short(float(best.iloc[-1]))
        return svg(figure, f"{words} of {len(table)} trials; the best of the whole ones comes to {last}")


def _importance_chart(importances: Mapping[str, float], whole: int) -> Markup | None:
    if not importances:
        return None
    names, shares = list(importances), [100 * share for share in importances.values()]
    said = ", ".join(f"{name} {share:.0f} %" for name, share in zip(names, shares, strict=True))
    title = f"What mattered, by {whole} whole trials"
    label = "share of the differences between trials, %"
    return bar_chart(names, shares, title=title, x_label=label, description=f"{label}: {said}")
