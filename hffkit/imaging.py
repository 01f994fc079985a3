"""Bytes to pixels and back: the only module that decodes or encodes a picture.

An image is (H, W, 3) uint8 RGB. Decoding is OpenCV's colour decoding, as Caffe's: 16-bit samples
keep their high byte, grey is repeated, alpha is dropped, EXIF rotation is applied.
"""

import hashlib
import io
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from hffkit.errors import ImageError

# OpenCV and the FFmpeg in it write to stderr for each damaged file; we report those ourselves.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

Image = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
)
# Pillow's own limit: 537 MB once decoded. Larger headers are damaged files or attacks, not faces.
MAX_PIXELS = 178_956_970
# Run-length matching after filtering: on face crops as small as deflate's level 6 in a quarter of
# its time (35.6 against 36.1 kB, 3.4 against 11.9 ms; OpenCV's unset default: 52.5 kB, 1.7 ms).
_PNG_SETTINGS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]

logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of a picture say, without decoding it."""

    format: str  # Pillow's name: "JPEG", "PNG", ...
    width: int  # px
    height: int  # px


def read_header(encoded: bytes) -> Header:
    """Return format and size of a picture.

    Raises
    ------
    ImageError
        If the bytes are no picture, or one of more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as picture:
                header = Header(str(picture.format), *picture.size)
    except UnidentifiedImageError:
        raise ImageError(_no_picture(encoded)) from None
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's parsers raise
        raise ImageError(f"damaged header: {error}") from None
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(
            f"too large: {header.width}x{header.height}; at most {MAX_PIXELS} pixels are read"
        )
    return header


def _no_picture(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    if encoded.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")):
        return f"cut short or damaged: {len(encoded)} bytes that begin as a picture"
    return f"no picture: starts with {encoded[:8]!r}"


def decode(encoded: bytes) -> Image:
    """Return the pixels of an encoded picture.

    Raises
    ------
    ImageError
        If the bytes are no picture, are cut short, or hold more than `MAX_PIXELS`.
    """
    header = read_header(encoded)
    # Up to OpenCV 4 a JPEG that was cut short decodes in silence, its lower part grey.
    if header.format == "JPEG" and not _jpeg_has_end(encoded):
        raise ImageError("cut short: the JPEG's end is missing")
    if header.format == "PNG" and not _png_has_end(encoded):
        raise ImageError("cut short: a chunk of the PNG runs past its end")
    try:
        bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"damaged {header.format}: {error.err}") from None
    if bgr is None:
        raise ImageError(f"damaged {header.format}: it cannot be decoded")
    return from_bgr(bgr)


def _jpeg_has_end(encoded: bytes) -> bool:
    """Tell whether an end marker follows the first scan; segments before may hold thumbnails."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        if encoded[at + 1] == 0xDA:
            return encoded.find(b"\xff\xd9", at) > 0
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return True  # an uncommon but possible order of markers: the decoder will tell


def _png_has_end(encoded: bytes) -> bool:
    """Tell whether every chunk is there whole: decoders allocate what a chunk claims."""
    at = 8
    while at + 8 <= len(encoded):
        if encoded[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(encoded[at : at + 4], "big")
    return False


def from_bgr(bgr: npt.NDArray[Any]) -> Image:
    """Return OpenCV's blue-green-red pixels as an image."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a picture file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None


def encode_png(image: Image) -> bytes:
    """Return `image` as PNG, always with the same encoder and settings."""
    ok, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG_SETTINGS)
    if not ok:
        raise ImageError(f"an image of shape {image.shape} cannot be encoded as PNG")
    return encoded.tobytes()


def resize(image: Image, size: int) -> Image:
    """Return `image` as (size, size, 3), as Caffe's convert_imageset resizes.

    cv2 INTER_LINEAR: no anti-aliasing, the aspect ratio is not kept.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def grey(image: Image) -> Image:
    """Return the (H, W) uint8 luma of an image, by cv2 RGB2GRAY."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def thumbnail(grey_image: Image, width: int) -> Image:
    """Return an (h, width) uint8 reduction of a grey image, each pixel the mean of its area."""
    height = max(1, round(width * grey_image.shape[0] / grey_image.shape[1]))
    small = cv2.resize(grey_image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def pixels_sha256(image: Image) -> str:
    """Return the SHA-256 of an image: height and width as ASCII ("128 128 "), then RGB bytes."""
    height, width = image.shape[:2]
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
