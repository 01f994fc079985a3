"""VGG-11 with batch normalisation (arXiv 1409.1556), with torchvision's names of layers."""

from torch import Tensor, nn

_POOL = 0
_WIDTHS = (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512, _POOL)
_SIDE = 7  # of the maps that the fully connected layers take
_MIN_SIZE = 32


class Vgg11Bn(nn.Module):
    """VGG-11-BN with `n_classes` outputs, for images of at least 32 px; the original has 224."""

    def __init__(self, n_classes: int, size: int) -> None:
        """Build, initialised as by torchvision."""
        if size < _MIN_SIZE:
            raise ValueError("they are too small for its five poolings")
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _WIDTHS:
            if width == _POOL:
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += (nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(_SIDE)
        self.classifier = nn.Sequential(
            nn.Linear(channels * _SIDE**2, 4096), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, n_classes),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S) float32."""
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits
