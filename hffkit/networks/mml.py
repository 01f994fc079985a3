"""Xception cut into two heads and a shared tail, for metric learning against compression.

Cao et al., Metric Learning for Anti-Compression Facial Forgery Detection (MM 2021), as in the code
of qinnzou/detect-fake-image: one head for images of high quality and one for those of low quality,
an attention map after each, and a decision by the length of the tail's embedding.
"""

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from hffkit.errors import ArgumentError
from hffkit.networks.xception import MAPS, Separable, check_size, entry_flow, exit_flow

HeadName = Literal["hq", "lq"]
PUBLISHED_THRESHOLD = 9.0  # of the training's accuracy; the published test uses 5.0


class Head(nn.Sequential):
    """Xception up to block 7, with its maps multiplied by an attention map."""

    def __init__(self) -> None:
        """Build the layers, of which the last two compute the attention map."""
        super().__init__(
            OrderedDict(entry_flow() | {"reg": Separable(MAPS, 1), "sigmoid": nn.Sigmoid()})
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return masked maps (B, 728, m, m) and the attention map (B, 1, m, m) in 0..1."""
        *layers, reg, sigmoid = self
        x = images
        for layer in layers:
            x = layer(x)
        attention = sigmoid(reg(x))
        return x * attention, attention


class Mml(nn.Module):
    """The network of Cao et al., for images of at least 7 px.

    Takes images (B, 3, S, S) float32, RGB, -1 to 1; like any network with two classes it returns
    logits (B, 2) for fake and real, of the low-quality head, the only one in the published test.
    Weights are initialised as in the original, which then loads ImageNet's for all but `reg`.
    """

    threshold: Tensor

    def __init__(self, n_classes: int, size: int) -> None:
        """Build layers for any `size` (px); ArgumentError unless there are two classes."""
        check_size(size)
        if n_classes != 2:
            raise ArgumentError(
                f"mml separates fake from real and has 2 outputs, got {n_classes} classes. Train "
                "it with `task` = binary."
            )
        super().__init__()
        self.hq_head, self.lq_head = Head(), Head()
        self.tail = nn.Sequential(OrderedDict(exit_flow()))
        self.register_buffer("threshold", torch.tensor(PUBLISHED_THRESHOLD))
        _draw(self)

    def embed(self, images: Tensor, head: HeadName = "lq") -> tuple[Tensor, Tensor]:
        """Return embeddings (B, 2048) and attention maps (B, 1, m, m) in 0..1 of images."""
        maps, attention = self._head(head)(images)
        return self.tail(maps), attention

    def attention_map(self, images: Tensor, head: HeadName = "lq") -> Tensor:
        """Return a head's attention (B, 1, m, m) in 0..1 to images (B, 3, S, S)."""
        attention: Tensor = self._head(head)(images)[1]
        return attention

    def logits(self, images: Tensor, head: HeadName) -> Tensor:
        """Return logits (B, 2) for fake and real, whose softmax is sigmoid(distance - threshold).

        Their difference is the distance minus the threshold, however large.
        """
        half = (lengths(self.embed(images, head)[0].float()) - self.threshold) / 2
        return torch.stack((half, -half), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, 2) of images (B, 3, S, S), by the low-quality head."""
        return self.logits(images, "lq")

    def _head(self, name: HeadName) -> Head:
        return self.hq_head if name == "hq" else self.lq_head


class HighQuality(nn.Module):
    """View of a network that runs its high-quality head."""

    def __init__(self, net: Mml) -> None:
        """Take the network, whose weights are shared."""
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, 2) of images (B, 3, S, S)."""
        return self.net.logits(images, "hq")

    def attention_map(self, images: Tensor) -> Tensor:
        """Return the high-quality head's attention (B, 1, m, m) in 0..1."""
        return self.net.attention_map(images, "hq")


def lengths(embeddings: Tensor) -> Tensor:
    """Return the Euclidean lengths (B,) of embeddings (B, E), at least 1e-12."""
    found: Tensor = embeddings.norm(dim=1)
    return found.clamp(1e-12, 1e12)


def map_side(size: int) -> int:
    """Return the side m of the attention map of images of `size` px: 19 for 299."""
    side = (size - 3) // 2 - 1  # two convolutions that do not pad, the first with a stride of 2
    for _ in range(3):
        side = (side + 1) // 2
    return side


@torch.no_grad()
def _draw(net: nn.Module) -> None:
    """Draw all convolutions from a normal distribution of deviation sqrt(2 / (k k maps))."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            layer.weight.normal_(0, math.sqrt(2 / (height * width * layer.out_channels)))
