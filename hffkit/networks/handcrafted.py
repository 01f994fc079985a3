"""Hand-Crafted-Res (Mo, Chen and Luo, IH&MMSec 2018), rebuilt from what is known of it.

The paper's layer table is not public: the filters, the widths and the slope are our guesses,
so accuracies of this network say little about the original's.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from hffkit.networks.caffe import xavier_
from hffkit.networks.residual import HAND_CRAFTED, FixedFilters, Kernel


class HandCraftedRes(nn.Module):
    """High-pass residuals, groups of convolution and pooling, three fully connected layers.

    Takes images (B, 3, S, S) float32, RGB, 0 to 255; returns logits (B, n_classes).
    """

    def __init__(
        self,
        n_classes: int,
        size: int,
        *,
        kernels: Sequence[Kernel] = HAND_CRAFTED,
        groups: Sequence[int] = (32, 64, 128),
        slope: float = 0.2,
    ) -> None:
        """Build for images of `size` px.

        Parameters
        ----------
        n_classes, size
            Of the outputs and the images (px).
        kernels
            Of the fixed front end, see FixedFilters.
        groups
            Maps of each group of layers; each halves the sides, rounded up.
        slope
            Of every LeakyReLU below 0.
        """
        super().__init__()
        self.residual = FixedFilters(kernels)
        self.groups = nn.Sequential()
        channels, side = len(kernels), size
        for maps in groups:
            self.groups.append(_group(channels, maps, slope))
            channels, side = maps, -(-side // 2)
        self.fc1 = nn.Linear(channels * side * side, 1024)
        self.lrelu1 = nn.LeakyReLU(slope)
        self.fc2 = nn.Linear(1024, 512)
        self.lrelu2 = nn.LeakyReLU(slope)
        self.fc3 = nn.Linear(512, n_classes)
        xavier_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S)."""
        x = self.groups(self.residual(images)).flatten(1)
        x = self.lrelu1(self.fc1(x))
        x = self.lrelu2(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


def _group(channels: int, maps: int, slope: float) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(channels, maps, 3, padding=1),
            lrelu=nn.LeakyReLU(slope),
            pool=nn.MaxPool2d(2, ceil_mode=True),
        )
    )
