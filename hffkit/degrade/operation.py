"""Operations on images, which are filters and codecs; and settings of whole videos."""

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic

from hffkit.degrade.parameter import Parameter, V
from hffkit.errors import ArgumentError, HffkitError, OwnCodeError
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


@dataclass(frozen=True, slots=True)
class VideoSetting(Generic[V]):
    """A setting of the encoder of whole videos, such as the frame rate, which no image has."""

    code: str
    title: str
    parameter: Parameter[V]

    def apply(self, image: Image, value: V) -> Applied:
        """Raise ArgumentError."""
        raise ArgumentError(
            f"{self.code}:{value} is for whole videos, and an image of shape {image.shape} is none."
        )


Operation = Filter[V] | Codec[V] | VideoSetting[V]
"""A row of the table of operations."""

OWN_MODULE = "hffkit_operations_"  # the start of the names of modules with a user's operations


class ErrorsOfOwnCode:
    """A context that turns an error which passed through a user's module into an OwnCodeError.

    The error may be of any class, of a library that the module calls, or an attempt to end the
    program; others are raised as they are.
    """

    def __enter__(self) -> None:
        """Begin a call of a user's code."""

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, _OF_ANY_CODE):
            return
        places = [
            f"{frame.f_code.co_filename}:{line}"
            for frame, line in traceback.walk_tb(trace)
            if str(frame.f_globals.get("__name__")).startswith(OWN_MODULE)
        ]
        if places:
            reason = " ".join(f"{type(error).__name__}{_text_of(error)}".split())
            raise OwnCodeError(
                f"{places[-1]}: {reason}. Correct the code of the operation."
            ) from None


_OF_ANY_CODE = (HffkitError, KeyboardInterrupt, MemoryError)  # not wrong in the user's


def _text_of(error: BaseException) -> str:
    """Return what an error says, after a colon; the error may be of any class."""
    with suppress(Exception):
        return f": {error}" if str(error) else ""
    return ""
