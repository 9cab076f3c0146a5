"""The command line that benchmarks over photos share: `--data`, `--quick`, `--json`, drawn faces without a folder."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agegender.errors import AgeGenderError

Report = dict[str, Any]


def run(
    description: str | None,
    measure: Callable[..., Report],
    describe: Callable[[Report], str],
    *,
    drawn_face_count: int,
    plot: Callable[[Report], None] | None = None,
    after_drawing: Callable[[Path], None] | None = None,
) -> int:
    """Parse, measure, draw the plot unless --quick, and print; return the exit code.

    Parameters
    ----------
    measure : callable
        `measure(folder, quick=…)` returns the JSON document, its `ratio` among it.
    describe : callable
        The document in one line of text.
    drawn_face_count : int
        How many faces are drawn where no folder is given.
    after_drawing : callable, optional
        Given the folder of drawn faces, puts more photos into it.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of photos; without it, faces are drawn")
    parser.add_argument("--quick", action="store_true", help="within a minute, no plot")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    try:
        with tempfile.TemporaryDirectory() as folder:
            photos = options.data or _drawn(Path(folder), drawn_face_count)
            if after_drawing and not options.data:
                after_drawing(photos)
            report = measure(photos, quick=options.quick)
    except AgeGenderError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if plot is not None and not options.quick:
        plot(report)
    print(json.dumps(report, indent=2) if options.json else describe(report))
    return 0


def _drawn(folder: Path, face_count: int) -> Path:
    from agegender.data.sources.drawn_faces import draw_faces

    draw_faces(folder / "drawn", face_count=face_count)
    return folder / "drawn"
