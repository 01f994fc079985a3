"""Xception (arXiv 1610.02357), as the code of FaceForensics++ has it.

Layers carry the names of that code, so that its weights load by name.
"""

from itertools import pairwise

from torch import Tensor, nn


class Separable(nn.Module):
    """A 3x3 convolution of each channel alone, then a 1x1 convolution; no biases."""

    def __init__(self, channels: int, maps: int) -> None:
        """Build from `channels` to `maps` maps of the same size."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, maps, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, maps, H, W)."""
        y: Tensor = self.pointwise(self.conv1(x))
        return y


class Block(nn.Module):
    """ReLU, separable convolution and normalisation, over and over, beside a short way."""

    def __init__(
        self, widths: tuple[int, ...], *, stride: int, has_first_relu: bool = True
    ) -> None:
        """Build one separable convolution for each step from a width to the next.

        With a stride, both ways shrink the maps and the short way is a convolution; without, the
        first and the last width are equal and the short way is the identity.
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
        """Return the sum of both ways."""
        short = self.skipbn(self.skip(x)) if self._is_strided else x
        y: Tensor = self.rep(x) + short
        return y


class Xception(nn.Module):
    """Xception with `n_classes` outputs, for images of any size from 7 px.

    Takes images (B, 3, S, S) float32, RGB, -1 to 1; returns logits (B, n_classes). Weights are
    drawn as PyTorch does: the original starts from ImageNet's.
    """

    def __init__(self, n_classes: int, size: int) -> None:
        """Build; `size` px change no layer, but two convolutions do not pad."""
        if size < 7:
            raise ValueError("they are too small for its first two convolutions")
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu2 = nn.ReLU()
        self.block1 = Block((64, 128, 128), stride=2, has_first_relu=False)
        self.block2 = Block((128, 256, 256), stride=2)
        self.block3 = Block((256, 728, 728), stride=2)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block((728, 728, 728, 728), stride=1))
        self.block12 = Block((728, 728, 1024), stride=2)
        self.conv3 = Separable(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.relu3 = nn.ReLU()
        self.conv4 = Separable(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.relu4 = nn.ReLU()
        self.last_linear = nn.Linear(2048, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S)."""
        x = self.relu1(self.bn1(self.conv1(images)))
        x = self.relu2(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.relu4(self.bn4(self.conv4(x)))
        logits: Tensor = self.last_linear(x.mean((2, 3)))
        return logits
