"""Facts in a PNG file that its encoder left: depth, filters, compression and further chunks."""

import zlib
from dataclasses import dataclass

import numpy as np

from hffkit.errors import ImageError
from hffkit.media.headers import png_chunks
from hffkit.media.kinds import PNG_SIGNATURE

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_BYTES = 1 << 18  # of decompressed rows, whose filters are counted
_N_FILTERS = 5


@dataclass(frozen=True, slots=True)
class PngFacts:
    """The header of a PNG file, and the filters of its first rows."""

    width: int
    height: int
    bits: int
    colour_type: int  # 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    is_interlaced: bool
    filters: tuple[float, ...]  # share of the rows by filter: none, sub, up, average, Paeth
    zlib_level: int  # of the header of the compressed data, 0 to 3; a coarse setting
    chunks: frozenset[str]  # names of the chunks between header and end


def png_facts(encoded: bytes | memoryview) -> PngFacts:
    """Read the header of a PNG file and the filters of its first 256 KiB of rows.

    Raises
    ------
    ImageError
        If it is no PNG, or damaged.
    """
    data = bytes(encoded)
    if not data.startswith(PNG_SIGNATURE):
        raise ImageError("no PNG: it does not begin with its signature")
    head, packed, names = b"", [], set()
    for name, start, end in png_chunks(data):
        if name == b"IHDR":
            head = data[start:end]
        elif name == b"IDAT":
            packed.append(data[start:end])
        names.add(name.decode("latin-1"))
    if len(head) != 13 or not packed:
        raise ImageError("damaged PNG: it has no header or no pixels")
    width, height = (int.from_bytes(head[at : at + 4], "big") for at in (0, 4))
    bits, colour_type, is_interlaced = head[8], head[9], bool(head[12])
    if colour_type not in _CHANNELS:
        raise ImageError(f"damaged PNG: colour type {colour_type}")
    row = 1 + (width * _CHANNELS[colour_type] * bits + 7) // 8
    filters = (0.0,) * _N_FILTERS if is_interlaced else _filters(packed, row, height)
    level = packed[0][1] >> 6 if len(packed[0]) > 1 else 0
    return PngFacts(
        width, height, bits, colour_type, is_interlaced, filters, level,
        frozenset(names - {"IHDR", "IDAT", "IEND"}),
    )  # fmt: skip


def _filters(packed: list[bytes], row: int, height: int) -> tuple[float, ...]:
    """Return the share of each filter among the first rows."""
    unpack = zlib.decompressobj()
    most, rows = min(max(_MOST_BYTES, row), row * height), b""
    try:
        for part in packed:
            rows += unpack.decompress(part, most - len(rows))
            if len(rows) >= most:
                break
    except zlib.error as error:
        raise ImageError(f"damaged PNG: {error}") from None
    used = np.frombuffer(rows, np.uint8)[::row]
    if not len(used) or used.max() >= _N_FILTERS:
        raise ImageError("damaged PNG: its rows have no filters")
    return tuple((np.bincount(used, minlength=_N_FILTERS) / len(used)).tolist())
