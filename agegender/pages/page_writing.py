"""How a page is put together: what it is made of, templates, style sheet, script, and the policy that keeps it offline.

A page is a single file. Its Content-Security-Policy forbids every request; the script runs because its hash is named
there, so markup that slips into a label can't run. Everything is escaped by Jinja unless this room built it itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agegender.audit import words
from agegender.audit.assessment import Assessment, Comparisons
from agegender.audit.groups import GroupResult
from agegender.heads import KNOWN_HEADS, Classification, Head, Regression
from agegender.pages.card_text import HumanText
from agegender.photos.finding import PhotosFolder
from agegender.settings import VERSION
from agegender.writing import write_text

if TYPE_CHECKING:
    from agegender.explanation.face_explanation import FaceExplanation

_HERE = Path(__file__).parent
# Controls of writing direction: one left open in a name would turn round the figures that follow it.
_TURNING = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")


@dataclass(frozen=True)
class ReportContent:
    """What a report is made of; only the assessment is needed, and what is missing is left out of the pages.

    Attributes
    ----------
    assessment : Assessment
        Of a model's predictions, ours or anybody's.
    photos_root : Path or None
        Where the paths of the predictions start; None when only predictions are known.
    card, history : mapping, DataFrame or None
        The model's card and its epochs.
    explanations : sequence of FaceExplanation or None
        For the page of explanations, which isn't written without.
    model_folder : Path or None
        Where the model lies, and `card.toml` beside it; None when only predictions are known.
    human : HumanText
        What that file says.
    runs : sequence of mapping
        The cards of all models in the same folder, its own too, the newest first.
    nearby : sequence of (address, name, words)
        Pages about the same model in other folders.
    hide_faces : bool
        Show nobody: faces are blurred, files go without a name, and fewer than `words.FEW` photos without figures.
    """

    assessment: Assessment
    photos_root: Path | None = None
    card: Mapping[str, Any] | None = None
    history: pd.DataFrame | None = None
    explanations: Sequence[FaceExplanation] | None = None
    hide_faces: bool = False
    model_folder: Path | None = None
    human: HumanText = HumanText()  # noqa: RUF009 (frozen)
    runs: Sequence[Mapping[str, Any]] = ()
    nearby: Sequence[tuple[str, str, str]] = ()

    @property
    def run_id(self) -> str:
        """Which training run all this is of; empty where nobody said."""
        return str((self.card or {}).get("run_id") or self.assessment.rows.attrs.get("run_id") or "")[:32]

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that are judged."""
        return self.assessment.heads

    @property
    def regressions(self) -> list[Regression]:
        """Those of them that predict a number."""
        return [head for head in self.heads if isinstance(head, Regression)]

    @property
    def classifications(self) -> list[Classification]:
        """Those of them that predict a class."""
        return [head for head in self.heads if isinstance(head, Classification)]

    @cached_property
    def comparisons(self) -> Comparisons:
        """The group comparisons, those of fewer than `words.FEW` photos left out where nobody is to be shown."""
        found = self.assessment.comparisons
        if not self.hide_faces:
            return found
        kept = {
            columns: {metric: _without_few(result) for metric, result in results.items()}
            for columns, results in found.by_columns.items()
        }
        return replace(found, by_columns=kept)

    @cached_property
    def cautions(self) -> list[str]:
        """What is to be said of the labels that these rows have, once each."""
        rows = self.assessment.rows
        heads = [head for head in dict.fromkeys((*self.heads, *KNOWN_HEADS)) if isinstance(head, Classification)]
        known = [head for head in heads if head.column in rows and rows[head.column].notna().any()]
        return list(dict.fromkeys(head.caution for head in known if head.caution))

    def digits(self, head: Regression, base: int = 1) -> int:
        """Return how many decimals figures in the unit of a head need: more where its labels lie close together."""
        spread = float(self.assessment.rows[head.column].std()) if not head.has_bands else np.inf
        return base if not 0 < spread < 3 else min(base + int(np.ceil(np.log10(3 / spread))), 6)

    def photo_path(self, path: Any) -> Path | None:
        """Return where a row's photo should lie, or None when nobody said or the path leaves the folder of photos.

        A table from elsewhere must not make us put any picture of this machine into a page.
        """
        return None if self._photos is None else self._photos.place(path)

    @cached_property
    def _photos(self) -> PhotosFolder | None:
        return None if self.photos_root is None else PhotosFolder(self.photos_root)


def _without_few(result: GroupResult) -> GroupResult:
    shown = tuple(group for group in result.groups if group.n >= words.FEW)
    few = len(result.groups) - len(shown)
    if not few:
        return result
    note = f"{few} group{'s' * (few != 1)} of fewer than {words.FEW} photos {'are' if few != 1 else 'is'} left out."
    return replace(result, groups=shown, notes=(*result.notes, note))


def write_page(path: Path, template: str, **context: Any) -> Path:
    """Render `template` with `context` and write it to `path`, whole or not at all; return the path."""
    write_text(path, render_page(template, **context))
    return path


def render_page(template: str, *, scripts: Sequence[str] = (), **context: Any) -> str:
    """Return one page as HTML text, style sheet and script inside it.

    `scripts` are files that run beside the one of every page; `cautions` are
    what the foot of the page says about its labels: by default what every known head wants said.
    """
    script = "\n".join(map(_asset, ("page.js", *scripts, "figures.js")))
    if context.get("cautions") is None:
        context["cautions"] = [
            head.caution for head in KNOWN_HEADS if isinstance(head, Classification) and head.caution
        ]
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_asset("page.css")),
            script=Markup(script),
            policy=content_security_policy(script),
            made_on=datetime.now(UTC).strftime("%-d %B %Y"),
            version=VERSION,
            **context,
        )
        .translate(_TURNING)
    )


def render_navigation(name: str, pages: Sequence[Mapping[str, Any]]) -> str:
    """Return one of the lists of pages of a report as the templates write it: "pages" at the top, "next-pages"."""
    macros: Any = _environment().get_template("navigation.html").module
    return str(getattr(macros, name.replace("-", "_"))(pages))


def content_security_policy(script: str) -> str:
    """Return the policy of a page: nothing from outside, no script but the one whose hash it names.

    Styles stay inline because charts are drawn with style attributes; they can't load anything either.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=words.number, count=words.count, interval=words.interval)
    return environment
