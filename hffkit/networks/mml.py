"""Two heads and a shared tail cut from Xception: metric learning against compression.

Cao et al., Metric Learning for Anti-Compression Facial Forgery Detection (MM 2021), as the code of
qinnzou/detect-fake-image has it: one head for images of high quality, one for those of low
quality, an attention map behind each, and a decision by the length of the tail's embedding.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from hffkit.errors import ArgumentError
from hffkit.networks.xception import MAPS, Separable, check_size, entry_flow, exit_flow

HeadName = Literal["hq", "lq"]
PUBLISHED_THRESHOLD = 9.0  # of the accuracy that its training prints; its test takes 5.0


class Head(nn.Sequential):
    """Xception up to block 7, whose maps are multiplied by an attention map made of them."""

    def __init__(self) -> None:
        """Build; the last two layers make the attention map."""
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
    """The network of Cao et al., for images of any size from 7 px.

    Takes images (B, 3, S, S) float32, RGB, -1 to 1; as any network of two classes it returns
    logits (B, 2) for fake and real, by the low-quality head: the published test runs no other.
    Weights are drawn as the original draws them; it then takes ImageNet's for all but `reg`.
    """

    threshold: Tensor

    def __init__(self, n_classes: int, size: int) -> None:
        """Build; `size` px change no layer. ArgumentError unless there are two classes."""
        check_size(size)
        if n_classes != 2:
            raise ArgumentError(
                f"mml tells fake from real, and nothing else: it has 2 outputs, not {n_classes}. "
                "Train it with --task binary."
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
        """Return where a head looks for forgery in images (B, 3, S, S): (B, 1, m, m) in 0..1."""
        attention: Tensor = self._head(head)(images)[1]
        return attention

    def logits(self, images: Tensor, head: HeadName) -> Tensor:
        """Return logits (B, 2) for fake and real, whose softmax is sigmoid(distance - threshold).

        Their difference is the distance itself less the threshold, however large.
        """
        half = (lengths(self.embed(images, head)[0].float()) - self.threshold) / 2
        return torch.stack((half, -half), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, 2) of images (B, 3, S, S), by the low-quality head."""
        return self.logits(images, "lq")

    def _head(self, name: HeadName) -> Head:
        return self.hq_head if name == "hq" else self.lq_head


class HighQuality(nn.Module):
    """The way through the high-quality head of a network, which it shares."""

    def __init__(self, net: Mml) -> None:
        """Take the network; nothing is copied."""
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, 2) of images (B, 3, S, S)."""
        return self.net.logits(images, "hq")

    def attention_map(self, images: Tensor) -> Tensor:
        """Return the high-quality head's attention (B, 1, m, m) in 0..1."""
        return self.net.attention_map(images, "hq")

    @staticmethod
    def layers(names: Iterable[str]) -> tuple[str, ...]:
        """Return the names that layers of the low-quality way have on this one."""
        return tuple(f"net.{name.replace('lq_head', 'hq_head')}" for name in names)


def attention_map(net: Mml | HighQuality, images: Tensor) -> Tensor:
    """Return the attention (B, 1, m, m) in 0..1 of the head that `net` runs."""
    return net.attention_map(images)


def lengths(embeddings: Tensor) -> Tensor:
    """Return the Euclidean distances (B,) of embeddings (B, E) from the origin, 1e-12 at least."""
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
    """Draw every convolution from a normal distribution of deviation sqrt(2 / (k k maps))."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            layer.weight.normal_(0, math.sqrt(2 / (height * width * layer.out_channels)))
