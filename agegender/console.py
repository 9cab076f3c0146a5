"""The manners of every command: one-line errors, exit codes, metrics in words, and one JSON document with `--json`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from agegender.decoder_noise import quiet_decoders
from agegender.errors import AgeGenderError, did_you_mean
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


# How other programs call what is an option here.
_CALLED_ELSEWHERE = {
    "--lr": "--learning-rate",
    "--wd": "--weight-decay",
    "--bs": "--batch-size",
    "--num-epochs": "--epochs",
    "--img-size": "--image-size",
    "--arch": "--body",
    "--backbone": "--body",
    "--architecture": "--body",
    "--pretrained": "--weights imagenet",
    "--gpu": "--device cuda",
    "--cuda": "--device cuda",
    "--cpu": "--device cpu",
    "--fp16": "--precision fp16",
    "--dataset": "--source",
    "--format": "--source",
    "--csv": "--predictions",
    "--output-dir": "--out",
    "--save": "--out",
}


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with what was meant where that can be guessed, and one line where help is."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; an option that is not known is refused before anything else is missed."""
        given = sys.argv[1:] if args is None else list(args)
        known = self._option_string_actions
        for word in given[: given.index("--") if "--" in given else None]:
            name = word.partition("=")[0]
            if re.match(r"--?[A-Za-z]", word) and " " not in name and name not in known:
                self.error(f"there is no option {name}.{self._meant(name)}")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong and in another where help is; exit code 2."""
        print(f"{self.prog}: {self._in_words(message)}", f"help: {self.prog} --help", sep="\n", file=sys.stderr)
        raise SystemExit(BAD_INPUT)

    def _meant(self, name: str) -> str:
        elsewhere = _CALLED_ELSEWHERE.get(name.replace("_", "-"), "")
        if elsewhere.partition(" ")[0] in self._option_string_actions:
            return f" It is {elsewhere} here."
        for action in self._get_positional_actions():
            if did_you_mean(name.lstrip("-"), [action.dest, action.dest.removesuffix("s")]):
                return f" {action.dest.capitalize()} are named without an option: {self.prog} {action.metavar}."
        return did_you_mean(f"--{name.lstrip('-').replace('_', '-')}", self._option_string_actions)

    def _in_words(self, message: str) -> str:
        """Return what argparse says in our words."""
        for pattern, words in _WORDS.items():
            if found := re.fullmatch(pattern, message):
                return words(self, *found.groups())
        return message if message.endswith((".", "?")) else f"{message}."

    def _no_choice(self, option: str, given: str, choices: str) -> str:
        names = [name.strip(" '") for name in choices.split(",")]
        return f"{option} {given}: there are {', '.join(names)}.{did_you_mean(given, names)}"

    def _no_number(self, option: str, kind: str, given: str) -> str:
        return f"{option} {given}: expected a {'whole number' if kind == 'int' else 'number'}."

    def _no_value(self, option: str) -> str:
        action = self._option_string_actions[option.partition("/")[0]]
        wanted = action.metavar or ", ".join(map(str, action.choices or ()))
        return f"{option} needs a value after it{f': {wanted}' if wanted else ''}."

    def _missing(self, names: str) -> str:
        helps = {"/".join(action.option_strings) or str(action.metavar): action.help for action in self._actions}
        return f"{', '.join(f'{name} ({helps.get(name)})' for name in names.split(', '))} is missing."

    def _stray(self, words: str) -> str:
        option = "--data" if "--data" in self._option_string_actions else "--out"
        return (
            f"{words} belongs to no option. Write the option before it, such as {option} {words.split(maxsplit=1)[0]}."
        )

    def _both(self, one: str, other: str) -> str:
        return f"{one} and {other} exclude each other: give one of them."


# What argparse says -> what we say; the groups of the pattern are the arguments.
_WORDS: dict[str, Callable[..., str]] = {
    r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)": CommandParser._no_choice,
    r"argument (\S+): invalid (int|float) value: '?(.*?)'?": CommandParser._no_number,
    r"argument (\S+): expected (?:one|at least one) argument": CommandParser._no_value,
    r"the following arguments are required: (.*)": CommandParser._missing,
    r"unrecognized arguments: (.*)": CommandParser._stray,
    r"argument (\S+): not allowed with argument (\S+)": CommandParser._both,
}


def command_parser(name: str, description: str, *, epilog: str | None = None) -> CommandParser:
    """Return the parser that every command starts from, with `--json` already there."""
    parser = CommandParser(
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
    """Parse, run and print; return the exit code."""
    options = parser.parse_args(arguments)
    try:
        # Libraries print as they please; stdout belongs to the result alone.
        with quiet_decoders(), contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
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
    except (ImportError, AttributeError) as error:
        # What a package that is absent or too old makes of a call; anything else is a mistake of ours.
        from agegender.installation import lacking_words

        if (message := lacking_words(error)) is None:
            raise
        return _fail(parser.prog, message, BAD_INPUT)
    return 0


def _print_result(result: Result, *, as_json: bool) -> None:
    from agegender.writing import to_json

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know every letter of a file's name
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
