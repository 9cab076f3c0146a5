"""Runs the notebooks on drawn faces and stores in them what they show: `python docs/run_notebooks.py [NAME …]`.

The site and GitHub show what is stored. tests/test_notebooks.py runs them by the same functions.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parent / "notebooks"
_COLOURS = 128  # of a stored picture, which is then a third as large


@contextmanager
def one_kernel() -> Iterator[tuple[Any, Any]]:
    """Start one kernel for all notebooks, which has imported what takes long."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive("import fastai.vision.all, agegender.api.model", silent=True)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(notebook: Any, kernel: tuple[Any, Any], folder: Path) -> None:
    """Run a notebook in a folder, from its first cell to its last, knowing nothing of those before it."""
    manager, client = kernel
    client.execute_interactive("%reset -f", silent=True)
    client.execute_interactive(f"import os; os.chdir({str(folder)!r}); del os", silent=True)
    runner = NotebookClient(notebook, timeout=300, km=manager, record_timing=False)
    runner.kc = client
    for number, cell in enumerate(notebook.cells):
        runner.execute_cell(cell, number)


def tidy(notebook: Any) -> None:
    """Leave what a reader is to see: no progress, no words beside a picture, small pictures."""
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
        cell.outputs = [output for output in map(_tidied, cell.outputs) if output]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number


def _tidied(output: Any) -> Any:
    data = output.get("data", {})
    html = data.get("text/html", "")
    if output.get("name") == "stderr" or (html and not re.sub(r"(?s)<style>.*?</style>|</?div>|\s", "", html)):
        return None
    if "image/png" in data:
        data["image/png"] = _smaller(data["image/png"])
        output["metadata"] = {}
    if len(data) > 1:
        data.pop("text/plain", None)
    if html:
        data["text/html"] = re.sub(r"(?s)\s*<style.*?</style>", "", html)
    return None if re.match(r"<Axes|<Figure", data.get("text/plain", "")) else output


def _smaller(picture: str) -> str:
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and store the notebooks that are named, by default all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="first_steps, …")
    names = parser.parse_args(arguments).names
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    with one_kernel() as kernel, tempfile.TemporaryDirectory() as folder:
        for path in paths:
            notebook = nbformat.read(path, 4)
            run(notebook, kernel, Path(folder))
            tidy(notebook)
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
