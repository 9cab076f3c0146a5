"""Is what agegender claims true? Simulations with known answers, beside what people use instead.

    python benchmarks/truth.py [--quick] [--data UTKFace] [--only ROW ...] [--trials N] [--seed N] [--jobs 2] [--json]

Every row is a promise: how often nothing is claimed where there is nothing, how often a planted gap is found, how often
an interval holds the truth. The full run writes `truth.md` (the table), `truth.svg` and `truth.json` to `--out`; each
row is stored as soon as it ends, and one that is stored with the same seed, trials, labels and code is not run again,
so an interrupted run goes on where it was. `--quick`, `--trials` and `--only` write only where `--out` says so.
With the few trials of `--quick` a verdict is mostly chance: it shows that everything runs.
`ratio` is how many times as many audits raise a false alarm beyond age with Welch's tests and Holm's correction as with
ours (one audit added to both).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: trials run side by side instead

import argparse
import hashlib
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from truth_rivals import FAIRLEARN, RIVALS
from truth_rows import ROWS, Row
from truth_tables import Labels

from agegender.audit.estimates import wilson
from agegender.writing import plain, replaced_file, to_json

ROOT = Path(__file__).parents[1]
WORDS = {True: "holds", False: "**fails**", None: "no promise"}
RIVAL_NAMES = {
    *RIVALS,
    FAIRLEARN,
    "stock LIME, score from ⅓",
    "bootstrap percentiles",
    "uncorrected",
    "0.1",
    "Mondrian",
}
RIVAL_NAMES |= {"CQR"}
_SHARES = 8  # of a row's trials: all processes end at about the same time


def run_trials(row: Row, labels: Labels, numbers: Sequence[int], seed: int) -> tuple[list[dict[str, float]], float]:
    """Return the figures of some trials of a row, and the processor seconds that they took."""
    started, figures = time.process_time(), []
    for number in numbers:
        generator = np.random.default_rng([seed, zlib.crc32(row.name.encode()), number])
        figures.append(row.trial(generator, labels, number))
    return figures, time.process_time() - started


def run_row(row: Row, labels: Labels, trials: int, seed: int, pool: Executor | None) -> dict[str, Any]:
    """Return what became of a row: the means of its figures, of how many trials, and whether its promise holds."""
    if pool is None:
        parts = [run_trials(row, labels, range(trials), seed)]
    else:
        shares = [range(start, trials, _SHARES) for start in range(min(trials, _SHARES))]
        waiting = [pool.submit(run_trials, row, labels, share, seed) for share in shares]
        parts = [one.result() for one in waiting]
    figures = [one for part, _ in parts for one in part]
    names = list(dict.fromkeys(name for one in figures for name in one))
    known = {name: np.array([one[name] for one in figures if np.isfinite(one.get(name, np.nan))]) for name in names}
    means = {name: float(values.mean()) for name, values in known.items() if values.size}
    return {
        "title": row.title,
        "promise": row.promise.words(row.unit) if row.promise else "none",
        "holds": row.promise.holds(means, trials) if row.promise else None,
        "trials": trials,
        "means": means,
        "counts": {name: values.size for name, values in known.items()},
        "ends": _ends(known["ours"]),
        "processor_seconds": sum(seconds for _, seconds in parts),
    }


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean over trials: Wilson's where each is a yes or a no."""
    if np.isin(values, (0.0, 1.0)).all():
        low, high = wilson([values.sum()], [values.size])
        return float(low[0]), float(high[0])
    reach = 1.96 * values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("nan")
    return float(values.mean() - reach), float(values.mean() + reach)


def run(
    rows: Sequence[Row], options: argparse.Namespace, pool: Executor | None
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield every row with what became of it, from the store where it stands there already."""
    labels = Labels.of_names(options.data) if options.data else Labels.of_counts()
    stored, code = _stored(options.out), _digest()
    for row in rows:
        trials = row.quick_trials if options.quick else row.trials
        trials = min(trials, options.trials or trials)
        kind = "real names" if options.data else "counts"
        circumstances = {"seed": options.seed, "trials": trials, "labels": kind, "code": code}
        before = stored.get(row.name, {})
        if all(before.get(name) == value for name, value in circumstances.items()):
            yield row, before
        elif trials:
            yield row, run_row(row, labels, trials, options.seed, pool) | circumstances


def text_table(results: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown tables, a heading for each part."""
    lines, rows = [], {row.name: row for row in ROWS}
    for part in dict.fromkeys(row.part for row in ROWS if row.name in results):
        shown = {name: one for name, one in results.items() if rows[name].part == part}
        others = list(dict.fromkeys(name for one in shown.values() for name in one["means"] if name != "ours"))
        lines += [f"## {part}", "", f"| row | promise | trials | agegender | | {' | '.join(others)} |"]
        lines += ["|---|---|---|---|---|" + "---|" * len(others)]
        for name, one in shown.items():
            unit = rows[name].unit
            cells = [_figure(one, other, unit) for other in others]
            ours = _figure(one, "ours", unit, has_ends=True)
            head = [f"`{name}`: {one['title']}", one["promise"], str(one["trials"]), ours]
            lines.append(f"| {' | '.join([*head, WORDS[one['holds']], *cells])} |")
        lines.append("")
    return "\n".join(lines)


def _figure(one: dict[str, Any], name: str, unit: str, *, has_ends: bool = False) -> str:
    if name not in one["means"]:
        return ""
    value, count = one["means"][name], one["counts"][name]
    if name.endswith(")") or unit != "share":
        return f"{value:,.1f}" if name.endswith(")") else f"{value:,.1f} {unit}"
    words = f"{100 * value:.1f} %"
    if has_ends:
        low, high = (100 * min(max(end, 0.0), 1.0) for end in one["ends"])
        words += f" ({low:.1f} to {high:.1f})" if high - low < 5 else f" ({low:.0f} to {high:.0f})"
    return words if count == one["trials"] else f"{words} of {count}"


def document_of(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return the one JSON document."""
    conditional = results.get("conditional_null")
    ratio = None
    if conditional:
        n, means = conditional["trials"], conditional["means"]
        ratio = (n * means["Welch, Holm"] + 1) / (n * means["ours"] + 1)
    return {
        "benchmark": "truth",
        "ratio": ratio,
        "seed": options.seed,
        "processor_minutes": sum(one["processor_seconds"] for one in results.values()) / 60,
        "failed": [name for name, one in results.items() if one["holds"] is False],
        "rows": results,
    }


def write(folder: Path, results: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Write what is known so far, rows of an earlier run that were not asked for included."""
    folder.mkdir(parents=True, exist_ok=True)
    together = {**_stored(folder), **results}
    every = {row.name: together[row.name] for row in ROWS if row.name in together}
    with replaced_file(folder / "truth.json") as temporary:
        temporary.write_text(to_json(document_of(every, options)) + "\n", encoding="utf-8")
    with replaced_file(folder / "truth.svg") as temporary:
        draw(every, temporary)
    with replaced_file(folder / "truth.md") as temporary:
        temporary.write_text(f"{_HEAD}\n{text_table(every)}", encoding="utf-8")


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw all shares: ours with its interval, the alternatives beside it, what is promised as a line."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.fonttype"] = "none"
    import matplotlib.pyplot as plt

    rows = [row for row in ROWS if row.name in results and row.unit == "share"]
    rivals = list(dict.fromkeys(name for row in rows for name in results[row.name]["means"] if name in RIVAL_NAMES))
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.27 * len(rows)), constrained_layout=True)
    for place, row in enumerate(rows):
        means, ends = results[row.name]["means"], np.clip(results[row.name]["ends"], 0.0, 1.0)
        color = {True: "#009e73", False: "#d55e00", None: "#777777"}[results[row.name]["holds"]]
        axis.plot(ends, [place, place], color=color, linewidth=3, alpha=0.5)
        axis.plot(means["ours"], place, "o", color=color)
        for number, name in enumerate(rivals):
            if name in means:
                axis.plot(means[name], place, "s^vDPX<>p*"[number % 10], mfc="none", color="#0072b2", markersize=4)
        for end in (row.promise.low, row.promise.high) if row.promise else ():
            if np.isfinite(end):
                axis.plot([end, end], [place - 0.4, place + 0.4], color="black", linewidth=1)
    axis.plot([], [], "o", color="black", label="agegender: green keeps its promise, orange does not, grey has none")
    for number, name in enumerate(rivals):
        axis.plot(
            [], [], "s^vDPX<>p*"[number % 10], mfc="none", color="#0072b2", markersize=4, linestyle="", label=name
        )
    axis.set(yticks=range(len(rows)), yticklabels=[row.name for row in rows], xlim=(-0.02, 1.02), xlabel="share")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper left", fontsize=8, ncols=2, frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


_HEAD = """# Is what the reports claim true?

Written by `python benchmarks/truth.py`, which says what each row is; how they were measured stands in
[experiments.md](experiments.md). Shares are of trials, with Wilson's 95 % interval. A share of false claims fails only
where it exceeds what a true 5 % makes in 95 of 100 cases (27 of 400, 15 of 200, 9 of 100). Alternatives that claim too
often where there is nothing are no valid tests; what they find is shown all the same.

![Shares of every row, beside what is promised and the alternatives](truth.svg)
"""


def _stored(folder: Path | None) -> dict[str, dict[str, Any]]:
    place = folder / "truth.json" if folder else None
    return json.loads(place.read_text(encoding="utf-8"))["rows"] if place and place.is_file() else {}


def _digest() -> str:
    """Return a digest of all code that a trial's answer depends on."""
    rooms = [ROOT / "agegender" / name for name in ("audit", "heads", "explanation")]
    files = [path for room in rooms for path in sorted(room.glob("*.py"))]
    files += sorted((ROOT / "benchmarks").glob("truth*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def main() -> int:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few trials of every row, within a minute")
    parser.add_argument("--data", type=Path, metavar="UTKFACE", help="take labels from the names of these photos")
    parser.add_argument("--only", nargs="+", choices=names, metavar="ROW", help=f"some of {', '.join(names)}")
    parser.add_argument("--trials", type=int, help="at most so many of every row")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--out", type=Path, help="where to write (docs in a full run, else nowhere)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if options.out is None and not (options.quick or options.trials or options.only):
        options.out = ROOT / "docs"
    chosen = [row for row in ROWS if not options.only or row.name in options.only]
    results: dict[str, dict[str, Any]] = {}
    several = ProcessPoolExecutor(options.jobs, get_context("spawn")) if options.jobs > 1 else nullcontext()
    with several as pool:
        for row, found in run(chosen, options, pool):
            results[row.name] = plain(found)
            said = f"{_figure(found, 'ours', row.unit)}, {found['trials']} trials, {WORDS[found['holds']]}"
            print(f"{row.name}: {said} ({found['processor_seconds']:.0f} s)", file=sys.stderr)
            if options.out:
                write(options.out, results, options)
    print(to_json(document_of(results, options)) if options.json else text_table(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
