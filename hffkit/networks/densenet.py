"""DenseNet-121 (arXiv 1608.06993), with torchvision's names of layers."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

_GROWTH = 32  # maps that each layer adds
_BOTTLENECK = 4 * _GROWTH
_BLOCKS = (6, 12, 24, 16)  # layers
_FIRST = 64  # maps
_MIN_SIZE = 32


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after normalisation and ReLU, joined to the input."""

    def __init__(self, channels: int) -> None:
        """Build for `channels` maps."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, _BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input maps and the new ones: (B, channels + 32, H, W)."""
        y = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat((x, self.conv2(self.relu2(self.norm2(y)))), 1)


class DenseNet121(nn.Module):
    """DenseNet-121 with `n_classes` outputs, for images of at least 32 px; the original has 224."""

    def __init__(self, n_classes: int, size: int) -> None:
        """Build, with convolutions initialised as by He et al. (arXiv 1502.01852)."""
        if size < _MIN_SIZE:
            raise ValueError("they are too small for its five poolings")
        super().__init__()
        layers: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, _FIRST, 7, 2, 3, bias=False),
            "norm0": nn.BatchNorm2d(_FIRST),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, 2, 1),
        }
        channels = _FIRST
        for number, n_layers in enumerate(_BLOCKS, 1):
            layers[f"denseblock{number}"] = _block(channels, n_layers)
            channels += n_layers * _GROWTH
            if number < len(_BLOCKS):
                layers[f"transition{number}"] = _transition(channels)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(OrderedDict(layers))
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(channels, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S) float32."""
        x = self.relu(self.features(images))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def _block(channels: int, n_layers: int) -> nn.Sequential:
    layers = {
        f"denselayer{number + 1}": DenseLayer(channels + number * _GROWTH)
        for number in range(n_layers)
    }
    return nn.Sequential(OrderedDict(layers))


def _transition(channels: int) -> nn.Sequential:
    layers: dict[str, nn.Module] = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "conv": nn.Conv2d(channels, channels // 2, 1, bias=False),
        "pool": nn.AvgPool2d(2, 2),
    }
    return nn.Sequential(OrderedDict(layers))
