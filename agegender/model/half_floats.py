"""Weights kept as half floats, in half the space: rounded once, so that torch and onnxruntime compute with the same.

An exported network has its norms folded into the convolutions before them, and a folded weight is no half float any
more. So norms are folded first, then weights are rounded, and the norms stay as ones that only add.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from agegender.errors import ModelError

LARGEST_HALF = 65504.0
_LEAST_LAYER = 800  # numbers of the smallest convolution, 32 channels of 3 × 3 × 3; norms and colours have fewer


def as_half_floats(network: nn.Module) -> nn.Module:
    """Return a copy whose weights of layers are all half floats in value; their type stays float32.

    Raises
    ------
    ModelError
        A weight is too large for one.
    """
    copied = deepcopy(network).eval()
    with torch.no_grad():
        for convolution, norm in _pairs(copied):
            _fold_keeping(convolution, norm)
        for name, value in copied.state_dict().items():
            if is_layer(value):
                if float(value.abs().max()) > LARGEST_HALF:
                    raise ModelError(f"{name} holds weights beyond {LARGEST_HALF:g}, which no half float is.")
                value.copy_(value.half())
    return copied


def half_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors to store: layers' weights as half floats, all others as they are."""
    return {name: value.half() if is_layer(value) else value for name, value in network.state_dict().items()}


def is_layer(value: Tensor) -> bool:
    """Return whether a tensor is a layer's weights: norms and biases are few, and want every digit."""
    return value.ndim > 1 and value.is_floating_point()


def with_half_initializers(model: bytes) -> bytes:
    """Return an exported model whose weights are stored as half floats and made float32 when it is opened.

    Raises
    ------
    ModelError
        A weight is no half float in value.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    proto: Any = onnx.load_model_from_string(model)
    graph, casts = proto.graph, []
    for number, part in enumerate(graph.initializer):
        values = numpy_helper.to_array(part)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < _LEAST_LAYER:
            continue
        halves = values.astype(np.float16)
        # Folding with a norm that only adds may move a weight's last bit.
        if not np.allclose(halves.astype(np.float32), values, rtol=1e-6, atol=1e-12):
            raise ModelError("the exporter has changed a weight that was a half float: nothing was written.")
        stored = numpy_helper.from_array(halves, f"{part.name}/half")
        casts.append(helper.make_node("Cast", [stored.name], [part.name], to=onnx.TensorProto.FLOAT))
        graph.initializer[number].CopyFrom(stored)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def _pairs(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Yield convolutions with the norms that are named right after them."""
    before: nn.Module | None = None
    for child in module.children():
        if isinstance(before, nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
            yield before, child
        yield from _pairs(child)
        before = child


def _fold_keeping(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Move what a norm multiplies by into the convolution; what it adds stays with it."""
    if convolution.out_channels != norm.num_features or norm.running_mean is None or norm.running_var is None:
        return
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    convolution.weight.copy_(weight)
    if convolution.bias is not None:
        convolution.bias.zero_()
    norm.bias.copy_(bias)
    norm.weight.fill_(1.0)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)
