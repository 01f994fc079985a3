"""Xception (arXiv 1610.02357), as in the code of FaceForensics++, whose names of layers it has."""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

MAPS = 728  # of the blocks in the middle
EXIT = (1024, 1536, 2048)  # maps of the last block and of the convolutions behind it


class Separable(nn.Module):
    """A depthwise 3x3 convolution, then a 1x1 convolution; no biases."""

    def __init__(self, channels: int, maps: int) -> None:
        """Build from `channels` to `maps` maps of the same size."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, maps, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, maps, H, W)."""
        y: Tensor = self.pointwise(self.conv1(x))
        return y


class XceptionBlock(nn.Module):
    """Repeated ReLU, separable convolution and normalisation, with a shortcut."""

    def __init__(
        self, widths: tuple[int, ...], *, stride: int, has_first_relu: bool = True
    ) -> None:
        """Build one separable convolution for each step from a width to the next.

        With a stride, both paths shrink the maps and the shortcut is a convolution; without, the
        first and the last width are equal and the shortcut is the identity.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for channels, maps in pairwise(widths):
            if layers or has_first_relu:
                layers.append(nn.ReLU())
            layers += (Separable(channels, maps), nn.BatchNorm2d(maps))
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, 1))
            self.skip = nn.Conv2d(widths[0], widths[-1], 1, stride=stride, bias=False)
            self.skipbn = nn.BatchNorm2d(widths[-1])
        self.rep = nn.Sequential(*layers)
        self._is_strided = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths."""
        short = self.skipbn(self.skip(x)) if self._is_strided else x
        y: Tensor = self.rep(x) + short
        return y


class MeanOfMaps(nn.Module):
    """Mean over each map."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, maps) of (B, maps, H, W)."""
        return x.mean((2, 3))


def entry_flow() -> dict[str, nn.Module]:
    """Return the layers up to block 7 by name: from images to 728 maps of a 16th of their side."""
    return {
        "conv1": nn.Conv2d(3, 32, 3, stride=2, bias=False),
        "bn1": nn.BatchNorm2d(32),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(32, 64, 3, bias=False),
        "bn2": nn.BatchNorm2d(64),
        "relu2": nn.ReLU(),
        "block1": XceptionBlock((64, 128, 128), stride=2, has_first_relu=False),
        "block2": XceptionBlock((128, 256, 256), stride=2),
        "block3": XceptionBlock((256, MAPS, MAPS), stride=2),
        **{f"block{n}": XceptionBlock((MAPS,) * 4, stride=1) for n in range(4, 8)},
    }


def exit_flow() -> dict[str, nn.Module]:
    """Return the layers from block 8 on by name: from 728 maps to embeddings of 2048."""
    block12, conv3, conv4 = EXIT
    return {
        **{f"block{n}": XceptionBlock((MAPS,) * 4, stride=1) for n in range(8, 12)},
        "block12": XceptionBlock((MAPS, MAPS, block12), stride=2),
        "conv3": Separable(block12, conv3),
        "bn3": nn.BatchNorm2d(conv3),
        "relu3": nn.ReLU(),
        "conv4": Separable(conv3, conv4),
        "bn4": nn.BatchNorm2d(conv4),
        "relu4": nn.ReLU(),
        "pool": MeanOfMaps(),
    }


def check_size(size: int) -> None:
    """Raise ValueError if images of `size` px are too small: two convolutions do not pad."""
    if size < 7:
        raise ValueError("they are too small for its first two convolutions")


class Xception(nn.Sequential):
    """Xception with `n_classes` outputs, for images of at least 7 px.

    Takes images (B, 3, S, S) float32, RGB, -1 to 1; returns logits (B, n_classes). Weights are
    initialised as by PyTorch; the original starts from ImageNet's.
    """

    def __init__(self, n_classes: int, size: int) -> None:
        """Build layers, which do not depend on `size` (px)."""
        check_size(size)
        layers = entry_flow() | exit_flow() | {"last_linear": nn.Linear(EXIT[-1], n_classes)}
        super().__init__(OrderedDict(layers))
