"""Decode, encode and resize images, (H, W, 3) uint8 RGB; no other module has an image codec.

Images are decoded by OpenCV in colour, as in Caffe: 16-bit samples keep their high byte, grey is
repeated, alpha is dropped, EXIF rotation is applied.
"""

import hashlib
import io
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from imagecodecs import deflate_crc32, deflate_encode
from PIL import Image as PillowImage

from hffkit.errors import ImageError
from hffkit.input_files import check_regular
from hffkit.media.headers import MAX_PIXELS, check_header, kind_of_image
from hffkit.media.kinds import PNG_SIGNATURE

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

MAX_BYTES = 8 * MAX_PIXELS  # of a file: uncompressed pixels with alpha and 16 bits
_PNG_HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, RGB, and three zeros
_PNG_UP = 2  # the filter that subtracts from each byte the byte above it

Subsampling = Literal["4:2:0", "4:2:2", "4:4:4"]
_SUBSAMPLING: Mapping[Subsampling, int] = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}

DECODED = frozenset(  # kinds that OpenCV decodes
    {"jpeg", "png", "webp", "tiff", "bmp", "pnm", "jpeg2000", "sun", "gif", "avif"}
)


def decode(encoded: bytes) -> Image:
    """Decode an image that hffkit stored to (H, W, 3) uint8 RGB.

    Files that others made are decoded by `decode_file` in `image_files`.

    Raises
    ------
    ImageError
        If the bytes are no image of a kind in `DECODED`, are truncated, or hold more than
        `MAX_PIXELS`.
    """
    return _decoded(encoded, cv2.IMREAD_COLOR_RGB)


def decode_grey(encoded: bytes) -> Image:
    """Decode an image to (H, W) uint8 grey.

    A JPEG gives its own luma, as cv2.imread(file, 0) does: the Y plane that the file holds, never
    converted to RGB and back. Every other format is decoded in colour and converted by `grey`.

    Raises
    ------
    ImageError
        As `decode`.
    """
    if kind_of_image(encoded).name == "jpeg":
        return _decoded(encoded, cv2.IMREAD_GRAYSCALE)
    return grey(decode(encoded))


def decode_own_jpeg(encoded: bytes) -> Image:
    """Decode the output of `encode_jpeg` without checking its header."""
    return _pixels(encoded, "JPEG", cv2.IMREAD_COLOR_RGB)


def _decoded(encoded: bytes, flag: int) -> Image:
    kind = kind_of_image(encoded)
    if kind.name not in DECODED:
        raise ImageError(f"{kind.title}: cannot be decoded here; convert it to PNG")
    return _pixels(encoded, check_header(encoded, kind).format, flag)


def _pixels(encoded: bytes, name: str, flag: int) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(error.err) from None
        raise ImageError(f"damaged {name}: {error.err}") from None
    if image is None:
        raise ImageError(f"{name} image that cannot be decoded (damaged, or a rare variant?)")
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
    pieces = [PNG_SIGNATURE]
    for name, data in chunks:
        checksum = deflate_crc32(data, deflate_crc32(name))
        pieces += [len(data).to_bytes(4, "big"), name, data, checksum.to_bytes(4, "big")]
    return b"".join(pieces)


def encode_jpeg(image: Image, quality: int, chroma: Subsampling = "4:2:0") -> bytes:
    """Encode an image as baseline JPEG at libjpeg's `quality`, 1 to 100."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SUBSAMPLING[chroma])
    settings = [*sampling, cv2.IMWRITE_JPEG_QUALITY, quality]
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
    return encode_by_pillow(
        image,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[ratio],
        irreversible=not is_reversible,
        mct=1,
        codeblock_size=(32, 32),  # 128 px hold too few of the default 64 to meet every ratio
    )


def encode_by_pillow(image: Image, format: str, **settings: Any) -> bytes:
    """Encode an image by Pillow, whose documentation lists the settings of each format.

    Raises
    ------
    ImageError
        If the format cannot hold an image of this size.
    """
    buffer = io.BytesIO()
    try:
        PillowImage.fromarray(image).save(buffer, format, **settings)
    except (OSError, ValueError) as error:
        raise ImageError(f"shape {image.shape}: no {format} file: {error}") from None
    return buffer.getvalue()


def rounded(values: npt.NDArray[Any]) -> Image:
    """Round grey levels to the nearest whole number, half to even, and clip them to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


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


def thumbnail(image: Image, width: int) -> Image:
    """Reduce an (H, W) or (H, W, 3) image to `width` pixels, each the mean of its area."""
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
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
