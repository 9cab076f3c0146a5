"""Runs a command again and again, killed at its first, second, third, … change of the disk, until it gets to its end.

Moments are counted by Python's audit events, so that no clock and no hook in the program is needed. One process loads
the program, and every run is a fork of it: `python killing.py ROOT CHANGES COMMAND …`, CHANGES being how many moments
are tried, evenly spread. Prints one JSON document: for each kill the moment and what `survey` found, and how often the
command would have changed the disk.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def is_change(event: str, arguments: tuple, root: str) -> bool:
    """Return whether an audit event is about to change something below `root`."""
    if event not in _CHANGES and event != "open":
        return False
    try:
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 (asked for every file that is opened)
    except (TypeError, IndexError):
        return False  # a descriptor: its file was opened before
    writes = event != "open" or bool((arguments[2] or 0) & _WRITING) or set(arguments[1] or "") & set("wax+")
    return bool(writes) and path.startswith(root)


def run_once(command: list[str], root: Path, kill_at: int) -> tuple[int, int]:
    """Run in a fork; return its exit code (-9 when killed) and how many changes it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        if not os.environ.get("KILLING_SPEAKS"):
            os.dup2(silence, 2)
        count = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal count
            if is_change(event, arguments, str(root)):
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        code = 1
        try:
            code = importlib.import_module(f"agegender.{command[0]}").main(command[1:])
        finally:
            os.write(writing, str(count).encode())
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    count = int(os.read(reading, 20) or 0)
    os.close(reading)
    return os.waitstatus_to_exitcode(status), count


def survey(root: Path) -> dict[str, str]:
    """Return the digest of every file below `root`."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def restore(root: Path, before: dict[str, bytes]) -> None:
    """Put the old files back; what a killed run has left under hidden names stays, to see whether it piles up."""
    for path in list(root.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts):
            path.unlink()
    for name, data in before.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def main() -> None:
    """Kill, and print what was found."""
    root, tries, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.chdir(root)
    for name in sys.argv[3:4]:
        importlib.import_module(f"agegender.{name}")
    if command[0] in ("predict", "train", "explain", "report"):
        importlib.import_module("agegender.api.model")
    before = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code, count = run_once(command, root, 0)
    assert code == 0, f"{command} ended with {code}"
    new = survey(root)
    moments = sorted({1 + round(part * (count - 1) / max(1, tries - 1)) for part in range(tries)})
    kills = []
    for moment in moments:
        restore(root, before)
        code, _ = run_once(command, root, moment)
        kills.append({"moment": moment, "code": code, "files": survey(root)})
    restore(root, before)
    code, _ = run_once(command, root, 0)
    print(json.dumps({"changes": count, "new": new, "kills": kills, "code": code, "after": survey(root)}))


if __name__ == "__main__":
    main()
