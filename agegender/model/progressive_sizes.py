"""Training that begins with smaller photos, as a fastai callback.

Most of what a network learns about faces it learns from small photos at a fraction of the price; the last epochs, at
the size that it will predict at, bring it there. Validation photos have that size in every epoch, so that all epochs
are judged by what would be stored.

References
----------
Howard: training ImageNet in 3 hours (DAWNBench, fast.ai 2018). Touvron et al.: Fixing the train-test resolution
discrepancy, NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastai.callback.core import Callback


class ProgressiveSizes(Callback):
    """Give the training photos of each epoch their size, and the network the memory layout that is fast for it.

    Parameters
    ----------
    sizes : sequence of int
        Pixels in each epoch.
    layouts : mapping of int to str
        The memory layout for each of the sizes.
    """

    _learner: Any = None
    order = 5  # before the bar counts, and before the epoch's batches are begun

    def __init__(self, sizes: Sequence[int], layouts: Mapping[int, str]) -> None:
        super().__init__()
        self.sizes, self.layouts = tuple(sizes), dict(layouts)

    def before_fit(self) -> None:
        """Tell the learner, whose bar counts small photos for less."""
        self._learner = self.learn  # fastai takes it away at the end
        self._learner.epoch_sizes = self.sizes

    def before_epoch(self) -> None:
        """Set the size and the layout."""
        size = self.sizes[self.epoch]
        self._set(size)
        self.learn.memory_layout.turn(self.layouts[size])

    def close(self) -> None:
        """Leave the loader as it was, also after Ctrl-C."""
        if self._learner is not None:
            self._set(self.sizes[-1])
            self._learner.epoch_sizes = ()

    def _set(self, size: int) -> None:
        loader = self._learner.dls.train
        loader.image = replace(loader.image, size=size)
