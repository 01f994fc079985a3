"""Facts in a PNG file that its encoder left: depth, filters, compression and further chunks."""

import zlib
from dataclasses import asdict, dataclass

import numpy as np

from hffkit.errors import ImageError
from hffkit.media.headers import png_chunks
from hffkit.media.kinds import PNG_SIGNATURE

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_BYTES = 1 << 18  # of decompressed rows, whose filters are counted
_N_FILTERS = 5


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The header of a PNG file."""

    width: int
    height: int
    bits: int
    colour_type: int  # 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    is_interlaced: bool


@dataclass(frozen=True, slots=True)
class PngFacts(PngHeader):
    """The header of a PNG file, and how its rows were filtered and compressed."""

    filters: tuple[float, ...]  # share of the rows by filter: none, sub, up, average, Paeth
    zlib_level: int  # of the header of the compressed data, 0 to 3; a coarse setting
    chunks: frozenset[str]  # names of the chunks between header and end


def png_header(encoded: bytes) -> PngHeader:
    """Read the header of a PNG file.

    Raises
    ------
    ImageError
        If it is no PNG, or its header is damaged.
    """
    if not encoded.startswith(PNG_SIGNATURE):
        raise ImageError("no PNG: it does not begin with its signature")
    places = ((start, end) for name, start, end in png_chunks(encoded) if name == b"IHDR")
    start, end = next(places, (0, 0))
    if end - start != 13:
        raise ImageError("damaged PNG: it has no header")
    width, height = (int.from_bytes(encoded[at : at + 4], "big") for at in (start, start + 4))
    bits, colour_type, *_, is_interlaced = encoded[start + 8 : end]
    if colour_type not in _CHANNELS:
        raise ImageError(f"damaged PNG: colour type {colour_type}")
    return PngHeader(width, height, bits, colour_type, bool(is_interlaced))


def png_facts(encoded: bytes | memoryview) -> PngFacts:
    """Read the header of a PNG file and the filters of its first 256 KiB of rows.

    Raises
    ------
    ImageError
        If it is no PNG, or damaged.
    """
    data = bytes(encoded)
    header = png_header(data)
    packed, names = [], set()
    for name, start, end in png_chunks(data):
        if name == b"IDAT":
            packed.append(data[start:end])
        names.add(name.decode("latin-1"))
    if not packed:
        raise ImageError("damaged PNG: it has no pixels")
    row = 1 + (header.width * _CHANNELS[header.colour_type] * header.bits + 7) // 8
    is_read = not header.is_interlaced
    filters = _filters(packed, row, header.height) if is_read else (0.0,) * _N_FILTERS
    level = packed[0][1] >> 6 if len(packed[0]) > 1 else 0
    chunks = frozenset(names - {"IHDR", "IDAT", "IEND"})
    return PngFacts(**asdict(header), filters=filters, zlib_level=level, chunks=chunks)


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
