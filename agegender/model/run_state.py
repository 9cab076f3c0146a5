"""Everything that an epoch leaves and the next one needs, as one safetensors file; no pickle.

Weights, the best weights, the optimiser's moments and the states of the random numbers are tensors; counts, the history
and what kind of processor this is stand in the file's header as JSON. The place on the schedule follows from the epoch.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor, nn

from agegender.errors import CardError, OutputError
from agegender.model.checkpoint import write_tensors
from agegender.model.epochs import EpochRecorder, KeepBest
from agegender.model.model_folder import resume_words
from agegender.model.optimisers import inner_optimiser
from agegender.model.recipe import AveragedWeights, EarlyStopping
from agegender.model.several_processes import agreed, leads
from agegender.model.unfinished import UnfinishedRun
from agegender.progress import say
from agegender.writing import replaced_file

_HEADER = "agegender"
_NETWORK, _BEST, _OPTIMISER, _RANDOM, _CALLBACKS = "network", "best", "optimiser", "random", "callbacks"
_LOSS = "loss"  # the weights of the heads, where they are learned
_GROUPS = (_NETWORK, _BEST, _OPTIMISER, _RANDOM, _LOSS, _CALLBACKS)
# In the header, what a tensor of the file stands in the place of, and what was no list but a tuple.
_TENSOR, _TUPLE = "tensor of the file", "tuple"

_KEPT = (Tensor, Mapping, list, tuple, bool, int, float, str, type(None))


@dataclass(frozen=True)
class RunState:
    """What stands in a state file: `tensors` by group and name, and the facts of its header.

    Attributes
    ----------
    facts : dict
        `epochs_done`, `batches_seen`, `history`, `best_epoch`, `best_loss`, `loader_epochs`, `seconds`, `processor`,
        `random`, and of what has a state of its own, tensors left out, `optimiser` and `callbacks`.
    """

    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]

    @property
    def epochs_done(self) -> int:
        """How many epochs are done."""
        return int(self.facts["epochs_done"])

    def layouts_on(self, processor: Mapping[str, Any]) -> dict[int, str]:
        """Return the memory layout of each size of the earlier legs' photos; none where another processor chooses."""
        before = self.facts["processor"]
        is_same = all(before.get(name) == value for name, value in processor.items())
        layouts = before.get("memory_layouts", {}) if is_same else {}
        return {int(size): str(layout) for size, layout in layouts.items()}


def read_state(path: Path) -> RunState:
    """Read a state file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(json.loads((file.metadata() or {})[_HEADER]))
            tensors: dict[str, dict[str, Tensor]] = {name: {} for name in _GROUPS}
            for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                group, _, rest = name.partition("/")
                tensors[group][rest] = file.get_tensor(name)
        state = RunState(tensors, facts)
        _check_facts(state)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CardError(
            f"{path} is damaged or cut short ({type(error).__name__}: {error}), so the run cannot go on from it; "
            f"nothing was changed. Restore the file from a copy, or delete {path.parent} and train anew."
        ) from error
    return state


def _check_facts(state: RunState) -> None:
    facts = state.facts
    history, loaders = facts["history"], facts["loader_epochs"]
    if not (len(history) == state.epochs_done >= 1 and all(isinstance(row, dict) for row in history)):
        raise ValueError(f"{len(history)} rows of history for {state.epochs_done} epochs")
    if not state.tensors[_NETWORK] or not isinstance(facts["random"]["numpy"], dict):
        raise ValueError("there are no weights in it")
    float(facts["best_loss"]), int(facts["best_epoch"]), int(loaders["train"]), int(loaders["valid"])
    int(facts.get("batches_seen", 0)), float(facts["seconds"]), dict(facts["processor"]), dict(facts["scaler"])


def processor_facts(device: torch.device, precision: str) -> dict[str, Any]:
    """Return on what a run is computed: where these differ, sums come out in another order."""
    facts = {"device": device.type, "precision": precision, "torch": str(torch.__version__)}
    if device.type == "cuda":
        return facts | {"processor": torch.cuda.get_device_name(device)}
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "unknown")()
    return facts | {"processor": capability, "threads": torch.get_num_threads()}


def difference_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what is not as it was, or an empty text.

    >>> difference_words({"processor": "AVX512", "precision": "bf16"}, {"processor": "AVX2", "precision": "bf16"})
    'processor AVX512 then and AVX2 now'
    """
    differing = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name} {before.get(name, 'unknown')} then and {now[name]} now" for name in differing)


class KeepRun(Callback):
    """Write the run's state after each epoch, take it up before the first, and stop where the leg ends.

    Parameters
    ----------
    run : UnfinishedRun
    state : RunState or None
        What an earlier leg has left.
    processor : mapping
        See `processor_facts`.
    """

    order = 90  # after everything else that an epoch leaves

    def __init__(self, run: UnfinishedRun, state: RunState | None, processor: Mapping[str, Any]) -> None:
        super().__init__()
        self.kept, self.state, self.processor = run, state, dict(processor)
        self.is_stopped = False
        self._started = time.monotonic()
        self._earlier_seconds = 0.0 if state is None else float(state.facts["seconds"])

    def before_fit(self) -> None:
        """Put everything back as the last epoch left it; the layout of the weights is settled by now."""
        if self.state is not None:
            try:
                _put_back(self.learn, self.state)
            except (RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
                raise CardError(
                    f"{self.kept.state_file} does not fit the plan beside it: {' '.join(str(error).split())[:300]}. "
                    f"Restore both files from one copy, or delete {self.kept.folder} and train anew."
                ) from error
            self.state = None  # as large as four networks

    def after_epoch(self) -> None:
        """Write the state, whole or not at all; stop where the leg ends."""
        row = self.learn.epoch_recorder.rows[-1]
        if not np.isfinite(row["train_loss"]):
            return  # nobody goes on from there
        if leads():
            self._write()
        ends = self.epoch + 1 == self.n_epoch or any(
            cb.is_over for cb in self.learn.cbs if isinstance(cb, EarlyStopping)
        )
        self.is_stopped = agreed(not ends and self._is_leg_done())
        if self.is_stopped:
            raise CancelFitException

    def _write(self) -> None:
        tensors = _gathered(self.learn)
        facts = self._facts() | {
            _OPTIMISER: without_tensors(_optimiser_state(self.learn), _OPTIMISER, tensors),
            _CALLBACKS: without_tensors(_callback_states(self.learn), _CALLBACKS, tensors),
        }
        try:
            with replaced_file(self.kept.state_file) as temporary:
                write_tensors(tensors, temporary, {_HEADER: json.dumps(facts, default=float)})
        except OutputError as error:
            kept = f"Epoch {self.epoch} is kept: {resume_words(self.kept.folder)}" if self.epoch else ""
            raise OutputError(f"epoch {self.epoch + 1} could not be kept: {error} {kept}") from error

    def _is_leg_done(self) -> bool:
        done = self.epoch + 1 - self.learn.first_epoch
        minutes = (time.monotonic() - self._started) / 60
        by_count = self.kept.leg_epochs is not None and done >= self.kept.leg_epochs
        return by_count or (self.kept.leg_minutes is not None and minutes >= self.kept.leg_minutes)

    def _facts(self) -> dict[str, Any]:
        learn, best = self.learn, self.learn.keep_best
        scaler = getattr(learn, "scaler", None)
        return {
            "epochs_done": self.epoch + 1,
            "batches_seen": learn.train_iter,
            "history": learn.epoch_recorder.rows,
            "best_epoch": best.best_epoch,
            "best_loss": best.best_loss,
            "loader_epochs": {"train": learn.dls.train.epoch, "valid": learn.dls.valid.epoch},
            "seconds": self._earlier_seconds + time.monotonic() - self._started,
            "processor": self.processor,
            "scaler": {} if scaler is None else scaler.state_dict(),
            "random": _random_facts(),
        }


def say_difference(state: RunState, processor: Mapping[str, Any]) -> None:
    """Say where a run goes on on another kind of processor."""
    words = difference_words(state.facts["processor"], processor)
    if words:
        say(f"going on under other conditions ({words}): the result will not be bit-equal to an uninterrupted run's.")


def _gathered(learn: Any) -> dict[str, Tensor]:
    tensors = {f"{_NETWORK}/{name}": value for name, value in learn.model.state_dict().items()}
    tensors |= {f"{_LOSS}/{name}": value for name, value in learn.combined_loss.state_dict().items()}
    best: KeepBest = learn.keep_best
    is_network = best.best_epoch == learn.epoch + 1 and not any(isinstance(cb, AveragedWeights) for cb in learn.cbs)
    if best.weights is not None and not is_network:
        tensors |= {f"{_BEST}/{name}": value for name, value in best.weights.items()}
    return tensors | {f"{_RANDOM}/{name}": value for name, value in _random_tensors().items()}


def _put_back(learn: Any, state: RunState) -> None:
    network, facts = state.tensors[_NETWORK], state.facts
    learn.model.load_state_dict(network)
    learn.combined_loss.load_state_dict(state.tensors[_LOSS])
    recorder: EpochRecorder = learn.epoch_recorder
    recorder.rows = [dict(row) for row in facts["history"]]
    best: KeepBest = learn.keep_best
    best.best_epoch, best.best_loss = int(facts["best_epoch"]), float(facts["best_loss"])
    best.weights = dict(state.tensors[_BEST] or network)
    _put_back_optimiser(learn, state)
    kept = with_tensors(facts.get(_CALLBACKS, {}), state.tensors[_CALLBACKS])
    for callback in _stateful(learn):
        callback.load_state_dict(kept[callback.name])
    scaler = getattr(learn, "scaler", None)
    if scaler is not None and facts["scaler"]:
        scaler.load_state_dict(facts["scaler"])
    learn.dls.train.epoch, learn.dls.valid.epoch = facts["loader_epochs"]["train"], facts["loader_epochs"]["valid"]
    # Earlier versions did not count, and the size of a batch may be another one today.
    learn.train_iter = facts.get("batches_seen", learn.first_epoch * len(learn.dls.train))
    _put_back_random(state.tensors[_RANDOM], facts["random"])


def _stateful(learn: Any) -> list[Any]:
    """Return the callbacks that keep a state, as torch's parts do; asked itself, each would give the network's."""
    return [callback for callback in learn.cbs if hasattr(type(callback), "state_dict")]


def _callback_states(learn: Any) -> dict[str, Any]:
    return {callback.name: callback.state_dict() for callback in _stateful(learn)}


def without_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Return a nested value as JSON can hold it; its tensors go to `tensors`, each by its place.

    >>> moved = {}
    >>> without_tensors({"steps": 3, "means": (torch.ones(2), None)}, "callback", moved)
    {'steps': 3, 'means': {'tuple': [{'tensor of the file': 'means/0'}, None]}}
    >>> list(moved)
    ['callback/means/0']
    """
    if isinstance(value, Tensor):
        tensors[place] = value
        return {_TENSOR: place.partition("/")[2]}
    if isinstance(value, Mapping):
        return {str(key): without_tensors(one, f"{place}/{key}", tensors) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [without_tensors(one, f"{place}/{number}", tensors) for number, one in enumerate(value)]
        return {_TUPLE: parts} if isinstance(value, tuple) else parts
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return float(value)  # a numpy number; anything else cannot be kept, and says so


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `without_tensors` took apart."""
    if isinstance(value, list):
        return [with_tensors(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TENSOR}:
        return tensors[value[_TENSOR]]
    if set(value) == {_TUPLE}:
        return tuple(with_tensors(one, tensors) for one in value[_TUPLE])
    return {key: with_tensors(one, tensors) for key, one in value.items()}


def _optimiser_state(learn: Any) -> dict[str, Any]:
    """Return what an optimiser has of each weight, by its number, and of its groups: some count their steps there."""
    optimiser = inner_optimiser(learn.opt)
    states = {str(number): dict(optimiser.state.get(one, {})) for number, one in enumerate(_parameters(learn))}
    # What is no number, such as the type of moments, is as it was made.
    groups = [
        {name: one for name, one in group.items() if name != "params" and isinstance(one, _KEPT)}
        for group in optimiser.param_groups
    ]
    return states | {"groups": groups}


def _put_back_optimiser(learn: Any, state: RunState) -> None:
    tensors, optimiser = state.tensors[_OPTIMISER], inner_optimiser(learn.opt)
    # Runs of earlier versions kept AdamW's tensors alone.
    places = {name: {_TENSOR: name} for name in tensors}
    described = state.facts.get(_OPTIMISER) or _nested(places)
    kept = with_tensors(described, tensors)
    for group, values in zip(optimiser.param_groups, kept.pop("groups", []), strict=False):
        group.update(values)
    parameters = _parameters(learn)
    for number, values in kept.items():
        parameter = parameters[int(number)]
        if values:
            optimiser.state[parameter] = {
                name: _as_it_lay(value, parameter, optimiser) for name, value in values.items()
            }


def _nested(places: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in places.items():
        number, _, key = name.partition("/")
        nested.setdefault(number, {})[key] = value
    return nested


def _as_it_lay(value: Any, parameter: nn.Parameter, optimiser: Any) -> Any:
    """Return a part of a weight's state where and as it was before it was kept."""
    if isinstance(value, (list, tuple)):
        return type(value)(_as_it_lay(one, parameter, optimiser) for one in value)
    if not isinstance(value, Tensor):
        return value
    if value.ndim == 0:  # the count of steps, which torch wants on the CPU, or beside fused weights
        return value.clone().to(parameter.device) if optimiser.defaults.get("fused") else value.clone()
    if value.shape != parameter.shape:
        if optimiser.defaults.get("fused"):
            raise ValueError(f"a moment of the optimiser has the shape {tuple(value.shape)}")
        return value.clone().to(parameter.device)
    # A moment has to lie in memory as its weights do: the fused step walks through both at once.
    moment = torch.zeros_like(parameter, memory_format=torch.preserve_format, dtype=value.dtype)
    return moment.copy_(value)


def _parameters(learn: Any) -> list[nn.Parameter]:
    return [parameter for group in learn.opt.opt.param_groups for parameter in group["params"]]


def _random_tensors() -> dict[str, Tensor]:
    words = random.getstate()[1]
    keys = cast("tuple[Any, ...]", np.random.get_state(legacy=True))[1]
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "python": torch.tensor(words, dtype=torch.int64),
    }
    if torch.cuda.is_available():
        states |= {f"cuda/{number}": value for number, value in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _random_facts() -> dict[str, Any]:
    version, _, gauss = random.getstate()
    kind, _, position, has_gauss, cached = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    return {
        "numpy": {"kind": kind, "position": position, "has_gauss": has_gauss, "cached": cached},
        "python": {"version": version, "gauss": gauss},
    }


def _put_back_random(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["torch"])
    numpy, python = facts["numpy"], facts["python"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((numpy["kind"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))
    random.setstate((python["version"], tuple(tensors["python"].tolist()), python["gauss"]))
    devices = [tensors[name] for name in sorted(tensors) if name.startswith("cuda/")]
    if devices and torch.cuda.device_count() == len(devices):
        torch.cuda.set_rng_state_all(devices)
