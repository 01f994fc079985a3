"""Operations on images, of two kinds: filters and codecs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

from hffkit.degrade.parameter import Parameter, V
from hffkit.media.image import Image


@dataclass(frozen=True, slots=True)
class Applied:
    """The pixels that an operation made, and facts about them for the manifest."""

    image: Image
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filter(Generic[V]):
    """An operation that maps pixels to pixels."""

    code: str  # name on the command line, lower case
    title: str  # name in words
    parameter: Parameter[V]
    function: Callable[[Image, V], Image]  # (H, W, 3) uint8 RGB to a new one

    def apply(self, image: Image, value: V) -> Applied:
        """Apply the function to an image."""
        return Applied(self.function(image, value))


@dataclass(frozen=True, slots=True)
class Codec(Generic[V]):
    """An operation that encodes an image with losses and decodes it again."""

    code: str
    title: str
    parameter: Parameter[V]
    encode: Callable[[Image, V], bytes]
    decode: Callable[[bytes], Image]

    def apply(self, image: Image, value: V) -> Applied:
        """Return the decoded image and its compression ratio, raw bytes over encoded bytes."""
        encoded = self.encode(image, value)
        height, width = image.shape[:2]
        decoded = self.decode(encoded)[:height, :width]  # a codec may pad to even sides
        return Applied(decoded, {"ratio": round(image.nbytes / len(encoded), 4)})


Operation = Filter[V] | Codec[V]
"""A row of the table of operations."""
