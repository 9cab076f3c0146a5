"""The residual networks, layer for layer and name for name torchvision's, without the 1.5 s that its import takes.

The order in which layers are made and drawn is torchvision's too, so that a seed gives the same first weights, and its
ImageNet weights fit. He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016; like torchvision's,
a bottleneck strides in its second convolution.

A small stem is for photos below some 96 px: torchvision's leaves a quarter of a photo's height before the first block,
this one half of it, for four times the work. A narrow network has half the channels, and at its end a little less, so
that its weights and two heads take less than 6 MB as half floats (docs/decisions/0150-the-shipped-model.md).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from agegender.settings import NARROW, SMALL_STEM, TORCHVISION_BODIES

BOTTLENECK_EXPANSION = 4
# Blocks in each of the four stages, and whether they are bottlenecks.
_STAGES = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_CHANNELS = (64, 128, 256, 512)
_NARROW_CHANNELS = (32, 64, 128, 224)
_IMAGENET_CLASSES = 1000


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (N, channels, h / stride, w / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out: Tensor = self.relu(self.bn1(self.conv1(features)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1 ones, beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * BOTTLENECK_EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * BOTTLENECK_EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (N, 4 channels, h / stride, w / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out: Tensor = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return self.relu(out)


def is_resnet(name: str) -> bool:
    """Return whether a body is made here."""
    base = name.removesuffix(SMALL_STEM)
    narrow = base.removesuffix(NARROW)
    return narrow in TORCHVISION_BODIES and (narrow == base or not _STAGES[narrow][1])


def make_resnet(name: str) -> tuple[nn.Sequential, int]:
    """Return a ResNet's stem and stages under torchvision's names, and the number of its feature channels."""
    base, has_small_stem = name.removesuffix(SMALL_STEM), name.endswith(SMALL_STEM)
    counts, is_bottleneck = _STAGES[base.removesuffix(NARROW)]
    widths = _NARROW_CHANNELS if base.endswith(NARROW) else _CHANNELS
    channels = widths[0]
    kernel = 3 if has_small_stem else 7
    stem = nn.Conv2d(3, channels, kernel, 2, padding=kernel // 2, bias=False)
    relu = nn.ReLU(inplace=True)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=stem, bn1=nn.BatchNorm2d(channels), relu=relu)
    if not has_small_stem:
        layers["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    for number, (width, count) in enumerate(zip(widths, counts, strict=True)):
        stage, channels = _stage(channels, width, count, 1 if number == 0 else 2, is_bottleneck=is_bottleneck)
        layers[f"layer{number + 1}"] = stage
    nn.Linear(channels, _IMAGENET_CLASSES)  # torchvision draws its classifier before the convolutions below
    network = nn.Sequential(layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network, channels


def _stage(
    channels_in: int, channels: int, count: int, stride: int, *, is_bottleneck: bool
) -> tuple[nn.Sequential, int]:
    block = Bottleneck if is_bottleneck else BasicBlock
    channels_out = channels * (BOTTLENECK_EXPANSION if is_bottleneck else 1)
    downsample = None
    if stride != 1 or channels_in != channels_out:
        convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
        downsample = nn.Sequential(convolution, nn.BatchNorm2d(channels_out))
    blocks = [block(channels_in, channels, stride, downsample)]
    blocks += [block(channels_out, channels, 1, None) for _ in range(1, count)]
    return nn.Sequential(*blocks), channels_out
