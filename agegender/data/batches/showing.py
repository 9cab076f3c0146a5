"""Teaches fastai what a batch of photos looks like: labels above each photo, predictions below the truth.

Importing it is enough; `dls.show_batch()` and `learn.show_results()` then come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastai.data.core import show_batch, show_results
from fastai.vision.data import get_grid

from agegender.data.batches.photos import TensorPhoto


def show_photo_batch(
    x: TensorPhoto,  # noqa: ARG001 (fastai chooses by its type)
    y: Any,  # noqa: ARG001
    samples: Sequence[Any],
    ctxs: Any = None,
    max_n: int = 9,
    **kwargs: Any,
) -> Any:
    """Draw photos with their labels, "34 y, female", as titles."""
    axes = ctxs or _grid(min(len(samples), max_n), kwargs)
    for axis, (photo, *labels) in zip(axes, samples, strict=False):
        photo.show(ctx=axis, title=_words(labels), **kwargs)
    return axes


def show_photo_results(
    x: TensorPhoto,  # noqa: ARG001 (fastai chooses by its type)
    y: Any,  # noqa: ARG001
    samples: Sequence[Any],
    outs: Sequence[Any],
    ctxs: Any = None,
    max_n: int = 9,
    **kwargs: Any,
) -> Any:
    """Draw photos with what is true above what was predicted; a title is red where a class is wrong."""
    axes = ctxs or _grid(min(len(samples), max_n), kwargs)
    for axis, (photo, *labels), predicted in zip(axes, samples, outs, strict=False):
        photo.show(ctx=axis, **kwargs)
        is_wrong = any(isinstance(true, str) and true != guess for true, guess in zip(labels, predicted, strict=False))
        title = f"true {_words(labels)}\npredicted {_words(predicted)}"
        axis.set_title(title, color="darkred" if is_wrong else "black", fontsize="medium")
    return axes


def _words(labels: Sequence[Any]) -> str:
    return ", ".join(str(label) for label in labels)


def _grid(count: int, kwargs: dict[str, Any]) -> Any:
    layout = {name: kwargs.pop(name) for name in ("nrows", "ncols", "figsize") if name in kwargs}
    return get_grid(count, **layout)


show_batch.dispatch(show_photo_batch)
show_results.dispatch(show_photo_results)
