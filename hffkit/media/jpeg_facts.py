"""Facts in the header of a JPEG file: what its encoder was, and how it was set.

Nothing is decoded. The quantisation tables are compared with those of the Independent JPEG Group,
which libjpeg, OpenCV, Pillow and FFmpeg's image muxer scale by a quality of 1 to 100, and with nine
of Photoshop's that Pillow publishes as presets.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from PIL.JpegPresets import presets

from hffkit.arrays import Ints
from hffkit.errors import ImageError
from hffkit.media.headers import FRAME_HEADERS, jpeg_markers

TableKind = Literal["ijg", "photoshop", "other"]

# Tables K.1 and K.2 of ITU-T T.81, by rows.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *((99,) * 32),
)  # fmt: skip
ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22,
    15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip

_START = b"\xff\xd8"
_SHORT = 1 << 14  # bytes of a header; those of EXIF and thumbnails are not shared, or kept
_SCAN, _DQT, _DHT, _DRI, _COM = 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
_APP0, _APP1, _APP2, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SUBSAMPLINGS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
}
# The lengths of the codes in the tables of Annex K.3; others were made for the image.
_STANDARD_CODES = (
    bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)),
    bytes((0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)),
    bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125)),
    bytes((0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119)),
)


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """The header of a JPEG file."""

    width: int
    height: int
    n_channels: int
    quality: int  # of the IJG tables nearest to those of the file, 1 to 100
    tables: TableKind  # ijg: exactly those; photoshop: known ones, or others by Adobe's segments
    subsampling: str  # of chroma: 4:2:0, ...; grey; other
    is_progressive: bool
    restart_interval: int  # blocks; 0: none
    has_jfif: bool
    has_exif: bool
    has_xmp: bool
    has_icc: bool
    has_adobe: bool  # APP14, or Photoshop's APP13
    has_comment: bool
    has_own_codes: bool  # Huffman codes other than those of the standard


def jpeg_facts(encoded: bytes | memoryview) -> JpegFacts:
    """Read the header of a JPEG file.

    Raises
    ------
    ImageError
        If it is no JPEG, or its header is damaged.
    """
    whole = bytes(encoded)
    if not whole.startswith(_START):
        raise ImageError("no JPEG: it does not begin with its marker")
    scan = next((at for marker, at in jpeg_markers(whole) if marker == _SCAN), None)
    header = whole[:scan]
    return _known_facts_of(header) if len(header) <= _SHORT else _facts_of(header)


def _facts_of(header: bytes) -> JpegFacts:
    """Read a header that ends behind the marker of the first scan."""
    found = _Header()
    for marker, body in _segments(header):
        found.add(marker, body)
    return found.facts()


_known_facts_of = lru_cache(maxsize=64)(_facts_of)  # files of one encoder share their headers


class _Header:
    """The segments of a header, as far as they were read."""

    def __init__(self) -> None:
        self._tables: dict[int, bytes] = {}  # 64 steps in zigzag order; each of 2 bytes
        self._frame: tuple[int, bytes] | None = None
        self._restart = 0
        self._marks: set[str] = set()

    def add(self, marker: int, body: bytes) -> None:
        if marker == _DQT:
            self._tables |= _tables_of(body)
        elif marker == _DHT:
            self._add_codes(body)
        elif marker == _DRI and len(body) >= 2:
            self._restart = int.from_bytes(body[:2], "big")
        elif marker in FRAME_HEADERS:
            self._frame = marker, body
        else:
            self._marks |= set(_mark_of(marker, body))

    def _add_codes(self, body: bytes) -> None:
        at = 0
        while at + 17 <= len(body):
            lengths = body[at + 1 : at + 17]
            if lengths not in _STANDARD_CODES:
                self._marks.add("codes")
            at += 17 + sum(lengths)

    def facts(self) -> JpegFacts:
        if self._frame is None or len(self._frame[1]) < 6:
            raise ImageError("damaged JPEG: it has no frame header")
        marker, body = self._frame
        _, height, width, n = struct.unpack_from(">BHHB", body)
        parts = [body[6 + 3 * i : 9 + 3 * i] for i in range(n)]
        if not parts or any(len(part) < 3 for part in parts):
            raise ImageError("damaged JPEG: its frame header is too short")
        used = tuple(self._tables.get(part[2], b"") for part in parts[:2])
        if not all(used):
            raise ImageError("damaged JPEG: a quantisation table is missing")
        quality, is_ijg = nearest_quality(used)
        marks = self._marks
        is_adobe = "adobe" in marks or used in photoshop_tables()
        kind: TableKind = "ijg" if is_ijg else "photoshop" if is_adobe else "other"
        return JpegFacts(
            width=width,
            height=height,
            n_channels=n,
            quality=quality,
            tables=kind,
            subsampling=_subsampling([part[1] for part in parts]),
            is_progressive=marker in _PROGRESSIVE,
            restart_interval=self._restart,
            has_jfif="jfif" in marks,
            has_exif="exif" in marks,
            has_xmp="xmp" in marks,
            has_icc="icc" in marks,
            has_adobe="adobe" in marks,
            has_comment="comment" in marks,
            has_own_codes="codes" in marks,
        )


def _segments(header: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and body of each segment before the first scan."""
    for marker, at in jpeg_markers(header):
        if marker == _SCAN:
            return
        length = int.from_bytes(header[at : at + 2], "big")
        yield marker, header[at + 2 : at + max(length, 2)]


_MARKS = {
    _APP0: ((b"JFIF\0", "jfif"),),
    _APP1: ((b"Exif\0", "exif"), (b"http://ns.adobe.com/xap/", "xmp")),
    _APP2: ((b"ICC_PROFILE\0", "icc"),),
    _APP13: ((b"Photoshop 3.0\0", "adobe"),),
    _APP14: ((b"Adobe", "adobe"),),
    _COM: ((b"", "comment"),),
}


def _mark_of(marker: int, body: bytes) -> Iterator[str]:
    yield from (name for start, name in _MARKS.get(marker, ()) if body.startswith(start))


def _tables_of(body: bytes) -> dict[int, bytes]:
    tables, at = {}, 0
    while at < len(body):
        n = 128 if body[at] >> 4 else 64
        steps = body[at + 1 : at + 1 + n]
        if len(steps) < n:
            raise ImageError("damaged JPEG: a quantisation table is cut short")
        if n == 64:
            wide = bytearray(128)
            wide[1::2] = steps
            steps = bytes(wide)
        tables[body[at] & 15] = steps
        at += 1 + n
    return tables


def _subsampling(factors: list[int]) -> str:
    if len(factors) == 1:
        return "grey"
    luma = divmod(factors[0], 16)
    if len(factors) != 3 or any(factor != 0x11 for factor in factors[1:]):
        return "other"
    return _SUBSAMPLINGS.get(luma, "other")


@cache
def ijg_tables() -> Ints:
    """Return the luma and chroma tables of each quality, (101, 2, 64) by rows; 0 is unused.

    References
    ----------
    jpeg_quality_scaling and jpeg_add_quant_table of libjpeg: baseline steps, 1 to 255.
    """
    base = np.array((_LUMA, _CHROMA), np.int64)
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = (base[None] * scale[:, None, None] + 50) // 100
    return np.concatenate((base[None], np.clip(scaled, 1, 255)))


@cache
def photoshop_tables() -> frozenset[tuple[bytes, ...]]:
    """Return known tables of Photoshop, as `nearest_quality` takes them, of colour and grey.

    Those of "Save for Web" at low to maximum, and of "Save As" at low to maximum: Photoshop has
    more settings between these, whose tables Pillow does not list.
    """
    known = [np.array(preset["quantization"], ">u2")[:, ZIGZAG] for preset in presets.values()]
    pairs = {tuple(table.tobytes() for table in tables) for tables in known}
    return frozenset(pairs | {pair[:1] for pair in pairs})


@lru_cache(maxsize=4096)  # a corpus repeats the same few tables
def nearest_quality(tables: tuple[bytes, ...]) -> tuple[int, bool]:
    """Return the IJG quality nearest to tables, and True if they are exactly those of it.

    `tables` are those of luma and, unless the image is grey, chroma: 64 steps of two bytes, in
    zigzag order. The nearest tables have the smallest sum of differences; of equally near ones it
    is the higher quality.
    """
    steps = np.array([np.frombuffer(table, ">u2") for table in tables], np.int64)
    known = ijg_tables()[1:, : len(steps), list(ZIGZAG)]
    distances = np.abs(known - steps).sum(axis=(1, 2))
    best = len(distances) - 1 - int(np.argmin(distances[::-1]))
    return best + 1, bool(distances[best] == 0)
