"""Meso-4 and MesoInception-4 (arXiv 1809.00888), as in the authors' Keras code.

Inputs are (B, 3, S, S) float32, RGB, 0 to 1; outputs are (B, n_classes) logits. The original has
one output and a sigmoid. Maps are flattened as channel, row, column; Keras has row, column,
channel. Pooling rounds up as Keras's "same" does, and equals it if 32 divides the size.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class Meso4(nn.Module):
    """Four blocks of convolution, ReLU, normalisation and pooling, and a layer of 16 units."""

    def __init__(self, n_classes: int, size: int) -> None:
        """Build for images of `size` px."""
        super().__init__()
        channels = self._add_first_blocks()
        self.block3 = _block(16, 2, conv=nn.Conv2d(channels, 16, 5, padding=2), relu=nn.ReLU())
        self.block4 = _block(16, 4, conv=nn.Conv2d(16, 16, 5, padding=2), relu=nn.ReLU())
        self.head = _head(n_classes, size)
        _glorot_(self)

    def _add_first_blocks(self) -> int:
        """Add blocks 1 and 2, and return the number of their maps."""
        self.block1 = _block(8, 2, conv=nn.Conv2d(3, 8, 3, padding=1), relu=nn.ReLU())
        self.block2 = _block(8, 2, conv=nn.Conv2d(8, 8, 5, padding=2), relu=nn.ReLU())
        return 8

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S)."""
        x = self.block2(self.block1(images))
        x = self.block4(self.block3(x))
        logits: Tensor = self.head(x.flatten(1))
        return logits


class MesoInception4(Meso4):
    """Meso-4 with two blocks of Inception in place of the first two convolutions."""

    def _add_first_blocks(self) -> int:
        self.block1 = _block(11, 2, inception=Inception(3, (1, 4, 4, 2)))
        self.block2 = _block(12, 2, inception=Inception(11, (2, 4, 4, 2)))
        return 12


class Inception(nn.Module):
    """Four parallel branches, the last three with dilations 1, 2 and 3; ReLU after every layer."""

    def __init__(self, channels: int, maps: tuple[int, int, int, int]) -> None:
        """Build from `channels` to sum(`maps`) maps."""
        super().__init__()
        self.branch1 = nn.Sequential(nn.Conv2d(channels, maps[0], 1), nn.ReLU())
        self.branch2 = _branch(channels, maps[1], 1)
        self.branch3 = _branch(channels, maps[2], 2)
        self.branch4 = _branch(channels, maps[3], 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the concatenated branches: (B, sum of maps, H, W)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], 1)


def _branch(channels: int, maps: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, maps, 1),
        nn.ReLU(),
        nn.Conv2d(maps, maps, 3, padding=dilation, dilation=dilation),
        nn.ReLU(),
    )


def _block(maps: int, pool: int, **layers: nn.Module) -> nn.Sequential:
    """Return `layers` with `maps` maps, then normalisation and pooling by `pool`."""
    layers["bn"] = nn.BatchNorm2d(maps, eps=1e-3, momentum=0.01)  # as Keras, whose momentum is 0.99
    layers["pool"] = nn.MaxPool2d(pool, ceil_mode=True)
    return nn.Sequential(OrderedDict(layers))


def _head(n_classes: int, size: int) -> nn.Sequential:
    side = -(-size // 32)  # rounding up at each of the four poolings is rounding up once
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            dropout1=nn.Dropout(0.5),
            fc1=nn.Linear(16 * side * side, 16),
            lrelu=nn.LeakyReLU(0.1),
            dropout2=nn.Dropout(0.5),
            fc2=nn.Linear(16, n_classes),
        )
    )


@torch.no_grad()
def _glorot_(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
