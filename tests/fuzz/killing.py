"""Runs a command again and again, killed at one moment after the other, and at last lets it get to its end.

Moments are counted by Python's audit events, so that no clock and no hook in the program is needed: half are changes of
the disk, evenly spread, and half are drawn from all events. One process loads the program, with all that a first run
has imported, and every run is a fork of it: `python killing.py ROOT KILLS COMMAND …`. Prints one JSON document: for
each kill its moment, what `survey` found then, and what it found once the next command's `finish_swaps` had been there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import random
import signal
import sys
from pathlib import Path

from agegender.swapping import finish_swaps

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


def run_once(command: list[str], root: Path, change: int = 0, event: int = 0) -> tuple[int, dict]:
    """Run in a fork, killed at a change or an event; return its exit code (-9 when killed), and what it counted."""
    reading, writing = os.pipe()
    loaded = set(sys.modules)
    child = os.fork()
    if child == 0:
        os.close(reading)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        if not os.environ.get("KILLING_SPEAKS"):
            os.dup2(silence, 2)
        changes = events = 0

        def watch(name: str, arguments: tuple) -> None:
            nonlocal changes, events
            events += 1
            is_here = is_change(name, arguments, str(root))
            changes += is_here
            if events == event or (is_here and changes == change):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        code = 1
        try:
            code = importlib.import_module(f"agegender.{command[0]}").main(command[1:])
        finally:
            imported = [name for name in sys.modules if name not in loaded]
            with os.fdopen(writing, "w") as told:
                json.dump({"changes": changes, "events": events, "imported": imported}, told)
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        counted = json.loads(told.read() or "{}")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), counted


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


def mended(root: Path) -> dict[str, str]:
    """Return what is there once the next command has come by; in a fork, which holds no locks of ours."""
    child = os.fork()
    if child == 0:
        finish_swaps(*(folder for folder in (root, *root.rglob("*")) if folder.is_dir()))
        os._exit(0)
    os.waitpid(child, 0)
    return survey(root)


def main() -> None:
    """Kill, and print what was found."""
    root, tries, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.chdir(root)
    before = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    _, counted = run_once(command, root)
    for name in counted["imported"]:  # else each of the runs below would load it anew
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    restore(root, before)
    code, counted = run_once(command, root)
    assert code == 0, f"{command} ended with {code}"
    changes, events, new = counted["changes"], counted["events"], survey(root)
    spread = {1 + round(part * (changes - 1) / max(1, tries // 2 - 1)) for part in range(tries // 2)}
    # Events of threads come as they please: near the last one a run may be over before.
    drawn = random.Random(tries).sample(range(1, max(tries + 2, int(0.9 * events))), tries - len(spread))
    kills = []
    for moment in [{"change": one} for one in sorted(spread)] + [{"event": one} for one in sorted(drawn)]:
        restore(root, before)
        code, _ = run_once(command, root, **moment)
        kills.append({"moment": moment, "code": code, "files": survey(root), "mended": mended(root)})
    restore(root, before)
    code, _ = run_once(command, root)
    print(
        json.dumps(
            {"changes": changes, "events": events, "new": new, "kills": kills, "code": code, "after": survey(root)}
        )
    )


if __name__ == "__main__":
    main()
