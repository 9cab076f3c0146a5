"""The learning-rate finder: a short mock training whose rate rises until the loss does, and what its curve suggests.

The search and the readings of its curve are fastai's (L. Smith, Cyclical learning rates, WACV 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from fastai.callback.schedule import minimum, steep, valley

from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError
from agegender.model.precision import choose_device, choose_precision, set_seed
from agegender.model.recipe import FROZEN_GROUPS
from agegender.model.training import first_learner
from agegender.model.training_speed import CHANNELS_LAST, speed_callbacks
from agegender.progress import say
from agegender.training_settings import Plan, TrainingSettings, check_untracked
from agegender.writing import output_errors, replaced_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 100
LEAST_STEPS = 20
LOWEST, HIGHEST = 1e-6, 10.0
READINGS = (valley, steep, minimum)  # the first is the one to take
# What a step of a training may have and one of these has not.
_WITHOUT = ("accumulate", "clip", "mixup", "l1", "layer_rates", "progressive")
# Steps at the end of the curve, where the loss bursts, and the least that are to be left.
_BURST, _LEAST_LEFT = 5, 10


@dataclass(frozen=True)
class RateSearch:
    """How the loss went while the learning rate rose.

    Attributes
    ----------
    rates, losses : sequence of float
        Of each step: the rate of the heads, and the loss, smoothed as fastai does.
    suggestions : dict of str to float
        Rates by the way they are read off the curve: `valley` (the one to take), `steep`, `minimum`.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    suggestions: dict[str, float]

    @property
    def rate(self) -> float:
        """The rate to take, as `learning_rate`."""
        return self.suggestions[READINGS[0].__name__]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        curve = {"rates": list(self.rates), "losses": list(self.losses)}
        return {"learning_rate": self.rate, "suggestions": self.suggestions, "curve": curve}

    def plot(self) -> Figure:
        """Return the curve with what is read off it, as a matplotlib figure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axis = figure.add_subplot(xlabel="learning rate", ylabel="loss, smoothed", xscale="log")
        axis.plot(self.rates, self.losses, color="0.35")
        for number, (name, rate) in enumerate(self.suggestions.items()):
            axis.axvline(rate, color=f"C{number}", linestyle="--", label=f"{name} {rate:.2g}")
        low, most = min(self.losses), max(self.losses[: max(1, len(self.losses) // 2)])
        axis.set_ylim(low - 0.05 * (most - low), most + 0.5 * (most - low))
        axis.legend()
        return figure

    def save(self, path: Path) -> None:
        """Draw the curve into a file, SVG or PNG by its name."""
        with output_errors(path), replaced_file(path) as temporary:
            self.plot().savefig(temporary, format=path.suffix.lstrip("."), dpi=120)


def search_rate(faces: FacesTable, plan: Plan, *, steps: int = STEPS) -> RateSearch:
    """Raise the rate over so many steps of the network that a training of this plan begins with; nothing is kept."""
    settings, usual = plan.training, TrainingSettings()
    check_untracked(settings.track, "a search for a rate")
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    learner = first_learner(faces, plan, device)
    say(f"raising the learning rate from {LOWEST:g} to {HIGHEST:g} in {steps} steps of {settings.batch_size} photos")
    idle = [f"--{name.replace('_', '-')}" for name in _WITHOUT if getattr(settings, name) != getattr(usual, name)]
    if idle:
        say(f"each step is one batch at the full size, without {', '.join(idle)}: the rate that suits these may differ")
    set_seed(settings.seed, is_reproducible=device.type == "cuda")
    learner.model.to(device)
    learner.combined_loss.to(device).begin()
    learner.wd = settings.weight_decay
    learner.freeze_to(FROZEN_GROUPS[settings.parts()[0].trainable])
    speed = speed_callbacks(precision, CHANNELS_LAST, device)
    with TemporaryDirectory() as place, learner.no_bar(), learner.added_cbs(speed):
        learner.path = Path(place)  # where fastai keeps the weights meanwhile
        learner.lr_find(start_lr=LOWEST, end_lr=HIGHEST, num_it=steps, show_plot=False, suggest_funcs=None)
    return search_of(learner.recorder.lrs, [float(loss) for loss in learner.recorder.losses])


def search_of(rates: Sequence[float], losses: Sequence[float]) -> RateSearch:
    """Read rates off a curve; its first tenth, where nothing is smoothed yet, and its burst are left aside."""
    finite = torch.tensor(losses).isfinite().tolist()
    end = finite.index(False) if False in finite else len(losses)
    first, last = end // 10, end - _BURST
    if last - first < _LEAST_LEFT:
        raise UsageError(
            f"the loss burst after {end} steps, too few to read a rate from. Are the labels and --loss right? Else try "
            f"a --learning-rate of {rates[max(0, end // 2)] / 10:.1g}."
        )
    x, y = torch.tensor(rates[first:last]), torch.tensor(losses[first:last])
    suggestions = {reading.__name__: float(reading(x, y, len(x))[0]) for reading in READINGS}
    return RateSearch([float(rate) for rate in rates[:end]], list(losses[:end]), suggestions)
