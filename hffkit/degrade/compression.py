"""Lossy compression: JP and JP2 of Table IX, and H.264 as FaceForensics++ was compressed."""

import math

from hffkit.degrade.parameter import Choice, Interval, Rule, check, number, whole
from hffkit.media.image import Image, decode, decode_own_jpeg, encode_jpeg, encode_jpeg2000

_MAX_RATIO = 1000.0
_MAX_CRF = 51
# What FaceForensics++ calls raw, c23 and c40; at 0 it is libx264rgb, lossless.
_FFPP_CRFS = (0, 23, 40)


def _is_quality(quality: int) -> bool:
    return 1 <= quality <= 100


def _is_ratio(ratio: float) -> bool:
    return math.isfinite(ratio) and 1 <= ratio <= _MAX_RATIO


def _is_crf(crf: int) -> bool:
    return 0 <= crf <= _MAX_CRF


QUALITY = Choice(
    "quality", Rule("a whole number from 1 to 100", whole, _is_quality), tuple(range(60, 91))
)
RATIO = Interval("ratio", Rule(f"a number from 1 to {_MAX_RATIO:.0f}", number, _is_ratio), 2.0, 8.0)
CRF = Choice("crf", Rule(f"a whole number from 0 to {_MAX_CRF}", whole, _is_crf), _FFPP_CRFS)


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """Return a baseline JPEG file, chroma 4:2:0."""
    return encode_jpeg(image, check(QUALITY, quality))


def jpeg2000_bytes(image: Image, ratio: float) -> bytes:
    """Return a JPEG 2000 file of about 1/ratio of the raw bytes, reversible 5/3 wavelet.

    Where lossless coding already beats `ratio` the file is smaller than asked, and lossless but for
    a level here and there.
    """
    return encode_jpeg2000(image, check(RATIO, ratio))


def h264_bytes(image: Image, crf: int) -> bytes:
    """Return one H.264 key frame: intra-only, so milder than a frame inside a video."""
    from hffkit.media.h264 import encode_intra  # late: FFmpeg is as much to load as OpenCV

    return encode_intra(image, check(CRF, crf))


def h264_pixels(encoded: bytes) -> Image:
    """Return the image of one H.264 key frame; odd sides are longer by one."""
    from hffkit.media.h264 import decode_intra

    return decode_intra(encoded)


def jpeg(image: Image, quality: int) -> Image:
    """Return `image` after one JPEG compression at `quality`."""
    return decode_own_jpeg(jpeg_bytes(image, quality))


def jpeg2000(image: Image, ratio: float) -> Image:
    """Return `image` after one JPEG 2000 compression by `ratio`."""
    return decode(jpeg2000_bytes(image, ratio))


def h264_intra(image: Image, crf: int) -> Image:
    """Return `image` as a single H.264 key frame shows it."""
    height, width = image.shape[:2]
    return h264_pixels(h264_bytes(image, crf))[:height, :width]
