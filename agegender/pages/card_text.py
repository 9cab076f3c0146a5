"""`card.toml`: what only people can write of a model. Made once, read for every card, never written over.

It is stored with the model; where that has none, as of predictions alone, a report makes it beside its pages. A file
that cannot be read stops no report: the card says what is wrong with it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agegender.errors import did_you_mean
from agegender.heads import Classification, Head, Regression
from agegender.writing import output_errors

HUMAN_FILE = "card.toml"
_MOST_BYTES = 1_000_000
_HEAD = """\
# The part of the model card that only people can write, of {title}.
# agegender has made this file once. It reads it for every card and never changes it.
# Take the # away in front of a line and write between the quotes. \"\"\" in place of " holds several lines, and
# ["first", "second"] holds several points. What stays as it is stands on the card as an open question.
"""


class Question(NamedTuple):
    """One field: its name in the file, the part of the card that it belongs to, what it is called, what it asks."""

    key: str
    part: str
    name: str
    asks: str


class Wanted(NamedTuple):
    """One number: its name in the file, what it is unless the file says otherwise, and what it is for."""

    key: str
    usual: float
    asks: str


QUESTIONS = (
    Question("made_by", "Model details", "Made by", "Who made the model and answers for it."),
    Question("contact", "Model details", "Contact", "Where to write about it."),
    Question("licence", "Model details", "Licence", "Under which licence model and weights may be used."),
    Question("intended_use", "Intended uses", "Intended use", "What it is for."),
    Question("intended_users", "Intended uses", "Intended users", "Who is to use it, and with which knowledge."),
    Question("uses_checked_by", "Conditional uses", "Checked by", "Who has checked the drafted uses, and when."),
    Question("out_of_scope", "Out-of-scope uses", "Out of scope", "Further uses that its makers warn against."),
    Question("factors", "Factors", "Further factors", "Groups and conditions that matter and aren't labelled."),
    Question(
        "data_statement",
        "Training and evaluation data",
        "Data statement",
        "How the photos came about, who is shown, whether they agreed, and who labelled them.",
    ),
    Question("data_licence", "Training and evaluation data", "Licence of the data", "What the photos may be used for."),
    Question("risks", "Ethical considerations", "Risks", "Risks that were weighed, and what was decided."),
    Question("limits", "Caveats and recommendations", "Known limits", "Where it is known to fail."),
    Question(
        "recommendations",
        "Caveats and recommendations",
        "Recommendations",
        "What users should test before relying on it.",
    ),
)
WANTED = (
    Wanted("wanted_share", 0.8, "Share of numbers near enough from which a use is drafted as possible."),
    Wanted("wanted_accuracy", 0.9, "Share of labels as annotated from which a use is drafted as possible."),
)
_KEYS = (*(one.key for one in QUESTIONS), *(one.key for one in WANTED), "run")


@dataclass(frozen=True)
class HumanText:
    """What a `card.toml` says: key -> paragraphs, numbers by key, and what could not be read, as sentences."""

    paragraphs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    run: str = ""  # the training run that it was written about

    def number(self, wanted: Wanted) -> float:
        """Return a number of the file, or what it usually is."""
        return self.numbers.get(wanted.key, wanted.usual)

    def answers(self, part: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return what people have written for a part of the card: name -> paragraphs."""
        asked = (one for one in QUESTIONS if one.part == part)
        return [(one.name, self.paragraphs[one.key]) for one in asked if one.key in self.paragraphs]

    def open_questions(self, part: str) -> list[tuple[str, str]]:
        """Return what nobody has written yet for a part: key and question."""
        return [(one.key, one.asks) for one in QUESTIONS if one.part == part and one.key not in self.paragraphs]


def human_place(model_folder: Path | None, pages_folder: Path) -> Path:
    """Return where the human text of a model lies, or is to lie: a report changes no model, so beside its pages."""
    beside = None if model_folder is None else model_folder / HUMAN_FILE
    return beside if beside is not None and beside.is_file() else pages_folder / HUMAN_FILE


def template(title: str, run: str = "") -> str:
    """Return the file as it is made: every field with its question, in comments.

    >>> import tomllib
    >>> tomllib.loads(template("first", "r1"))
    {'run': 'r1'}
    """
    blocks = [_HEAD.format(title=_printable(title) or "this model")]
    if run := _printable(run).replace("\\", "").replace('"', ""):
        said = "The training run that this text is about; the card says so where the model is another one by now."
        blocks.append(f'# {said}\nrun = "{run}"\n')
    part = ""
    for one in QUESTIONS:
        blocks.append(f"# --- {one.part} ---\n" if one.part != part else "")
        part = one.part
        blocks.append(f'# {one.asks}\n# {one.key} = ""\n')
    blocks.append("# --- What the drafted uses are measured by ---\n")
    blocks += [f"# {one.asks}\n# {one.key} = {one.usual:g}\n" for one in WANTED]
    return "\n".join(block for block in blocks if block)


def keep_or_make(old: Path, new: Path, title: str, run: str) -> None:
    """Write to `new`, which waits for its swap, what is in the file `old`, or a template where there is none."""
    with output_errors(new):
        new.write_bytes(old.read_bytes() if old.is_file() else template(title, run).encode())


def read_human(path: Path) -> HumanText:
    """Return what a file says; one that is not there says nothing."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return HumanText(problems=(f"{path.name} is larger than a megabyte, so it was not read.",))
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return HumanText()
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        return HumanText(problems=(f"{path.name} could not be read, so nothing of it stands here: {why}.",))
    return _checked(found, path.name)


def _checked(found: Mapping[str, Any], name: str) -> HumanText:
    paragraphs: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, float] = {}
    problems = [
        f"{name} has a field {_printable(key)[:60]!r} that the card doesn't know.{did_you_mean(key, _KEYS)}"
        for key in found
        if key not in _KEYS
    ]
    for one in WANTED:
        value = found.get(one.key, one.usual)
        is_share = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1
        if is_share:
            numbers[one.key] = float(value)
        else:
            problems.append(f"{one.key} in {name} is no share above 0 and up to 1, such as {one.usual:g}.")
    for question in QUESTIONS:
        texts = _paragraphs(found.get(question.key, ""))
        if texts is None:
            problems.append(f"{question.key} in {name} is neither a text nor a list of texts.")
        elif texts:
            paragraphs[question.key] = texts
    return HumanText(paragraphs, numbers, tuple(problems), str(found.get("run", ""))[:32])


def _paragraphs(value: Any) -> tuple[str, ...] | None:
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, (dict, list)) for item in items):
        return None
    parts = (part for item in items for part in str(item).split("\n\n"))
    return tuple(" ".join(part.split()) for part in parts if part.strip())


def _printable(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def out_of_scope(heads: Sequence[Head]) -> Iterator[str]:
    """Yield what a model with these heads must not be used for, as sentences."""
    yield "Deciding anything about a person: access, price, hiring, policing, medical care."
    for head in heads:
        if isinstance(head, Classification) and head.caution:
            what = head.title if head.is_sensitive else f"{head.title} identity"
            yield f"Telling anybody's {what}, or sorting people by it."
    for number in (head for head in heads if isinstance(head, Regression)):
        what = f"{'an' if number.title[0] in 'aeiou' else 'a'} {number.title}"
        many = f" of many {number.unit}" if number.unit else ""
        yield f"Proving {what}. An estimate has an interval{many}, wider for some groups than for others."
    yield (
        "Photos unlike those it was judged on: other cameras, poses, ages or groups, until it has been judged on them."
    )
