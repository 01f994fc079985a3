"""What an operation is, and what it leaves: pixels, and a line of facts for the manifest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol

from hffkit.degrade.parameter import Parameter, V
from hffkit.media.image import Image


@dataclass(frozen=True, slots=True)
class Applied:
    """The pixels that an operation made, and what it found out on the way."""

    image: Image
    facts: Mapping[str, float] = field(default_factory=dict)


class Operation(Protocol[V]):
    """A row of the table of operations."""

    @property
    def code(self) -> str:
        """Its name on the command line, lower case."""

    @property
    def title(self) -> str:
        """Its name in words."""

    @property
    def parameter(self) -> Parameter[V]:
        """The value that it takes."""

    def apply(self, image: Image, value: V) -> Applied:
        """Return a new (H, W, 3) uint8 RGB image; `image` stays as it is."""


@dataclass(frozen=True, slots=True)
class Filter(Generic[V]):
    """An operation that turns pixels into pixels."""

    code: str
    title: str
    parameter: Parameter[V]
    function: Callable[[Image, V], Image]

    def apply(self, image: Image, value: V) -> Applied:
        """Return what the function makes of `image`."""
        return Applied(self.function(image, value))


@dataclass(frozen=True, slots=True)
class Codec(Generic[V]):
    """An operation that stores an image with losses and reads it back."""

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
