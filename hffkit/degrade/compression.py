"""Lossy compression: JP and JP2 of Table IX, and the codecs of the web and of videos."""

from hffkit.degrade.parameter import Choice, Interval, check, number_from, whole_from
from hffkit.media.image import Image, encode_by_pillow, encode_jpeg, encode_jpeg2000

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
_AVIF_SPEED = 9  # of 0 to 10: ten times as fast as the default 6, for files 1 % larger

QUALITY = Choice("quality", whole_from(1, 100), tuple(range(60, 91)))
RATIO = Interval("ratio", number_from(1, 1000, "a number from {:g} to {:g}"), 2.0, 8.0)
CRF = Choice("crf", whole_from(0, 51), _FFPP_CRFS)
WEB_LEVEL = Choice("level", whole_from(1, len(_WEB)), (1, 2, 3, 4, 5))
PHOTO_LEVEL = Choice("level", whole_from(1, len(_PHOTO)), (1, 2, 3, 4))
WEBP_QUALITY = Choice("quality", QUALITY.rule, tuple(range(65, 91)))
AVIF_QUALITY = Choice("quality", QUALITY.rule, tuple(range(40, 81)))
FRAMES = Choice("frames", whole_from(1, 1000), (1, 12, 25, 50, 250))
FRAME_RATE = Choice("frames_per_second", whole_from(1, 240), (10, 15, 24, 25, 30))
METHOD = Choice("method", whole_from(0, 6), (0, 4, 6))  # of libwebp


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
