"""What a network is fed with, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

Colour = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Colour order of a network's images, and what the levels 0 and 255 become."""

    colour: Colour
    low: float
    high: float


BGR_255 = InputSpec("BGR", 0, 255)
BGR_UNIT = InputSpec("BGR", 0, 1)
RGB_UNIT = InputSpec("RGB", 0, 1)
RGB_SIGNED = InputSpec("RGB", -1, 1)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network that can be trained: one row of the table."""

    build: Callable[[int, int], nn.Module]  # (number of classes, size in px) -> images to logits
    input: InputSpec
    size: int  # px of its original's images; others work where the architecture allows
    source: str  # paper, and where the layers come from
    layers: tuple[str, ...]  # whose maps are worth seeing, in order; the last is the usual one
    is_approximate: bool = False  # rebuilt from an incomplete description
