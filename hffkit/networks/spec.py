"""Rows of the table of networks: input, construction and capabilities of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # records of runs have an InputSpec, and are read before PyTorch is needed
    from torch import Tensor, nn

from hffkit.media.image import ResizeFilter

Colour = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Preparation of a network's images, as in its original."""

    colour: Colour
    low: float  # value that level 0 becomes
    high: float  # value that level 255 becomes
    filter: ResizeFilter  # that resizes images; packed ones have the size already


BGR_255 = InputSpec("BGR", 0, 255, "opencv-linear")  # Caffe's convert_imageset
BGR_UNIT = InputSpec("BGR", 0, 1, "opencv-linear")  # albumentations, which calls OpenCV
RGB_255 = InputSpec("RGB", 0, 255, "opencv-linear")
RGB_UNIT = InputSpec("RGB", 0, 1, "pillow-nearest")  # Keras's load_img
RGB_SIGNED = InputSpec("RGB", -1, 1, "pillow-bilinear")  # torchvision's Resize


@dataclass(frozen=True, slots=True)
class HighQualityHead:
    """A second head, for images of high quality; such a network trains on pairs of qualities."""

    view: Callable[[Any], "nn.Module"]  # network -> module that runs this head on shared weights
    layers: tuple[str, ...]  # of the view: see NetworkSpec.layers


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Another network whose weights are an accepted initialisation."""

    network: str
    parts: tuple[str, ...]  # submodules; each takes the other network's layers that it has


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One row of the table: a network that can be trained, and its capabilities."""

    build: Callable[[int, int], "nn.Module"]  # (number of classes, size in px) -> images to logits
    input: InputSpec
    size: int  # px of its original's images; others work where the architecture allows
    source: str  # paper, and where the layers come from
    layers: tuple[str, ...]  # with instructive maps, in order; the last is the default
    is_approximate: bool = False  # rebuilt from an incomplete description
    traces: tuple[str, ...] = ()  # layers with manipulation traces; the first has three channels
    # (network or view, images (B, 3, S, S)) -> (B, 1, m, m) in 0..1
    attention_map: Callable[[Any, "Tensor"], "Tensor"] | None = None
    high_quality: HighQualityHead | None = None
    pretrained: Pretrained | None = None
    # Decides by an unbounded distance, whose softmax saturates: logits rank samples, not scores.
    ranks_by_logits: bool = False
