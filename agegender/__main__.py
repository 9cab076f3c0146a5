"""Lists the commands and loads only the one that is called, so that `--help` is instant."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from agegender.errors import did_you_mean
from agegender.settings import VERSION

COMMANDS = {
    "prepare": "turn folders of labelled faces into a clean faces table with leak-safe splits",
    "train": "train a model with a head for each thing to predict, and write its reports",
    "evaluate": "predict a test set with a model, and measure it",
    "report": "write the HTML reports of a model, or of anybody's predictions table",
    "explain": "show which parts of a face a prediction rests on, and how far that can be trusted",
    "compare": "compare models photo by photo and group by group",
    "suspects": "find labels that are probably wrong, on a page to mark them",
    "ensemble": "have several models answer as one",
    "predict": "predict what a model's heads say of photos",
    "serve": "serve a model over HTTP, with a page to drop photos on",
    "export": "write a model as one ONNX file, which predicts without torch",
}


def usage() -> str:
    """Return the help of the program as a whole."""
    lines = [f"  {name:10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: agegender COMMAND [options]",
            "",
            "Age and gender from face photos, and honest reports about who the model is wrong about.",
            "",
            "commands:",
            *lines,
            "",
            "`agegender COMMAND --help` explains one; `python -m agegender.COMMAND` is the same.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] == "help":
        given = [*given[1:2], "--help"]  # `agegender help train`
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"agegender {VERSION}")
        return 0
    if given[0] not in COMMANDS:
        print(f"agegender: {_no_command(given[0])}\nhelp: agegender --help", file=sys.stderr)
        return 2
    command = importlib.import_module(f"agegender.{given[0]}")
    return int(command.main(given[1:]))


def _no_command(word: str) -> str:
    if word.startswith("-"):
        return f"options such as {word} come after a command: {', '.join(COMMANDS)}."
    if "." in word or "/" in word:
        return f"there is no command {word!r}. `agegender predict {word}` predicts a photo."
    return f"there is no command {word!r}.{did_you_mean(word, COMMANDS)} There are {', '.join(COMMANDS)}."


if __name__ == "__main__":
    raise SystemExit(main())
