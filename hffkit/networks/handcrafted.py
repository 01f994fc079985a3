"""Hand-Crafted-Res (Mo, Chen and Luo, IH&MMSec 2018), rebuilt from an incomplete description.

The paper's layer table is not public: filters, widths and slope are guesses, so accuracies of this
network say little about the original's.
"""

from collections import OrderedDict

from torch import Tensor, nn

from hffkit.networks.caffe import xavier_
from hffkit.networks.residual import HAND_CRAFTED, FixedFilters

_GROUPS = (32, 64, 128)  # maps
_SLOPE = 0.2


class HandCraftedRes(nn.Module):
    """High-pass residuals, groups of convolution and pooling, three fully connected layers.

    Takes images (B, 3, S, S) float32, RGB, 0 to 255; returns logits (B, n_classes).
    """

    def __init__(self, n_classes: int, size: int) -> None:
        """Build for images of `size` px."""
        super().__init__()
        self.residual = FixedFilters(HAND_CRAFTED)
        self.groups = nn.Sequential()
        channels, side = len(HAND_CRAFTED), size
        for maps in _GROUPS:
            self.groups.append(_group(channels, maps))
            channels, side = maps, -(-side // 2)  # each group halves the sides, rounded up
        self.fc1 = nn.Linear(channels * side * side, 1024)
        self.lrelu1 = nn.LeakyReLU(_SLOPE)
        self.fc2 = nn.Linear(1024, 512)
        self.lrelu2 = nn.LeakyReLU(_SLOPE)
        self.fc3 = nn.Linear(512, n_classes)
        xavier_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S)."""
        x = self.groups(self.residual(images)).flatten(1)
        x = self.lrelu1(self.fc1(x))
        x = self.lrelu2(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def _group(channels: int, maps: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(channels, maps, 3, padding=1),
            lrelu=nn.LeakyReLU(_SLOPE),
            pool=nn.MaxPool2d(2, ceil_mode=True),
        )
    )
