"""EfficientNet-B0 (arXiv 1905.11946), with torchvision's names of layers."""

import math

import torch
from torch import Tensor, nn

# Of each stage: expansion, kernel, stride, maps, blocks (Table 1 of the paper).
_STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
_FIRST, _LAST = 32, 1280  # maps
_DROPOUT = 0.2
_DROP_PATH = 0.2  # of the deepest block; rising evenly towards it


class StochasticDepth(nn.Module):
    """Skip a block for random images of a batch in training (arXiv 1603.09382)."""

    def __init__(self, p: float) -> None:
        """Take the probability `p` of skipping the block for an image."""
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training zero for skipped images and scaled up for the others."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) >= self.p
        return x * kept / (1 - self.p)


class SqueezeExcitation(nn.Module):
    """Weights for maps, computed from the means of all maps (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        """Build for `channels` maps and `squeezed` hidden units."""
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.SiLU()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, scaled."""
        scale = self.fc2(self.activation(self.fc1(x.mean((2, 3), keepdim=True))))
        y: Tensor = self.scale_activation(scale) * x
        return y


class MBConv(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; with a shortcut."""

    def __init__(
        self, channels: int, maps: int, *, expansion: int, kernel: int, stride: int, drop: float
    ) -> None:
        """Build from `channels` to `maps` maps; with a shortcut if input and output match."""
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_layer(channels, wide, 1)]
        layers += [
            _layer(wide, wide, kernel, stride, groups=wide),
            SqueezeExcitation(wide, max(1, channels // 4)),
            _layer(wide, maps, 1, is_linear=True),
        ]
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop)
        self._has_shortcut = stride == 1 and channels == maps

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, maps, H, W)."""
        y: Tensor = self.block(x)
        return x + self.stochastic_depth(y) if self._has_shortcut else y


class EfficientNetB0(nn.Module):
    """EfficientNet-B0 with `n_classes` outputs, for images of any size; the original has 224 px."""

    def __init__(self, n_classes: int, size: int) -> None:  # noqa: ARG002  (any size will do)
        """Build, initialised as by torchvision."""
        super().__init__()
        n_blocks = sum(stage[-1] for stage in _STAGES)
        layers: list[nn.Module] = [_layer(3, _FIRST, 3, 2)]
        channels, done = _FIRST, 0
        for expansion, kernel, stride, maps, n in _STAGES:
            blocks = nn.Sequential()
            for _ in range(n):
                drop = _DROP_PATH * done / n_blocks
                blocks.append(
                    MBConv(
                        channels, maps, expansion=expansion, kernel=kernel, stride=stride, drop=drop
                    )
                )
                channels, stride = maps, 1
                done += 1
            layers.append(blocks)
        layers.append(_layer(channels, _LAST, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(_LAST, n_classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.out_features)
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, 3, S, S) float32."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def _layer(
    channels: int, maps: int, kernel: int, stride: int = 1, *, groups: int = 1,
    is_linear: bool = False,
) -> nn.Sequential:  # fmt: skip
    """Return a convolution, normalisation and, unless linear, SiLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, maps, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(maps),
    ]
    return nn.Sequential(*layers) if is_linear else nn.Sequential(*layers, nn.SiLU())
