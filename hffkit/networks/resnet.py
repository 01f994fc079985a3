"""ResNet-18 (arXiv 1512.03385), with torchvision's names of layers."""

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, channels: int, maps: int, stride: int) -> None:
        """Build from `channels` to `maps` maps; with a stride the shortcut is a convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, maps, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(maps, maps, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(maps)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != maps:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, maps, 1, stride, bias=False), nn.BatchNorm2d(maps)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths after ReLU."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        both: Tensor = self.relu2(y + self.downsample(x))
        return both


class ResNet18(nn.Module):
    """ResNet-18 with `n_classes` outputs, for images of any size."""

    def __init__(self, n_classes: int, size: int) -> None:  # noqa: ARG002  (any size will do)
        """Build, with convolutions initialised as by He et al. (arXiv 1502.01852), by fan-out."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(64, 64, 1)
        self.layer2 = _layer(64, 128, 2)
        self.layer3 = _layer(128, 256, 2)
        self.layer4 = _layer(256, 512, 2)
        self.fc = nn.Linear(512, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S) float32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _layer(channels: int, maps: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels, maps, stride), BasicBlock(maps, maps, 1))
