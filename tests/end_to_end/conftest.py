"""One small model, trained by the real command on drawn faces, for all end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from agegender import train
from agegender.data.sources.drawn_faces import draw_faces

QUICK = ("--body", "mobilenetv3_small_050", "--image-size", "48", "--epochs", "1", "--batch-size", "16")


@dataclass(frozen=True)
class Run:
    """Where a training run put its results, and what it said."""

    root: Path
    faces: Path
    document: dict

    @property
    def model(self) -> Path:
        return self.root / "models" / "first"

    def places(self) -> list[str]:
        return [word for kind in ("models", "reports", "runs") for word in (f"--{kind}-dir", str(self.root / kind))]


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, face_count=120, image_size=64)
    return folder


@pytest.fixture(scope="session")
def trained(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    run = Run(root, drawn_folder, {})
    words = ["--source", "drawn_faces", "--data", str(drawn_folder), "--weights", "none", "--name", "first", "--json"]
    document = run_for_json(train, [*words, *QUICK, *run.places()])
    return Run(root, drawn_folder, document)


def run_for_json(command: object, arguments: Sequence[str]) -> dict:
    """Run a command in this process and return the one JSON document that it prints."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = command.main(list(arguments))  # type: ignore[attr-defined]
    assert code == 0, out.getvalue()
    return json.loads(out.getvalue())
