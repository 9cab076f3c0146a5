"""Make `reports/example/` anew, all six pages from drawn faces: `python docs/make_example.py`, minutes on one core.

    python docs/make_example.py --quick --out FOLDER     the same steps with few faces and a tiny network, for the test

A model with the default settings makes the overview, the bias page, the explanations and the card; a smaller one beside
it makes the comparison; `prepare` makes the dataset page. The overview is written last, so that it links to them all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agegender import compare, prepare, report, train
from agegender.data.sources.drawn_faces import draw_faces

OUT = Path(__file__).resolve().parent.parent / "reports" / "example"
PAGES = ("index", "bias", "lime", "card", "compare", "dataset")
FILES = (*(f"{page}.html" for page in PAGES), "MODEL_CARD.md")
FACES, QUICK_FACES, SEED = 1200, 90, 7
QUICK = ("--size", "tiny", "--image-size", "32", "--epochs", "1", "--weights", "none", "--batch-size", "16")
SMALLER = ("--size", "tiny")


def make(folder: Path, *, quick: bool) -> None:
    """Run the commands in an empty folder, as anybody would, until `reports/example` in it holds every page."""
    photos, table, pages = folder / "photos", folder / "faces.parquet", folder / "reports" / "example"
    draw_faces(photos, face_count=QUICK_FACES if quick else FACES, seed=SEED)
    with contextlib.chdir(folder):
        # Drawn faces are alike by their drawing: near twins would be found among strangers.
        source = ("--source", "drawn_faces", "--data", photos, "--near-duplicates", "none", "--seed", SEED)
        _run(prepare.main, *source, "--quality", "--out", table, "--report", pages / "dataset.html")
        _run(train.main, "--faces", table, "--name", "example", *(QUICK if quick else ()))
        _run(
            train.main,
            "--faces",
            table,
            "--name",
            "smaller",
            "--no-report",
            *(QUICK if quick else SMALLER),
            "--seed",
            8,
        )
        _run(compare.main, "models/example", "models/smaller", "--out", pages)
        _run(report.main, "--model", "models/example")


def _run(command: object, *words: object) -> None:
    assert callable(command)
    code = command([str(word) for word in words])
    if code:
        raise SystemExit(f"{command.__module__} ended with {code}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the example in a temporary folder and put its pages in their place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few faces and a tiny network: the steps, not the example")
    parser.add_argument("--out", type=Path, default=OUT, help="where the pages go (default: reports/example)")
    options = parser.parse_args(arguments)
    if options.quick and options.out.resolve() == OUT:
        parser.error("--quick makes no example; name another --out")
    place = options.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), quick=options.quick)
        place.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(Path(folder) / "reports" / "example" / name, place / name)
    print(f"wrote {', '.join(FILES)} to {os.path.relpath(place)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
