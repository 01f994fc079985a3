"""Lossy compression: JP and JP2 of Table IX, and the codecs of the web and of videos."""

import math

from hffkit.degrade.parameter import Choice, Interval, Rule, check, number, whole
from hffkit.media.image import Image, encode_by_pillow, encode_jpeg, encode_jpeg2000

_MAX_RATIO = 1000.0
_MAX_CRF = 51
_MAX_GAP = 1000
_MAX_RATE = 240
# The rate factors of FaceForensics++'s raw, c23 and c40; 0 is lossless (libx264rgb).
_FFPP_CRFS = (0, 23, 40)
# Pillow's presets of quantisation tables and subsampling: Photoshop's "save for web", and others.
_WEB = ("web_low", "web_medium", "web_high", "web_very_high", "web_maximum")
_PHOTO = ("low", "medium", "high", "maximum")
# The default table of mozjpeg for luminance and chrominance at quality 50: number 3 of jcparam.c in
# https://github.com/mozilla/mozjpeg at commit 0123dd2. Row by row; it is symmetric.
_MOZJPEG = (
    (16, 16, 16, 18, 25, 37, 56, 85),
    (16, 17, 20, 27, 34, 40, 53, 75),
    (16, 20, 24, 31, 43, 62, 91, 135),
    (18, 27, 31, 40, 53, 74, 106, 156),
    (25, 34, 43, 53, 69, 94, 131, 189),
    (37, 40, 62, 74, 94, 124, 169, 238),
    (56, 53, 91, 106, 131, 169, 226, 311),
    (85, 75, 135, 156, 189, 238, 311, 418),
)
_WEBP_METHODS = 6
_AVIF_SPEED = 9  # of 0 to 10: ten times as fast as the default 6, for files 1 % larger


def _is_quality(quality: int) -> bool:
    return 1 <= quality <= 100


def _is_ratio(ratio: float) -> bool:
    return math.isfinite(ratio) and 1 <= ratio <= _MAX_RATIO


def _is_crf(crf: int) -> bool:
    return 0 <= crf <= _MAX_CRF


def _is_gap(frames: int) -> bool:
    return 1 <= frames <= _MAX_GAP


def _is_rate(frames: int) -> bool:
    return 1 <= frames <= _MAX_RATE


def _is_web(level: int) -> bool:
    return 1 <= level <= len(_WEB)


def _is_photo(level: int) -> bool:
    return 1 <= level <= len(_PHOTO)


def _is_method(method: int) -> bool:
    return 0 <= method <= _WEBP_METHODS


QUALITY = Choice(
    "quality", Rule("a whole number from 1 to 100", whole, _is_quality), tuple(range(60, 91))
)
RATIO = Interval("ratio", Rule(f"a number from 1 to {_MAX_RATIO:.0f}", number, _is_ratio), 2.0, 8.0)
CRF = Choice("crf", Rule(f"a whole number from 0 to {_MAX_CRF}", whole, _is_crf), _FFPP_CRFS)
WEB_LEVEL = Choice("level", Rule("a whole number from 1 to 5", whole, _is_web), (1, 2, 3, 4, 5))
PHOTO_LEVEL = Choice("level", Rule("a whole number from 1 to 4", whole, _is_photo), (1, 2, 3, 4))
WEBP_QUALITY = Choice("quality", QUALITY.rule, tuple(range(65, 91)))
AVIF_QUALITY = Choice("quality", QUALITY.rule, tuple(range(40, 81)))
FRAMES = Choice(
    "frames", Rule(f"a whole number from 1 to {_MAX_GAP}", whole, _is_gap), (1, 12, 25, 50, 250)
)
FRAME_RATE = Choice(
    "frames_per_second",
    Rule(f"a whole number from 1 to {_MAX_RATE}", whole, _is_rate),
    (10, 15, 24, 25, 30),
)
METHOD = Choice("method", Rule("a whole number from 0 to 6", whole, _is_method), (0, 4, 6))


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as baseline JPEG with 4:2:0 chroma subsampling."""
    return encode_jpeg(image, check(QUALITY, quality))


def jpeg_422_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as baseline JPEG with 4:2:2 chroma subsampling."""
    return encode_jpeg(image, check(QUALITY, quality), "4:2:2")


def jpeg_444_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as baseline JPEG without chroma subsampling."""
    return encode_jpeg(image, check(QUALITY, quality), "4:4:4")


def jpeg_web_bytes(image: Image, level: int) -> bytes:
    """Encode an image as JPEG with the tables of "save for web", 1 (low) to 5 (maximum)."""
    return encode_by_pillow(image, "JPEG", quality=_WEB[check(WEB_LEVEL, level) - 1])


def jpeg_photo_bytes(image: Image, level: int) -> bytes:
    """Encode an image as JPEG with the tables of an image editor, 1 (low) to 4 (maximum)."""
    return encode_by_pillow(image, "JPEG", quality=_PHOTO[check(PHOTO_LEVEL, level) - 1])


def jpeg_mozjpeg_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as baseline JPEG, 4:2:0, with the quantisation tables of mozjpeg.

    The tables alone: mozjpeg also changes coefficients, by trellis quantisation.
    """
    percent = 5000 // quality if check(QUALITY, quality) < 50 else 200 - 2 * quality
    table = [min(max((step * percent + 50) // 100, 1), 255) for row in _MOZJPEG for step in row]
    return encode_by_pillow(image, "JPEG", qtables=[table, table], subsampling="4:2:0")


def webp_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as lossy WebP by libwebp's fastest method."""
    return encode_by_pillow(image, "WEBP", quality=check(WEBP_QUALITY, quality), method=0)


def webp_lossless_bytes(image: Image, method: int) -> bytes:
    """Encode an image as lossless WebP; a higher method is slower and gives smaller files."""
    return encode_by_pillow(
        image, "WEBP", lossless=True, exact=True, quality=50, method=check(METHOD, method)
    )


def avif_bytes(image: Image, quality: int) -> bytes:
    """Encode an image as AVIF with 4:2:0 chroma, in one thread."""
    settings = {"speed": _AVIF_SPEED, "subsampling": "4:2:0", "max_threads": 1}
    return encode_by_pillow(image, "AVIF", quality=check(AVIF_QUALITY, quality), **settings)


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
