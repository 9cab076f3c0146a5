"""One model by torch, by onnxruntime in fp32 and in eight bits, side by side in one run, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/int8.py --model models/mine [--quick] [--json]

The folder needs the files that `agegender export` and `agegender export --int8` write. Rounds of all three alternate
over random fitted photos, alone and 64 at once; reading photos is not measured. `milliseconds` are medians of processor
time a photo, on which other programs have little influence; `ratio` is the median over the rounds of fp32's by
onnxruntime over int8's, 64 at once. What int8 loses was measured when it was exported and is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from agegender import Model
from agegender.errors import AgeGenderError
from agegender.model.model_folder import INT8_FILE, ONNX_FILE
from agegender.model.onnx_int8 import Int8Loss

AT_ONCE = 64


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Return milliseconds of processor time a photo of each way, and what int8 loses."""
    import torch

    torch.set_num_threads(1)
    ways = {
        "torch": Model.load(folder, device="cpu", precision="fp32"),
        "onnx": Model.load(folder / ONNX_FILE),
        "int8": Model.load(folder / INT8_FILE),
    }
    size = ways["torch"].image.size
    photos = np.random.default_rng(0).integers(0, 256, (AT_ONCE, size, size, 3), dtype=np.uint8)
    spent: dict[str, list[float]] = {f"{name}_{count}": [] for name in ways for count in (1, AT_ONCE)}
    for round_ in range(4 if quick else 10):
        for name, model in ways.items():
            for count in (1, AT_ONCE):
                started = time.process_time()
                model.runtime.answers(photos[:count])
                if round_:  # the first warms up
                    spent[f"{name}_{count}"].append(1000 * (time.process_time() - started) / count)
    pairs = zip(spent[f"onnx_{AT_ONCE}"], spent[f"int8_{AT_ONCE}"], strict=True)
    return {
        "ratio": statistics.median(whole / eight for whole, eight in pairs),
        "milliseconds": {name: statistics.median(values) for name, values in spent.items()},
        "bytes": {name: (folder / name).stat().st_size for name in (ONNX_FILE, INT8_FILE)},
        "int8": ways["int8"].card["int8"],
    }


def describe(report: dict[str, Any]) -> str:
    """Return the document as text."""
    lines = [f"{name}: {value:.2f} ms a photo" for name, value in report["milliseconds"].items()]
    lines += [Int8Loss(**loss).sentence() for loss in report["int8"]["losses"]]
    return "\n".join([f"int8 is {report['ratio']:.2f} times as quick as fp32", *lines])


def main() -> int:
    """Parse, measure, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder with both exported files")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    try:
        report = measure(options.model, quick=options.quick)
    except AgeGenderError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report, indent=2) if options.json else describe(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
