"""HEIC files, written box by box as telephones write them."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from makers.trees import Pixels

_HEADS = (32, 33, 34)  # types of the units that hold parameters


@dataclass(frozen=True)
class Coded:
    """An image as HEVC: its configuration record and its one sample."""

    settings: bytes
    sample: bytes
    width: int
    height: int


def box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + name + data


def full_box(name: bytes, version: int, *parts: bytes) -> bytes:
    return box(name, struct.pack(">I", version << 24), *parts)


def hevc(image: Pixels, crf: int = 6) -> Coded:
    """Encode by x265, in colours of full resolution, full range and BT.601."""
    encoder: Any = av.CodecContext.create("libx265", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuvj444p", Fraction(1), Fraction(1)
    params = "log-level=none:range=full:repeat-headers=1:annexb=1"
    encoder.options = {"crf": str(crf), "preset": "ultrafast", "x265-params": params}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format="yuvj444p", dst_colorspace=5, dst_color_range=2)
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    units = [unit for unit in re.split(b"\0\0\0?\1", b"".join(map(bytes, packets))) if unit]
    heads = [unit for unit in units if unit[0] >> 1 in _HEADS]
    sample = [unit for unit in units if unit[0] >> 1 < min(_HEADS)]
    # Of the record's first 21 bytes decoders need the version only.
    settings = b"\1" + bytes(20) + b"\xff" + bytes([len(heads)])
    for unit in heads:
        settings += struct.pack(">BHH", 0x80 | unit[0] >> 1, 1, len(unit)) + unit
    coded = b"".join(struct.pack(">I", len(unit)) + unit for unit in sample)
    return Coded(settings, coded, image.shape[1], image.shape[0])


def heic(
    image: Pixels,
    properties: Sequence[bytes] = (),
    *,
    grid: tuple[int, int] = (1, 1),
    crf: int = 6,
) -> bytes:
    """Return a HEIC of one item, or of a grid of (rows, columns), with these properties too.

    The tiles of a grid are of equal size and reach over the right and lower edge.
    """
    rows, columns = grid
    height, width = image.shape[:2]
    down, across = (-(-height // rows) + 7) // 8 * 8, (-(-width // columns) + 7) // 8 * 8
    if grid == (1, 1):
        down, across = height, width
    room = np.pad(image, ((0, rows * down - height), (0, columns * across - width), (0, 0)), "edge")
    tiles = [
        hevc(room[y * down : (y + 1) * down, x * across : (x + 1) * across], crf)
        for y in range(rows)
        for x in range(columns)
    ]
    return file_of(tiles, (width, height), properties, grid)


def file_of(
    tiles: Sequence[Coded],
    size: tuple[int, int],
    properties: Sequence[bytes],
    grid: tuple[int, int],
) -> bytes:
    """Write the boxes around coded tiles."""
    n, is_grid = len(tiles), grid != (1, 1)
    kinds = [b"hvc1"] * n + [b"grid"] * is_grid
    primary = n + 1 if is_grid else 1
    infos = [
        full_box(b"infe", 2, struct.pack(">HH", at + 1, 0), kind, b"\0")
        for at, kind in enumerate(kinds)
    ]
    extents = [(tile.width, tile.height) for tile in tiles[:1]] + [size] * is_grid
    shared = [
        box(b"hvcC", tiles[0].settings),
        *(full_box(b"ispe", 0, struct.pack(">II", *extent)) for extent in extents),
        *properties,
    ]
    turns = range(2 + len(extents), 2 + len(extents) + len(properties))
    of_tile = [0x81, 2] if is_grid else [0x81, 2, *(0x80 | at for at in turns)]
    lists = [of_tile] * n + [[3, *(0x80 | at for at in turns)]] * is_grid
    links = [struct.pack(">HB", at + 1, len(own)) + bytes(own) for at, own in enumerate(lists)]
    references = box(b"dimg", struct.pack(f">HH{n}H", primary, n, *range(1, n + 1)))
    about = struct.pack(">BBBBHH", 0, 0, grid[0] - 1, grid[1] - 1, *size)

    def meta(begin: int) -> bytes:
        places, at = [], begin
        for number, tile in enumerate(tiles):
            places.append(struct.pack(">HHHHII", number + 1, 0, 0, 1, at, len(tile.sample)))
            at += len(tile.sample)
        if is_grid:
            places.append(struct.pack(">HHHHII", primary, 1, 0, 1, 0, len(about)))
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", primary)),
            full_box(b"iinf", 0, struct.pack(">H", len(infos)), *infos),
            full_box(b"iloc", 1, b"\x44\0", struct.pack(">H", len(places)), *places),
            full_box(b"iref", 0, references) if is_grid else b"",
            box(
                b"iprp",
                box(b"ipco", *shared),
                full_box(b"ipma", 0, struct.pack(">I", len(links)), *links),
            ),
            box(b"idat", about),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic")
    begin = len(head) + len(meta(0)) + 8
    return head + meta(begin) + box(b"mdat", *(tile.sample for tile in tiles))


def with_property(encoded: bytes, added: bytes) -> bytes:
    """Return a file of one item, as libavif writes AVIF, with one more property of that item."""

    def grown(name: bytes, content: bytes) -> bytes:
        if name in (b"meta", b"iprp", b"ipco"):
            flags = content[:4] * (name == b"meta")
            inner = b"".join(grown(*each) for each in _boxes(content[len(flags) :]))
            return box(name, flags, inner, added * (name == b"ipco"))
        if name == b"ipma":  # version, number of items, number of the item; its properties
            n = content[10]
            return box(
                name, content[:10], bytes([n + 1]), content[11:], bytes([0x80 | n_known + 1])
            )
        if name == b"iloc":  # the place of the item's only extent comes before its length
            begin = int.from_bytes(content[-8:-4], "big") + len(added) + 1
            return box(name, content[:-8], struct.pack(">I", begin), content[-4:])
        return box(name, content)

    properties = encoded[encoded.index(b"ipco") - 4 : encoded.index(b"ipma") - 4]
    n_known = sum(1 for _ in _boxes(properties[8:]))
    return b"".join(grown(*each) for each in _boxes(encoded))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        size = int.from_bytes(data[:4], "big")
        yield data[4:8], data[8:size]
        data = data[size:]
