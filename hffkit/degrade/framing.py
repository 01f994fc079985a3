"""Sizes and crops of robustness suites: resize and back, fit, crop, shift of the JPEG grid.

Pillow resizes: its kernels widen when they reduce, which is anti-aliasing.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL.Image import Resampling

from hffkit.degrade.parameter import Choice, Interval, check, number_above, whole_from
from hffkit.errors import ImageError
from hffkit.manifest.seeds import rng_for
from hffkit.media.headers import MAX_PIXELS
from hffkit.media.image import Image, pixels_sha256

_MAX_SIDE = 16_384

_SIDE_RULE = whole_from(1, _MAX_SIDE)
SIDE = Choice("side", _SIDE_RULE, (64, 112, 224))
LONG_SIDE = Choice("long_side", _SIDE_RULE, (320, 720, 1080, 1280, 1600, 2048))
WIDTH = Choice("width", _SIDE_RULE, (320, 640, 720, 1080))
SQUARE = Choice("side", _SIDE_RULE, (128, 200, 224, 256))
SHARE = Interval("share", number_above(0, 1), 0.625, 1.0)
OFFSET = Choice("offset", whole_from(0, _MAX_SIDE), (1, 2, 3, 4, 5, 6, 7))
ZOOM = Choice("percent", whole_from(1, 1000), (67, 75, 80, 90, 110, 125, 150))


@dataclass(frozen=True, slots=True)
class ResizeAndBack:
    """Resize the shorter side to a number of pixels and back, both by one kernel of Pillow."""

    kernel: Resampling

    def __call__(self, image: Image, side: int) -> Image:
        """Return the image at its own size again."""
        height, width = image.shape[:2]
        short = min(height, width)
        small = (width * check(SIDE, side) // short, height * side // short)
        return _resized(_resized(image, small, self.kernel), (width, height), self.kernel)


def fit(image: Image, long_side: int) -> Image:
    """Reduce an image whose longer side exceeds `long_side` to it, bicubic; sizes rounded down."""
    height, width = image.shape[:2]
    return _reduced(image, check(LONG_SIDE, long_side) / max(height, width))


def fit_width(image: Image, width: int) -> Image:
    """Reduce an image that is wider than `width` to it, bicubic; the height is rounded down."""
    return _reduced(image, check(WIDTH, width) / image.shape[1])


def _reduced(image: Image, scale: float) -> Image:
    if scale >= 1:
        return image.copy()
    height, width = image.shape[:2]
    # A product just below the whole number that it stands for is not rounded down to the one below.
    size = (max(1, int(width * scale + 1e-9)), max(1, int(height * scale + 1e-9)))
    return _resized(image, size, Resampling.BICUBIC)


def to_square(image: Image, side: int) -> Image:
    """Resize to `side` x `side` pixels: Lanczos where that reduces, bicubic where it enlarges."""
    is_less = min(image.shape[:2]) > check(SQUARE, side)
    return _resized(image, (side, side), Resampling.LANCZOS if is_less else Resampling.BICUBIC)


def crop(image: Image, share: float) -> Image:
    """Keep the middle: `share` of both sides, rounded."""
    height, width = image.shape[:2]
    rows, columns = (max(1, round(n * check(SHARE, share))) for n in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns].copy()


def crop_square(image: Image, share: float) -> Image:
    """Keep a square of `share` of the shorter side, rounded, at a place that the pixels seed."""
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * check(SHARE, share)))
    rng = rng_for(0, "crop-square", pixels_sha256(image))
    top, left = rng.integers(0, (height - side, width - side), endpoint=True).tolist()
    return image[top : top + side, left : left + side].copy()


def shift_grid(image: Image, offset: int) -> Image:
    """Cut off `offset` rows and columns, so that the 8x8 grid of the next JPEG lies elsewhere."""
    height, width = image.shape[:2]
    if check(OFFSET, offset) >= min(height, width):
        raise ImageError(f"{width}x{height} pixels less {offset} rows and columns leave no pixel")
    return image[offset:, offset:].copy()


def screenshot(image: Image, percent: int) -> Image:
    """Show at a zoom of `percent` and capture that: bilinear with anti-aliasing, sizes rounded."""
    scale = check(ZOOM, percent) / 100
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    return _resized(image, (width, height), Resampling.BILINEAR)


def _resized(image: Image, size: tuple[int, int], kernel: Resampling) -> Image:
    if math.prod(size) > MAX_PIXELS:
        raise ImageError(f"{size[0]}x{size[1]} pixels are more than {MAX_PIXELS}")
    return np.array(PillowImage.fromarray(image).resize(size, kernel), np.uint8)
