"""The manners of every command: one-line errors, exit codes, metrics in words, and one JSON document with `--json`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agegender.errors import AgeGenderError
from agegender.settings import SPLITS

if TYPE_CHECKING:
    from agegender.heads import Head

BAD_INPUT = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Result:
    """What a command has to say: `document` for machines, `text` for people."""

    document: Any
    text: str


def command_parser(name: str, description: str, *, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser that every command starts from, with `--json` already there."""
    parser = argparse.ArgumentParser(
        prog=f"agegender {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, and nothing else there")
    return parser


def execute(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], Result],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, run and print; return the exit code.

    Returns
    -------
    int
        0 when it went well, 2 for bad input (one line on stderr), 130 after Ctrl-C.
    """
    options = parser.parse_args(arguments)
    try:
        # Libraries print as they please; stdout belongs to the result alone.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            # What libraries tell their own developers is no news for the person at the screen.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            result = run(options)
        _print_result(result, as_json=options.json)
    except AgeGenderError as error:
        return _fail(parser.prog, str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _fail(parser.prog, "interrupted; nothing half-written is left behind", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        return _fail(parser.prog, f"{error.strerror}: {error.filename or 'while writing'}", BAD_INPUT)
    return 0


def _print_result(result: Result, *, as_json: bool) -> None:
    from agegender.writing import to_json

    print(to_json(result.document) if as_json else result.text, flush=True)


def _fail(program: str, message: str, code: int) -> int:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return code


def metrics_lines(metrics: Mapping[str, Any], heads: Sequence[Head]) -> list[str]:
    """Return one line per split: its photos, and the main figures of each head."""
    known = [side for side in (*SPLITS, "all") if side in metrics]
    return [
        f"{side:>5}: {', '.join(head.summary(metrics[side].get(head.name, {})) for head in heads)}"
        f" (n = {metrics[side]['n']})"
        for side in known
    ]
