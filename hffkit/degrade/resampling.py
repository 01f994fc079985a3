"""Resampling (SC of Table IX): both sides enlarged or reduced by a percentage."""

import cv2
import numpy as np

from hffkit.degrade.parameter import Choice, Rule, check, whole, whole_from
from hffkit.errors import ImageError
from hffkit.media.headers import MAX_PIXELS
from hffkit.media.image import Image

_UP = (1, 3, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
_DOWN = (1, 3, 5, 10, 15, 20, 25, 30, 35, 40, 45)


def _signed(text: str) -> int:
    """Parse a whole number with its sign, without which "50" could mean larger or smaller."""
    if text[:1] not in ("+", "-"):
        raise ValueError(text)
    return whole(text)


PERCENT = Choice(
    "percent",
    Rule("a whole number from -99 to +900 with its sign", _signed, whole_from(-99, 900).allows),
    (*(-p for p in reversed(_DOWN)), *_UP),
)


def scale_linear(image: Image, percent: int) -> Image:
    """Change both sides by `percent` with OpenCV INTER_LINEAR, without anti-aliasing.

    128 px become 70 (-45) to 243 (+90). The result is not scaled back.
    """
    return _scale(image, percent, cv2.INTER_LINEAR)


def scale_cubic(image: Image, percent: int) -> Image:
    """Change both sides by `percent` with OpenCV INTER_CUBIC."""
    return _scale(image, percent, cv2.INTER_CUBIC)


def _scale(image: Image, percent: int, interpolation: int) -> Image:
    factor = (100 + check(PERCENT, percent)) / 100
    height, width = image.shape[:2]
    if round(width * factor) < 1 or round(height * factor) < 1:
        raise ImageError(f"{width}x{height} pixels scaled by {percent:+} % leave no pixel")
    if width * height * factor**2 > MAX_PIXELS:
        raise ImageError(
            f"{width}x{height} pixels scaled by {percent:+} % are more than {MAX_PIXELS}"
        )
    scaled = cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)
    return np.asarray(scaled, np.uint8)
