"""The house, read from the source: imports go down, nothing goes round, and every file has a name of its own."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import agegender

ROOT = Path(agegender.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# From the top; a room may import those below it and none above.
ROOMS = ("serving", "api", "pages", "model", "explanation", "audit", "data", "drawing", "photos", "heads")
FOR_ALL = (
    "settings",
    "training_settings",
    "errors",
    "launching",
    "writing",
    "swapping",
    "progress",
    "memory",
    "reading_tables",
    "table_cells",
    "loss_choices",
    "card_settings",
)
FORBIDDEN = {"pages": {"model"}, "explanation": {"model"}, "audit": {"data", "model"}}
MAY_USE_TORCH = ("model/", "explanation/", "data/loading.py", "data/datablock.py", "data/normalisation.py")
HEAVY = {"torch", "fastai", "torchvision", "timm", "fasttransform"}


def module_of(path: Path) -> str:
    return ".".join(("agegender", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Every module that a file imports at any depth: in functions and under TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inside & set(MODULES)) | ({node.module} if inside - set(MODULES) else set())
    return names


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below(path: Path) -> None:
    room = room_of(module_of(path))
    if room not in (*ROOMS, *FOR_ALL):
        return  # commands stand on top
    for name in imports(path):
        other = room_of(name) if name.startswith("agegender.") else ""
        if not other or other == room or other in FOR_ALL:
            continue
        assert room in ROOMS, f"{path.relative_to(ROOT)} is for all rooms and imports {name}"
        assert other in ROOMS, f"{path.relative_to(ROOT)} imports {name}, which is a command's"
        assert ROOMS.index(room) < ROOMS.index(other), f"{path.relative_to(ROOT)} imports {name}, which lies above it"
        assert other not in FORBIDDEN.get(room, set()), f"{path.relative_to(ROOT)} may not know {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_and_fastai_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
    assert not heavy or relative.startswith(MAY_USE_TORCH), f"{relative} imports {', '.join(sorted(heavy))}"


def test_the_audit_knows_no_pictures() -> None:
    for path in (ROOT / "audit").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"PIL", "cv2", "skimage"}, path


def test_no_two_files_share_a_name() -> None:
    stems = Counter(path.stem for path in FILES if len(path.relative_to(ROOT).parts) > 1 and path.stem != "__init__")
    assert not [stem for stem, number in stems.items() if number > 1]


def test_nothing_imports_itself_in_a_circle_at_any_depth() -> None:
    graph = {name: {other for other in imports(path) if other in MODULES} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_heads_and_sources_ask_for_a_head_by_name() -> None:
    """The kind of a head decides what is done with it, never its name."""
    asked = []
    named = {"age", "gender", "age_years", "predicted_age_years", "predicted_gender", "female_probability"}
    for path in FILES:
        relative = path.relative_to(ROOT).as_posix()
        if relative.startswith(("heads/", "data/sources/", "drawing/")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            tests = [node.test] if isinstance(node, (ast.If, ast.IfExp, ast.While)) else []
            tests += list(node.ifs) if isinstance(node, ast.comprehension) else []
            for test in tests:
                words = {one.value for one in ast.walk(test) if isinstance(one, ast.Constant) and one.value in named}
                asked += [f"{relative}:{test.lineno} asks for {word}" for word in sorted(words & named, key=str)]
    assert not asked, "\n".join(asked)
