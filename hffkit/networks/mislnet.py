"""MISLnet (Bayar and Stamm, TIFS 2018), as in the authors' Caffe scripts."""

from collections.abc import Callable

from torch import Tensor, nn

from hffkit.networks.amten import pooled_side
from hffkit.networks.caffe import BatchNorm, Scale, average_pool, max_pool, xavier_
from hffkit.networks.constraint import ConstrainedConv2d, project

_BIASES = {"conv1": 0.1, "conv2": 0.1, "conv3": 0.1, "conv4": 0.1, "fc6": 1.0, "fc7": 1.0}


class MislNet(nn.Module):
    """A constrained convolution, four blocks with TanH, three fully connected layers.

    Takes images (B, channels, S, S) float32, 0 to 255; returns logits (B, n_classes).
    """

    def __init__(self, n_classes: int, size: int, *, channels: int = 3) -> None:
        """Build for images of `size` px; the original takes the green channel of 256 px."""
        super().__init__()
        side = size - 4  # convF does not pad
        side = pooled_side((side - 1) // 2 + 1)
        for _ in range(3):
            side = pooled_side(side)
        if side < 1:
            raise ValueError("they are too small for its four poolings")
        self.convF = ConstrainedConv2d(channels, 3)
        self._add_block(1, nn.Conv2d(3, 96, 7, stride=2, padding=3))
        self._add_block(2, nn.Conv2d(96, 64, 5, padding=2))
        self._add_block(3, nn.Conv2d(64, 64, 5, padding=2))
        self._add_block(4, nn.Conv2d(64, 128, 1), pool=average_pool)
        self.fc6 = nn.Linear(128 * side * side, 200)
        self.tanh6 = nn.Tanh()
        self.fc7 = nn.Linear(200, 200)
        self.tanh7 = nn.Tanh()
        self.fc8 = nn.Linear(200, n_classes)
        xavier_(self, biases=_BIASES)
        project(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, n_classes) of images (B, channels, S, S)."""
        x = self.convF(images)
        for number in (1, 2, 3, 4):
            for layer in ("conv", "bn", "scale", "tanh", "pool"):
                x = self.get_submodule(f"{layer}{number}")(x)
        x = self.tanh6(self.fc6(x.flatten(1)))
        x = self.tanh7(self.fc7(x))
        logits: Tensor = self.fc8(x)
        return logits

    def _add_block(
        self, number: int, conv: nn.Conv2d, *, pool: Callable[[], nn.Module] = max_pool
    ) -> None:
        self.add_module(f"conv{number}", conv)
        self.add_module(f"bn{number}", BatchNorm(conv.out_channels))
        self.add_module(f"scale{number}", Scale(conv.out_channels))
        self.add_module(f"tanh{number}", nn.Tanh())
        self.add_module(f"pool{number}", pool())
