"""Lossy compression: JP and JP2 of Table IX, and H.264 as FaceForensics++ was compressed."""

import math

from hffkit.degrade.parameter import Choice, Interval, Rule, check, number, whole
from hffkit.media.image import Image, encode_jpeg, encode_jpeg2000

_MAX_RATIO = 1000.0
_MAX_CRF = 51
# The rate factors of FaceForensics++'s raw, c23 and c40; 0 is lossless (libx264rgb).
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
    """Encode an image as baseline JPEG with 4:2:0 chroma subsampling."""
    return encode_jpeg(image, check(QUALITY, quality))


def jpeg2000_bytes(image: Image, ratio: float) -> bytes:
    """Encode an image as JPEG 2000 in about 1/ratio of its raw bytes, reversible 5/3 wavelet.

    Where lossless coding already reaches a higher ratio, the file is smaller than requested and
    its pixels differ from the image's by at most one level.
    """
    return encode_jpeg2000(image, check(RATIO, ratio), is_reversible=True)


def jpeg2000_97_bytes(image: Image, ratio: float) -> bytes:
    """Encode an image as JPEG 2000 in about 1/ratio of its raw bytes, irreversible 9/7 wavelet."""
    return encode_jpeg2000(image, check(RATIO, ratio), is_reversible=False)


def h264_bytes(image: Image, crf: int) -> bytes:
    """Encode an image as one H.264 key frame, which loses less than a frame inside a video."""
    from hffkit.media.h264 import encode_intra  # late: loading FFmpeg takes as long as OpenCV

    return encode_intra(image, check(CRF, crf))


def h264_pixels(encoded: bytes) -> Image:
    """Decode one H.264 key frame; odd sides come back longer by one pixel."""
    from hffkit.media.h264 import decode_intra

    return decode_intra(encoded)
