"""A training that is not done yet: its folder, its plan, and the lock that keeps a second run of the name away.

models/<name>.unfinished/
  run.json            the plan, and which run this is
  faces.parquet       the faces table with its splits
  state.safetensors   everything that an epoch leaves, written whole after each one
  teacher.safetensors what a teacher says of each training photo
  lock                the process that is at work on it

A training in folds keeps no state itself, but of each finished fold the network in fold-<k>/, a whole model folder, and
of the fold at work a run of its own in fold-<k>.unfinished/.

Nothing here needs torch: a command can refuse a run before it loads any.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from agegender.data.faces_table import FacesTable, read_faces, write_faces
from agegender.errors import AgeGenderError, CardError, ProcessEndedError, UsageError
from agegender.model.model_folder import CARD_FILE, FACES_FILE, UNFINISHED, resume_words
from agegender.progress import say
from agegender.settings import VERSION, VOTES, AugmentationSettings, ImageSettings
from agegender.swapping import finish_swaps
from agegender.training_settings import Plan, TrainingSettings, as_field, checked
from agegender.writing import output_errors, write_json

# Settings that may change on the way: what a run that has diverged, or ran out of memory, needs to go on.
CHANGEABLE = ("learning_rate", "batch_size", "accumulate", "clip")
RUN_FILE = "run.json"
STATE_FILE = "state.safetensors"
TEACHER_FILE = "teacher.safetensors"
LOCK_FILE = "lock"


def new_run_id() -> str:
    """Return what a run's model, tables and pages are known by."""
    return token_hex(8)


def unfinished_folder(place: Path) -> Path:
    """Return where the run lives whose model folder will be `place`; a run's own folder stays as it is."""
    return place if place.name.endswith(UNFINISHED) else place.with_name(f"{place.name}{UNFINISHED}")


@dataclass
class UnfinishedRun:
    """A run that this process is at work on.

    Attributes
    ----------
    folder : Path
    plan : Plan
    run_id : str
    choices : dict
        What the command wants to know again when it goes on, such as whether faces are hidden.
    faces_fingerprint : str
    leg_epochs, leg_minutes : int, float or None
        After how many epochs, or at the end of the epoch in which so many minutes have gone by, this leg ends.
    folds : int or None
        Of a training in folds, how many there are.
    vote : str
        And how their networks answer as one.
    changed : list of dict
        Which settings were changed on the way, in the order of the changes: name -> [then, now].
    """

    folder: Path
    plan: Plan
    run_id: str
    choices: dict[str, Any]
    faces_fingerprint: str
    _lock: int | None = None
    leg_epochs: int | None = None
    leg_minutes: float | None = None
    folds: int | None = None
    vote: str = VOTES[0]
    changed: list[dict[str, Any]] = field(default_factory=list)
    _leg_started: float = field(default_factory=time.monotonic)
    _leg_done: int = 0

    @property
    def state_file(self) -> Path:
        """Where the state of the last epoch is."""
        return self.folder / STATE_FILE

    def read_faces(self, *, images: Path | None = None) -> FacesTable:
        """Return the faces table of the run, its photos in `images` where they have moved."""
        faces = read_faces(self.folder / FACES_FILE, root=images)
        if faces.fingerprint() != self.faces_fingerprint:
            raise CardError(
                f"{self.folder / FACES_FILE} is not the faces table that this run began with: its fingerprint is "
                f"{faces.fingerprint()[:16]}…, and {RUN_FILE} says {self.faces_fingerprint[:16]}…. Restore the file."
            )
        return faces

    def change(self, settings: Mapping[str, Any]) -> None:
        """Go on with other settings, now and in every later leg; the run remembers which."""
        for name in settings:
            if name not in CHANGEABLE:
                raise UsageError(
                    f"a run goes on with the {name} that it began with; it takes another {', '.join(CHANGEABLE)}."
                )
        before = asdict(self.plan.training)
        wanted = {name: checked(name, value) for name, value in settings.items()}
        new = {name: value for name, value in wanted.items() if value != before[name]}
        if not new:
            return
        if self.folds is not None:
            raise UsageError(f"a run in folds goes on as it began: leave {', '.join(new)} out.")
        self.plan = replace(self.plan, training=replace(self.plan.training, **new))
        self.changed.append({name: [before[name], value] for name, value in new.items()})
        facts = _read_facts(self.folder / RUN_FILE)
        write_json(self.folder / RUN_FILE, facts | {"plan": asdict(self.plan), "changed": self.changed})
        words = ", ".join(f"{name} {before[name]} then and {value} now" for name, value in new.items())
        say(f"going on with other settings: {words}")

    def close(self) -> None:
        """Let others go on with the run; a folder in which no epoch is kept goes away."""
        if self._lock is not None:
            if not keeps_epochs(self.folder) and self._is_still_ours(self._lock):
                shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the run if the work on it fails, and say so where whole epochs are kept."""
        try:
            yield
        except BaseException as error:
            self.close()
            is_theirs = isinstance(error, AgeGenderError) and not isinstance(error, ProcessEndedError)
            if keeps_epochs(self.folder) and not is_theirs:
                say(f"{self.folder} keeps every whole epoch: {resume_words(self.folder)}")
            raise

    def count_epochs(self, epochs: int) -> None:
        """Count epochs of a finished fold against the leg."""
        self._leg_done += epochs

    def left_of_leg(self) -> tuple[int | None, float | None]:
        """Return how many epochs and minutes are left of the leg, where it has an end."""
        epochs = None if self.leg_epochs is None else self.leg_epochs - self._leg_done
        gone = (time.monotonic() - self._leg_started) / 60
        return epochs, None if self.leg_minutes is None else self.leg_minutes - gone

    def is_leg_over(self) -> bool:
        """Return whether nothing is left of the leg."""
        return any(left is not None and left <= 0 for left in self.left_of_leg())

    def _is_still_ours(self, lock: int) -> bool:
        # Swapped in, the folder is gone, and somebody else may have begun one of the name.
        with suppress(OSError):
            return os.path.samestat(os.fstat(lock), (self.folder / LOCK_FILE).stat())
        return False


def member_folder(folder: Path, number: int) -> Path:
    """Return where a run in folds keeps the finished network of a fold."""
    return folder / f"fold-{number}"


def keeps_epochs(folder: Path) -> bool:
    """Return whether there is something to go on from: a state, or of a run in folds any fold's."""
    kept = (STATE_FILE, f"fold-*{UNFINISHED}/{STATE_FILE}", f"fold-*/{CARD_FILE}")
    return any(next(folder.glob(pattern), None) is not None for pattern in kept)


def begin_run(
    folder: Path,
    faces: FacesTable,
    plan: Plan,
    choices: Mapping[str, Any] | None = None,
    *,
    folds: int | None = None,
    vote: str = VOTES[0],
) -> UnfinishedRun:
    """Make the folder of a new run, which is this process's until it is closed."""
    check_name_is_free(folder)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    run = UnfinishedRun(
        folder, plan, new_run_id(), dict(choices or {}), faces.fingerprint(), lock, folds=folds, vote=vote
    )
    with run.closed_on_error():
        (folder / TEACHER_FILE).unlink(missing_ok=True)  # of a run that was killed in its first epoch
        write_faces(faces, folder / FACES_FILE)
        facts: dict[str, Any] = {
            "run_id": run.run_id,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "agegender_version": VERSION,
            "faces_fingerprint": run.faces_fingerprint,
            "choices": run.choices,
            "plan": asdict(plan),
        }
        if folds is not None:
            facts |= {"folds": folds, "vote": vote}
        write_json(folder / RUN_FILE, facts)
    return run


def open_run(folder: Path) -> UnfinishedRun:
    """Take up a run that was stopped or killed."""
    lock = _lock(_existing(folder))
    try:
        run = read_run(folder)
    except BaseException:
        os.close(lock)
        raise
    run._lock = lock
    return run


def _existing(folder: Path) -> Path:
    finish_swaps(folder.parent)
    if not folder.is_dir():
        others = sorted(path.name.removesuffix(UNFINISHED) for path in folder.parent.glob(f"*{UNFINISHED}"))
        known = f"unfinished are {', '.join(others)}" if others else f"nothing in {folder.parent} is unfinished"
        raise CardError(f"there is no unfinished run {folder}; {known}. `agegender train` begins one.")
    return folder


def read_run(folder: Path) -> UnfinishedRun:
    """Look at a run without taking it up."""
    facts = _read_facts(_existing(folder) / RUN_FILE)
    try:
        if not keeps_epochs(folder):
            raise CardError(f"{folder} keeps no epoch yet, so there is nothing to go on from. Train without --resume.")
        # The folder's name counts: a copy under another name is another run.
        plan = replace(plan_from_dict(facts["plan"]), name=folder.name.removesuffix(UNFINISHED))
        choices = facts["choices"] if isinstance(facts.get("choices"), dict) else {}
        folds = None if facts.get("folds") is None else int(facts["folds"])
        vote = facts.get("vote") if facts.get("vote") in VOTES else VOTES[0]
        return UnfinishedRun(
            folder, plan, str(facts["run_id"]), choices, str(facts["faces_fingerprint"]), folds=folds, vote=str(vote),
            changed=[dict(one) for one in facts.get("changed", [])],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(
            f"{folder / RUN_FILE} cannot be understood ({type(error).__name__}: {error}). It was written by another "
            f"version, or damaged; restore it, or delete {folder} and train anew."
        ) from error


def check_name_is_free(folder: Path) -> None:
    """Refuse a run whose name another process is at work on, or under which epochs are kept."""
    finish_swaps(folder.parent)
    if not folder.is_dir():
        return
    os.close(_lock(folder))
    if keeps_epochs(folder):
        raise UsageError(
            f"{folder} keeps epochs of an unfinished run of this name: {resume_words(folder)} Or delete {folder} to "
            f"begin anew, or give this run another --name."
        )


def plan_from_dict(entries: Mapping[str, Any]) -> Plan:
    """Return the plan that `run.json` has; errors are those of wrong names and kinds."""
    image = ImageSettings(**{name: as_field(value) for name, value in entries["image"].items()})
    heads = entries["heads"]
    return Plan(
        **{
            **entries,
            "heads": None if heads is None else tuple(map(str, heads)),
            "losses": dict(entries["losses"]),
            "head_weights": dict(entries["head_weights"]),
            "image": image,
            "augmentation": AugmentationSettings(**entries["augmentation"]),
            "training": TrainingSettings(**{name: as_field(value) for name, value in entries["training"].items()}),
            "balance": tuple(entries["balance"]),
        }
    )


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CardError(
            f"{path} cannot be read ({error}). Restore it, or delete {path.parent} and train anew."
        ) from error


def _lock(folder: Path) -> int:
    """Return a handle that keeps other processes off the run while it is open; a dead process holds nothing."""
    path = folder / LOCK_FILE
    with output_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
        os.close(handle)
        raise UsageError(
            f"{folder} is being trained by {who}. Wait until it is done, or give this run another --name."
        ) from None
    except OSError:  # a file system without locks: the process's number has to do
        _refuse_living(handle, folder)
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return handle


def _refuse_living(handle: int, folder: Path) -> None:
    words = os.pread(handle, 200, 0).decode("utf-8", "replace").split()
    is_here = len(words) == 4 and words[3] == socket.gethostname() and words[1].isdecimal()
    if is_here and int(words[1]) != os.getpid() and Path(f"/proc/{words[1]}").exists():
        os.close(handle)
        raise UsageError(f"{folder} is being trained by {' '.join(words)}. Wait, or give this run another --name.")


def contradictions(plan: Plan, given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return which keywords of `Model.train` are not as a plan has them: keyword -> what it has, what was given.

    Where a run is computed, and what is `CHANGEABLE`, may change on the way and is no contradiction.
    """
    there: dict[str, Any] = {
        **asdict(plan.training),
        **{name: getattr(plan, name) for name in ("name", "body", "size", "weights", "heads", "losses", "balance")},
        "allows_sensitive": plan.allows_sensitive,
        "loss_weights": plan.head_weights,
        "image_size": plan.image.size,
    }
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in there.items()}
    free = {"device", "precision", *CHANGEABLE}
    return {
        name: (plain[name], value) for name, value in given.items() if name not in free and plain.get(name) != value
    }
