"""The pages of the reference that are made from the code: commands with their options, and the columns of artefacts.

`python docs/update_readme.py` writes them, and `tests/test_readme.py` fails when they are behind. A column without a
meaning here is a KeyError, so that none is added without one.
"""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pandas as pd

from agegender.__main__ import COMMANDS
from agegender.audit.metrics_document import evaluation_metrics
from agegender.audit.predictions_files import FACT_TYPES
from agegender.audit.suspected_labels import COLUMNS as SUSPECT_COLUMNS
from agegender.data.faces_table import BOOKKEEPING, COLUMNS
from agegender.heads import AGE, GENDER, KNOWN_HEADS, Classification, Head
from agegender.model import model_folder
from agegender.model.card_schema import _SCHEMA
from agegender.pages.report_set import PAGES

REFERENCE = Path(__file__).resolve().parent / "reference"
_WRITTEN = "<!-- Written by docs/update_readme.py: change the code instead. -->"
# Column of a table -> what it holds. Heads say theirs by rule, see `_head_rows`.
MEANINGS = {
    "path": "the photo, below the table's folder, with forward slashes",
    "source": "which layout it was read from: `utkface`, `drawn_faces`, `csv`, …",
    "age_years": "labelled age, 0 to 120; missing where unknown",
    "gender": "the dataset's annotated label, `male` or `female`; missing where unknown",
    "ethnicity": "the dataset's annotated label; for grouping",
    "expression": "labelled expression",
    "mask": "labelled mask",
    "subject_id": "who is on the photo: persons stay on one side of a split and count as one",
    "split": "`train`, `valid` or `test`",
    "file_sha512": "SHA-512 of the file; equal ones are the same photo",
    "phash": "64-bit perceptual hash, 16 hexadecimal digits",
    "dropped_because": "why the photo was left out; missing for the kept ones",
    "fold": "fold, 0 and up, where folds were dealt",
    "twin_cluster": "number that twins share",
    "corrected": "history of labels that people have mended",
    "is_malformed_name": "the file's name did not fit its layout",
    "rating_count": "people who guessed the apparent age (APPA-REAL)",
    "apparent_age_std_years": "standard deviation of their guesses",
    "brisque_value": "BRISQUE score (extra `quality`)",
    "original_path": "the photo that the face was cut out of",
    "face_found_by": "detector that found the face",
    # Facts about a face that `predict` adds.
    "error": "why the photo could not be read; such a row has no answers",
    "problems": "what is doubtful about the face, separated by commas",
    "face": "number of the face in the photo, from 0",
    "face_count": "faces found in the photo",
    "face_left": "left edge of the found face, pixels of the upright photo",
    "face_top": "top edge",
    "face_width": "width",
    "face_height": "height",
    "face_score": "how sure the detector is, 0 to 1, where it says so",
    "crop_left": "left edge of the square that was cut out; may lie outside the photo",
    "crop_top": "its top edge",
    "crop_side": "its side",
    "crop_degrees": "by how much it was turned to bring the eyes level",
    # Suspected labels.
    "column": "the label column",
    "label": "what it says",
    "suggested": "what is likelier",
    "probability_wrong": "probability that the label is wrong",
    "predicted": "what the model says",
    "low": "low end of the 90 % interval, of numbers",
    "high": "its high end",
}
_FILES = {
    model_folder.WEIGHTS_FILE: "the network's weights; with `model.json` all that the program loads",
    model_folder.CARD_FILE: "the card: network, heads, image, calibration, metrics, settings",
    model_folder.FACES_FILE: "the faces table it was trained on, splits included",
    model_folder.PREDICTIONS_FILE: "its predictions of every kept photo",
    model_folder.METRICS_FILE: "first figures of these, per split and group",
    model_folder.HISTORY_FILE: "one row per epoch: losses, validation figures, learning rate, seconds",
    model_folder.LEARNER_FILE: "the fastai Learner, for the version that wrote it; never loaded by a command",
    model_folder.ONNX_FILE: "what `agegender export` writes",
    model_folder.INT8_FILE: "what `agegender export --int8` writes",
}

_COMMANDS = """\
# Commands

Every command answers `--help` at once, prints one JSON document with `--json`, says bad input in one line (exit code
2), and leaves either the whole result or the old one. Where a command needs a model and none is named, it takes the
newest and says which; `predict` and `serve` take the one that comes with agegender. `python -m agegender.train` is the
same as `agegender train`."""
_ARTEFACTS = """\
# Artefacts and their columns

Three artefacts follow one another; each opens with pandas, DuckDB or a browser.

```text
photos + labels ─prepare─▶ FACES TABLE ─train─▶ MODEL FOLDER ─evaluate─▶ PREDICTIONS TABLE ─report─▶ pages
                           faces.parquet        models/<name>/           predictions.parquet         reports/<name>/
```

## The faces table

One row per photo. The first twelve columns are always there. Any other column than these is a label, which can be
learnt (`--heads`) and grouped by. Photo checks (`--quality`) are pairs of columns, `<check>_score` and `is_<check>`;
landmarks are `<point>_x` and `<point>_y`.

{faces}

## The predictions table

The label columns of the faces table, and of each head the columns below. Of a table that somebody else made, one label
and its prediction are enough. The rule: a head `h` on a column `c` fills `predicted_c`; a number also `h_low_unit`,
`h_high_unit` (90 %) and `h_spread_unit`, a class `h_probability_class`. Parquet files carry the heads, and the whole
names of their classes, in their metadata.

{heads}

Errors and other derived columns are computed each time, never stored. `age_group` is made of the labelled age.

## What `predict` says of a face

{facts}

Then come the prediction columns of each head.

## Suspected labels

`Audit.suspects` returns these columns.

{suspects}

## The model folder

{files}

### model.json

The entries that the program reads. Their types are compared when a model is loaded; other entries are shown on pages.

{card}

### metrics.json

Split, then `n`, the scores of each head by its name, `chalearn_bias` where a head has age bands, and `groups` with the
same scores for each group. The keys of a head's scores:

{scores}

## Pages

`reports/<name>/` holds one file for each, `MODEL_CARD.md` (the card as text, with the metadata that Hugging Face's Hub
reads), and `explanations/` with a JSON and an NPZ file per photo.

{pages}
"""


def pages() -> dict[Path, str]:
    """Return file -> text of every page that is made from the code."""
    return {REFERENCE / "commands.md": commands_page(), REFERENCE / "artefacts.md": artefacts_page()}


def commands_page() -> str:
    """Return the page of all commands: what each is for, its options, its examples."""
    return "\n\n".join([_WRITTEN, _COMMANDS, *(_command(name) for name in COMMANDS)]) + "\n"


def option_table(actions: list[argparse.Action], parser: argparse.ArgumentParser) -> str:
    """Return a table of options and their meaning."""
    rows = [option_row(action, parser) for action in actions if action.dest != "help"]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def option_row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an option and its meaning as a row of a Markdown table."""
    name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    value = ""
    if action.option_strings and action.nargs != 0:
        choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
        value = f" {action.metavar or choices}"
    meaning = (action.help or "") % {**vars(action), "prog": parser.prog}
    return f"| `{_cell(name + value)}` | {_cell(_plain(meaning))} |"


def artefacts_page() -> str:
    """Return the page of the three artefacts: files, columns, entries."""
    faces = [*COLUMNS, *sorted(BOOKKEEPING - set(COLUMNS) - set(FACT_TYPES) - _landmarks())]
    tables = {
        "faces": _table(("column", "what it holds"), [(f"`{name}`", MEANINGS[name]) for name in faces]),
        "heads": "\n\n".join(_head_table(head) for head in KNOWN_HEADS),
        "facts": _table(("column", "what it holds"), [(f"`{name}`", MEANINGS[name]) for name in FACT_TYPES]),
        "suspects": _table(("column", "what it holds"), [(f"`{name}`", MEANINGS[name]) for name in SUSPECT_COLUMNS]),
        "files": _table(("file", "what it is"), [(f"`{name}`", what) for name, what in _FILES.items()]),
        "card": _table(("entry", "is"), [(f"`{name}`", expected) for name, (_, expected) in _SCHEMA.items()]),
        "scores": _table(("head", "keys"), _scores()),
        "pages": _table(("page", "what it answers"), [(f"`{name}.html`", about) for name, (_, about) in PAGES.items()]),
    }
    return f"{_WRITTEN}\n\n{_ARTEFACTS.format(**tables)}"


def _command(name: str) -> str:
    parser = importlib.import_module(f"agegender.{name}").build_parser()
    parts = [f"## agegender {name}", f"{parser.description}"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions:
            named = [] if group.title in ("positional arguments", "options") else [f"**{group.title}**"]
            parts += [*named, option_table(actions, parser)]
    if parser.epilog:
        parts.append(f"```text\n{parser.epilog.strip()}\n```")
    return "\n\n".join(parts)


def _head_table(head: Head) -> str:
    rows = [(f"`{head.column}`", "the label"), (f"`{head.predicted}`", "the prediction")]
    if isinstance(head, Classification):
        rows += [(f"`{column}`", f"probability of {name}") for name, column in head.probability_columns.items()]
    else:
        low, high = head.interval_columns
        rows += [
            (f"`{low}`, `{high}`", "90 % interval of a new photo"),
            (f"`{head.spread_column}`", "standard deviation of the predicted distribution"),
            (
                ", ".join(f"`{name}`" for name in head.label_interval_columns),
                "90 % interval that knows the row's labels; of labelled tables",
            ),
        ]
    rows += [(f"`{name}`", "derived") for name in head.derived_columns]
    return _table((f"head `{head.name}`", "what it holds"), rows)


def _scores() -> list[tuple[str, str]]:
    """Return each head and the keys of its scores, from a small table of which everything is known."""
    rows = pd.DataFrame({"age_years": [20.0, 40.0], "gender": ["female", "male"]})
    rows = rows.assign(predicted_age_years=[21.0, 38.0], predicted_gender=rows["gender"])
    rows = rows.assign(gender_probability_female=[0.9, 0.2], gender_probability_male=[0.1, 0.8])
    figures = evaluation_metrics(rows)["all"]
    return [(f"`{head.name}`", ", ".join(f"`{key}`" for key in figures[head.name])) for head in (AGE, GENDER)]


def _landmarks() -> set[str]:
    return {name for name in BOOKKEEPING if re.fullmatch(r".+_[xy]", name)}


def _table(heading: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {heading[0]} | {heading[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {first} | {_cell(second)} |" for first, second in rows)])


def _cell(text: str) -> str:
    """Return a text whose bars do not end a cell."""
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    """Return a help text of which Markdown makes no markup: angle brackets outside of code."""
    parts = text.split("`")
    return "`".join(part if place % 2 else part.replace("<", "\\<") for place, part in enumerate(parts))
