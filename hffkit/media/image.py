"""Decode, encode and resize images, (H, W, 3) uint8 RGB; no other module has an image codec.

Images are decoded by OpenCV in colour, as in Caffe: 16-bit samples keep their high byte, grey is
repeated, alpha is dropped, EXIF rotation is applied.
"""

import hashlib
import io
import logging
import os
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from imagecodecs import deflate_crc32, deflate_encode
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from hffkit.errors import ImageError
from hffkit.media.files import check_regular

# OpenCV and its FFmpeg write to stderr for each damaged file, and hffkit reports these itself.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

Image = npt.NDArray[np.uint8]

ResizeFilter = Literal["opencv-linear", "pillow-bilinear", "pillow-nearest"]
CONVERT_IMAGESET: ResizeFilter = "opencv-linear"  # the filter of Caffe's tool and of packed corpora
_PILLOW: Mapping[ResizeFilter, PillowImage.Resampling] = {
    "pillow-bilinear": PillowImage.Resampling.BILINEAR,
    "pillow-nearest": PillowImage.Resampling.NEAREST,
}

# Pillow's own limit: 537 MB once decoded. Headers of larger images are damaged or malicious.
MAX_PIXELS = 178_956_970
MAX_BYTES = 8 * MAX_PIXELS  # of a file: so many pixels with alpha and 16 bits, uncompressed
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, RGB, and three zeros
_PNG_UP = 2  # the filter that subtracts from each byte the byte above it

_JPEG_420 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)

logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Header:
    """Format and size of an encoded image."""

    format: str  # Pillow's name: "JPEG", "PNG", ...
    width: int  # px
    height: int  # px


def read_header(encoded: bytes) -> Header:
    """Read format and size of an image without decoding it.

    Raises
    ------
    ImageError
        If the bytes are no image, or one of more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as opened:
                header = Header(str(opened.format), *opened.size)
    except UnidentifiedImageError:
        raise ImageError(_no_image(encoded)) from None
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow's parsers
        raise ImageError(f"damaged header: {error}") from None
    return _bounded(header)


# Fill bytes and markers without a length field: legal but rare.
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA), 0xFF})
# 0xFF, marker and length; in a frame header also bits per sample, height and width.
_JPEG_SEGMENT = struct.Struct(">BBHBHH")


def _jpeg_header(encoded: bytes) -> Header | None:
    """Read a JPEG header 20 times as fast as Pillow; return None for rare ones.

    Raises
    ------
    ImageError
        If no end marker follows the first scan; segments before it may hold thumbnails.
    """
    header = None
    at, last = 2, len(encoded) - _JPEG_SEGMENT.size
    while at <= last:
        start, marker, length, _, height, width = _JPEG_SEGMENT.unpack_from(encoded, at)
        if start != 0xFF:
            break
        if marker in _WITHOUT_LENGTH:
            return None
        if 0xC0 <= marker <= 0xC2:
            header = Header("JPEG", width, height)
        elif marker == 0xDA:
            # OpenCV 4 decodes a truncated JPEG without an error, its lower part grey.
            if encoded.rfind(b"\xff\xd9", at) < 0:  # usually at the very end
                raise ImageError("cut short: the JPEG's end is missing")
            break
        at += 2 + length
    return header


def _png_header(encoded: bytes) -> Header | None:
    """Read a PNG header faster than Pillow; return None if it does not come first.

    Raises
    ------
    ImageError
        If a chunk is truncated: decoders allocate the length that it claims.
    """
    if encoded[12:16] != b"IHDR":
        return None
    at = 8
    while encoded[at + 4 : at + 8] != b"IEND":
        if at + 8 > len(encoded):
            raise ImageError("cut short: a chunk of the PNG runs past its end")
        at += 12 + int.from_bytes(encoded[at : at + 4], "big")
    return Header("PNG", *struct.unpack_from(">II", encoded, 16))


_QUICK_HEADERS: Mapping[bytes, Callable[[bytes], Header | None]] = {
    _JPEG_SIGNATURE: _jpeg_header,
    b"\x89PN": _png_header,
}


def _bounded(header: Header) -> Header:
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(
            f"too large: {header.width}x{header.height}; at most {MAX_PIXELS} pixels are read"
        )
    return header


def _no_image(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    if encoded.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")):
        return f"cut short or damaged: {len(encoded)} bytes that begin as an image"
    start = encoded[:8].strip()
    if start.isascii() and start.decode("ascii").isprintable():
        return f"no image: starts with {start.decode('ascii')!r}"
    return f"no image: starts with the bytes {encoded[:8].hex(' ')}"


def decode(encoded: bytes) -> Image:
    """Decode an image to (H, W, 3) uint8 RGB.

    Raises
    ------
    ImageError
        If the bytes are no image, are truncated, or hold more than `MAX_PIXELS`.
    """
    return _pixels(encoded, _checked_header(encoded).format)


def decode_grey(encoded: bytes) -> Image:
    """Decode an image to (H, W) uint8 grey.

    A JPEG gives its own luma, as cv2.imread(file, 0) does: the Y plane that the file holds, never
    converted to RGB and back. Every other format is decoded in colour and converted by `grey`.

    Raises
    ------
    ImageError
        As `decode`.
    """
    kind = _checked_header(encoded).format
    if encoded.startswith(_JPEG_SIGNATURE):
        return _pixels(encoded, kind, cv2.IMREAD_GRAYSCALE)
    return grey(_pixels(encoded, kind))


def decode_own_jpeg(encoded: bytes) -> Image:
    """Decode the output of `encode_jpeg` without checking its header."""
    return _pixels(encoded, "JPEG")


def _checked_header(encoded: bytes) -> Header:
    quick = _QUICK_HEADERS.get(encoded[:3])
    header = quick(encoded) if quick else None
    return _bounded(header) if header and header.width and header.height else read_header(encoded)


def _pixels(encoded: bytes, kind: str, flag: int = cv2.IMREAD_COLOR_RGB) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error as error:
        raise ImageError(f"damaged {kind}: {error.err}") from None
    if image is None:
        raise ImageError(f"damaged {kind}: it cannot be decoded")
    return np.asarray(image, np.uint8)


def from_bgr(bgr: npt.NDArray[Any]) -> Image:
    """Convert OpenCV's (H, W, 3) uint8 BGR pixels to an image."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_bytes(path: Path) -> bytes:
    """Read an image file.

    Raises
    ------
    ImageError
        If it cannot be read, is no regular file, or is larger than `MAX_BYTES`.
    """
    try:
        size = check_regular(path)
        if size > MAX_BYTES:
            raise ImageError(f"too large: {size} bytes; at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from None


def encode_png(image: Image) -> bytes:
    """Encode an image as PNG: the same pixels give the same bytes.

    All rows are filtered by "up", one subtraction for the whole image, and compressed by
    libdeflate, which is faster than OpenCV's libpng and zlib (benchmarks/formats.py). One version
    of libdeflate always writes the same bytes (its author in ebiggers/libdeflate#400).
    """
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"an image of shape {image.shape} cannot be encoded as PNG")
    height, width = image.shape[:2]
    rows = image.reshape(height, 3 * width)
    filtered = np.empty((height, 1 + 3 * width), np.uint8)
    filtered[:, 0] = _PNG_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    chunks = (
        (b"IHDR", _PNG_HEADER.pack(width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", bytes(deflate_encode(filtered.tobytes(), level=1))),
        (b"IEND", b""),
    )
    pieces = [_PNG_SIGNATURE]
    for name, data in chunks:
        checksum = deflate_crc32(data, deflate_crc32(name))
        pieces += [len(data).to_bytes(4, "big"), name, data, checksum.to_bytes(4, "big")]
    return b"".join(pieces)


def encode_jpeg(image: Image, quality: int) -> bytes:
    """Encode an image as baseline JPEG at libjpeg's `quality`, 1 to 100, with 4:2:0 chroma."""
    settings = [*_JPEG_420, cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    except cv2.error as error:
        raise ImageError(f"shape {image.shape}: no JPEG file: {error.err}") from None
    if not ok:
        raise ImageError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return encoded.tobytes()


def encode_jpeg2000(image: Image, ratio: float, *, is_reversible: bool) -> bytes:
    """Encode an image as JPEG 2000 of about 1/ratio of its raw bytes.

    Uses the 5/3 wavelet and colour transform if it is reversible, and the 9/7 wavelet with its
    irreversible colour transform if not. Pillow encodes, because OpenCV's encoder has no colour
    transform and loses 3 dB or more.
    """
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(
        buffer,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[ratio],
        irreversible=not is_reversible,
        mct=1,
        codeblock_size=(32, 32),  # 128 px hold too few of the default 64 to meet every ratio
    )
    return buffer.getvalue()


def resize(image: Image, size: int, how: ResizeFilter) -> Image:
    """Resize an image to (size, size, 3); the aspect ratio is not kept.

    Parameters
    ----------
    how
        "opencv-linear" interpolates between four pixels, without anti-aliasing;
        "pillow-bilinear" widens its triangle when it reduces, which is anti-aliasing;
        "pillow-nearest" takes one pixel.
    """
    if image.shape[:2] == (size, size):
        return image
    if how in _PILLOW:
        picture = PillowImage.fromarray(image)
        return np.asarray(picture.resize((size, size), _PILLOW[how]), np.uint8)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def grey(image: Image) -> Image:
    """Compute the (H, W) uint8 luma of an image by cv2 RGB2GRAY."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def thumbnail(grey_image: Image, width: int) -> Image:
    """Reduce an (H, W) uint8 image to `width` pixels, each the mean of its area."""
    height = max(1, round(width * grey_image.shape[0] / grey_image.shape[1]))
    small = cv2.resize(grey_image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def bgr_planes(image: Image) -> memoryview:
    """Return the pixels as (3, H, W) bytes of blue, green and red planes, as in Caffe's Datum."""
    height, width = image.shape[:2]
    planes = np.empty((3, height, width), np.uint8)
    cv2.split(image, [planes[2], planes[1], planes[0]])  # three times as fast as without targets
    return planes.reshape(-1).data


def pixels_sha256(image: Image) -> str:
    """Compute the SHA-256 of `bgr_planes` followed by height and width in ASCII, "128 128"."""
    height, width = image.shape[:2]
    return digests(bgr_planes(image), height, width)[1]


def digests(planes: bytes | memoryview, height: int, width: int) -> tuple[str, str]:
    """Compute the SHA-256 of `bgr_planes` alone, and the `pixels_sha256` of their image."""
    digest = hashlib.sha256(planes)
    alone = digest.hexdigest()
    digest.update(f"{height} {width}".encode())
    return alone, digest.hexdigest()
