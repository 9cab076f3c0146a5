"""The documents keep their word: what Start and the guides tell people to type is run, on drawn faces, as they say it.

Before each block of code stands how it is tested, in a comment that no reader sees: `test: as it stands`, `test:` with
what is made smaller, or `not run:` with the reason. `<!-- output -->` before a block says that it is what the block
before it prints.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from agegender.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
START, INSTALL = DOCS / "start.md", DOCS / "install.md"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
# What is no longer true there was true once, and stays.
HISTORY = ("decisions", "experiments.md")
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] not in HISTORY),
]


@dataclass(frozen=True)
class Block:
    """A block of code, how it is tested, and what it prints, where the page says that."""

    language: str
    code: str
    how: str
    output: str | None

    @property
    def smaller(self) -> str:
        """The code as the test runs it: `A -> B` puts B for A, `and X` goes behind every command."""
        code = self.code.replace("\\\n", " ")
        for change in self.how.removeprefix("test:").split(","):
            if "->" in change:
                old, new = (part.strip() for part in change.split("->"))
                assert old in code, f"{old} does not stand in the block"
                code = code.replace(old, new)
            elif change.strip().startswith("and "):
                code = "\n".join(f"{line} {change.strip()[4:]}" for line in code.splitlines())
            else:
                assert change.strip() == "as it stands", change
        return code


def blocks_of(path: Path) -> list[Block]:
    comment, fence = r"(?:<!-- ([^\n]*) -->\n)?", r"```(\w+)\n(.*?)```"
    found = re.findall(rf"{comment}{fence}", path.read_text(encoding="utf-8"), re.DOTALL)
    return [
        Block(language, code, said, behind[2] if behind[0] == "output" else None)
        for (said, language, code), behind in zip(found, [*found[1:], ("", "", "")], strict=False)
        if language in ("sh", "python")
    ]


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every block of a page in a folder, in order, as a reader would."""
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for block in blocks_of(path):
        if block.how.startswith("not run:"):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if block.language == "python":
                exec(compile(block.smaller, str(path), "exec"), names)
            else:
                for line in block.smaller.splitlines():
                    program, *words = shlex.split(line)
                    assert program == "agegender", line
                    assert main(words) == 0, line
        if block.output is not None:
            assert printed.getvalue().split() == block.output.split(), f"{path.name} says otherwise"


@pytest.mark.parametrize(
    "path", [START, INSTALL, *GUIDES, *sorted((DOCS / "how").glob("*.md"))], ids=lambda path: path.stem
)
def test_every_block_says_how_it_is_tested(path: Path) -> None:
    for block in blocks_of(path):
        assert re.match(r"test: \S|not run: .{10,}", block.how), block.code


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Path:
    """A folder in which somebody has gone through Start."""
    folder = tmp_path_factory.mktemp("started")
    with pytest.MonkeyPatch.context() as patch:
        run(START, folder, patch)
    shutil.copy(DOCS / "guides" / "theirs.csv", folder)
    return folder


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
def test_start_leads_to_a_model_and_its_pages(started: Path) -> None:
    for name in ("dataset.html", "answers.csv", "models/first/model.json", "runs/first"):
        assert (started / name).exists(), name
    pages = {path.name for path in (started / "reports" / "first").glob("*.html")}
    assert pages >= {"index.html", "bias.html", "lime.html", "card.html"}


@pytest.mark.slow
@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guide_can_be_followed(path: Path, started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path, started, monkeypatch)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_names_has_these_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ") or line.startswith("agegender ")]
    for line in lines:
        asked = re.match(r"(?:.*[;&|$] |\w+=\S+ )?agegender (\w+)(.*)", line)
        if asked and asked[1] in COMMANDS:
            words = shlex.split(re.split(r" [|>&] ?", asked[2])[0], comments=True)
            parser = importlib.import_module(f"agegender.{asked[1]}").build_parser()
            with contextlib.suppress(SystemExit) if "…" in line else contextlib.nullcontext():
                parser.parse_args(words)


def test_figures_of_the_shipped_model_are_quoted_as_they_are() -> None:
    table = r"^\| (.+?) \| [\d,]+ \| (.+?) \| .+? \| (.+?) \| (.+?) \|$"
    groups, *columns = zip(*re.findall(table, read("shipped-model.md"), re.MULTILINE), strict=True)
    error, gender, coverage = (dict(zip(groups, column, strict=True)) for column in columns)
    quoted = {
        "../README.md": [f"{error['all']} years, {gender['all']}"],
        "ethics.md": [f"{error['all']} years", f"{error['age: 70 and more']} at 70"],
        "guides/train-on-my-photos.md": [f"{error['all']} years and {gender['all']}"],
        "how/intervals.md": [f"{coverage['all']} of all, and {coverage['age: 10 to 19']}"],
    }
    assert [(name, text) for name, texts in quoted.items() for text in texts if text not in read(name)] == []


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")
