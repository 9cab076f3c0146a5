"""Imports go only downward: the floors of the house, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import agegender

ROOT = Path(agegender.__file__).parent
FLOORS = {
    "errors": 0, "faces": 0, "predictions": 0, "settings": 0, "writing": 0, "progress": 0, "model_folder": 0,
    "sources": 1, "images": 1, "metrics": 1,
    "dataset": 2, "network": 2,
    "learning": 3, "inference": 3, "explanation": 3,
    "reporting": 4,
    "stages": 5,
    "console": 6, "model_options": 6, "training_options": 6,
    "prepare": 7, "train": 7, "evaluate": 7, "report": 7, "explain": 7, "compare": 7, "predict": 7,
    "__main__": 8,
}  # fmt: skip
MAY_USE_TORCH = ("dataset/batches", "network/", "learning/", "inference/", "explanation/")
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_below_and_never_from_a_sibling(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for name in imports(path):
        if not name.startswith("agegender."):
            continue
        other = name.split(".")[1]
        same_floor_is_fine = FLOORS[part] in (0, 6)
        assert (
            other == part or FLOORS[other] < FLOORS[part] or (FLOORS[other] == FLOORS[part] and same_floor_is_fine)
        ), f"{path.relative_to(ROOT)} imports {name}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_and_fastai_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    heavy = {name.split(".")[0] for name in imports(path)} & {"torch", "fastai", "torchvision", "timm"}
    assert not heavy or relative.startswith(MAY_USE_TORCH), f"{relative} imports {', '.join(heavy)}"


def test_metrics_know_no_pictures() -> None:
    for path in (ROOT / "metrics").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"PIL", "cv2", "skimage"}, path


def test_no_cycle_between_modules() -> None:
    graph = {}
    for path in FILES:
        name = ".".join(("agegender", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name] = {
            node.module
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agegender")
        }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
