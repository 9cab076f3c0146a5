"""Owns how a tensor carries what it means as far as the network, and no further."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from fastai.torch_core import TensorBase
from torch import Tensor

# Moving, cutting and unpacking leave the meaning as it is.
_MEANING_STAYS = {
    Tensor.__getitem__,
    Tensor.clone,
    Tensor.contiguous,
    Tensor.cpu,
    Tensor.cuda,
    Tensor.detach,
    Tensor.pin_memory,
    Tensor.to,
    Tensor.unbind,
}


class MeaningfulTensor(TensorBase):
    """A tensor whose type says what it means; what is computed from it is a plain tensor.

    fastai's own types spread through the whole network and loss, where they cost time at every operation and where
    two of them (a photo's logits and an age) refuse to meet.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run any torch function on plain tensors; give the type back where only place or extent has changed."""
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        if func not in _MEANING_STAYS:
            return result
        if isinstance(result, Tensor):
            return result.as_subclass(cls)
        # Unpacked, one tensor per photo.
        return tuple(part.as_subclass(cls) for part in result)
