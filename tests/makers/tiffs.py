"""TIFF files written field by field, of kinds that Pillow does not write."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_SHORT, _LONG = 3, 4
_FORMATS = {"u": 1, "i": 2, "f": 3}
_HEAD_BYTES = 8


def tiff(
    pixels: npt.NDArray[Any], fields: Mapping[int, int] | None = None, *, tile: int | None = None
) -> bytes:
    """Return (H, W, C) pixels of any type, uncompressed, in tiles of this size or in one strip.

    `fields` are further ones by their tags.
    """
    height, width, n_channels = pixels.shape
    parts = [pixels]
    if tile is not None:
        room = np.pad(pixels, ((0, -height % tile), (0, -width % tile), (0, 0)))
        parts = [
            room[y : y + tile, x : x + tile]
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    places, sizes, data = [], [], b""
    for part in parts:
        places.append(_HEAD_BYTES + len(data))
        sizes.append(part.nbytes)
        data += np.ascontiguousarray(part).tobytes()
    kind = pixels.dtype
    found: dict[int, tuple[int, list[int]]] = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [8 * kind.itemsize] * n_channels),
        259: (_SHORT, [1]),
        262: (_SHORT, [1 if n_channels < 3 else 2]),
        277: (_SHORT, [n_channels]),
        339: (_SHORT, [_FORMATS[kind.kind]] * n_channels),
        **{
            tag: (_LONG if tag == 254 else _SHORT, [value]) for tag, value in (fields or {}).items()
        },
    }
    if tile is None:
        found |= {273: (_LONG, places), 278: (_LONG, [height]), 279: (_LONG, sizes)}
    else:
        found |= {322: (_LONG, [tile]), 323: (_LONG, [tile]), 324: (_LONG, places)}
        found |= {325: (_LONG, sizes)}
    entries = b""
    for tag, (type_, values) in sorted(found.items()):
        packed = struct.pack(f"<{len(values)}{'H' if type_ == _SHORT else 'I'}", *values)
        if len(packed) > 4:
            data += packed
            packed = struct.pack("<I", _HEAD_BYTES + len(data) - len(packed))
        entries += struct.pack("<HHI", tag, type_, len(values)) + packed.ljust(4, b"\0")
    page = struct.pack("<H", len(found)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", _HEAD_BYTES + len(data)) + data + page
