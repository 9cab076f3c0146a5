"""Owns how a page is put together: templates, one style sheet, one script, and the policy that keeps it offline.

A page is a single file. Its Content-Security-Policy forbids every request; the script runs because its hash is named
there, so markup that slips into a label can't run. Everything is escaped by Jinja unless this part built it itself.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import agegender
from agegender.pages import words
from agegender.writing import write_text

_HERE = Path(__file__).parent


def write_page(path: Path, template: str, **context: Any) -> Path:
    """Render `template` with `context` and write it to `path`, whole or not at all; return the path."""
    write_text(path, render_page(template, **context))
    return path


def render_page(template: str, **context: Any) -> str:
    """Return one page as HTML text, style sheet and script inside it."""
    script = _asset("page.js")
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_asset("page.css")),
            script=Markup(script),
            policy=content_security_policy(script),
            made_on=datetime.now(timezone.utc).strftime("%-d %B %Y"),
            version=agegender.__version__,
            gender_words=words.GENDER_WORDS,
            **context,
        )
    )


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
