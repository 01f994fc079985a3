"""Read HEIC images: the items of ISO/IEC 23008-12, decoded by FFmpeg's decoder of HEVC.

An image is one item of HEVC, or a grid of such tiles, as telephones write it. Its properties turn
it: `clap`, `irot` and `imir` count, its EXIF orientation does not. The same holds for AVIF.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import av.logging
import numpy as np
from av.error import FFmpegError

from hffkit.errors import ImageError, VideoError
from hffkit.media.headers import MAX_PIXELS, check_size
from hffkit.media.image import Image
from hffkit.media.rgb import Converter

_PADDING = 64  # zeros that FFmpeg expects behind its inputs
_FILLER = b"\x4c\1"  # header of a unit of HEVC that decoders skip
_MAX_FILLER = 1 << 16
_APERTURE = struct.Struct(">4IiIiI")  # numerators and denominators of `clap`
_IN_FILE, _IN_META = 0, 1  # places of an item's bytes: in the file, in the box `idat`


class _Fields:
    """Big-endian numbers in a part of a file, read one after the other."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data, self.at = data, at
        self.end = len(data) if end is None else end

    def number(self, n_bytes: int) -> int:
        return int.from_bytes(self.take(n_bytes), "big")

    def take(self, n_bytes: int) -> bytes:
        self.at += n_bytes
        if self.at > self.end:
            raise ImageError("damaged HEIF: a box is cut short")
        return self._data[self.at - n_bytes : self.at]

    def rest(self) -> bytes:
        return self.take(self.end - self.at)

    def boxes(self) -> "Iterator[tuple[bytes, _Fields]]":
        """Yield name and content of the boxes up to the end."""
        while self.end - self.at >= 8:
            begin, size, name = self.at, self.number(4), self.take(4)
            size = self.number(8) if size == 1 else size or self.end - begin
            end = begin + size
            if not self.at <= end <= self.end:
                raise ImageError("damaged HEIF: a box is cut short")
            yield name, _Fields(self._data, self.at, end)
            self.at = end


@dataclass(slots=True)
class HeifItem:
    """An item of the file: an image, a tile, or something else."""

    kind: bytes = b""
    place: int = _IN_FILE
    extents: Sequence[tuple[int, int]] = ()  # offset and length of each
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)  # in the order they apply
    tiles: Sequence[int] = ()  # numbers of the items that a grid is made of

    def first(self, name: bytes) -> bytes | None:
        """Return the first property of a name."""
        return next((value for known, value in self.properties if known == name), None)


class HeifFile:
    """The items of a HEIF file."""

    def __init__(self, encoded: bytes) -> None:
        """Parse the boxes of a file; its images are not decoded."""
        self._encoded = encoded
        self.converter = Converter()
        self._idat = b""
        self._properties: list[tuple[bytes, bytes]] = []
        self.items: dict[int, HeifItem] = {}
        primary = 0
        for name, meta in _Fields(encoded).boxes():
            if name != b"meta":
                continue
            meta.number(4)
            for part, box in meta.boxes():
                if part == b"pitm":
                    primary = box.number(2 if box.number(4) >> 24 == 0 else 4)
                elif part == b"idat":
                    self._idat = box.rest()
                elif part in _PARTS:
                    _PARTS[part](self, box)
            break
        self.primary = self.items.get(primary)

    def item(self, number: int) -> HeifItem:
        """Return the item of a number, a new one if it is not known yet."""
        return self.items.setdefault(number, HeifItem())

    def read_kinds(self, box: _Fields) -> None:
        """Read `iinf`."""
        box.number(2 if box.number(4) >> 24 == 0 else 4)
        for _, entry in box.boxes():
            version = entry.number(4) >> 24
            number = entry.number(4 if version == 3 else 2)
            entry.number(2)
            self.item(number).kind = entry.take(4)

    def read_places(self, box: _Fields) -> None:
        """Read `iloc`."""
        version = box.number(4) >> 24
        sizes = box.number(2)
        n_offset, n_length, n_base = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
        n_index = sizes & 15 if version else 0
        n_id = 2 if version < 2 else 4
        for _ in range(box.number(n_id)):
            item = self.item(box.number(n_id))
            item.place = box.number(2) & 15 if version else _IN_FILE
            box.number(2)
            base, extents = box.number(n_base), []
            for _ in range(box.number(2)):
                box.number(n_index)
                extents.append((base + box.number(n_offset), box.number(n_length)))
            item.extents = extents

    def read_tiles(self, box: _Fields) -> None:
        """Read `iref`."""
        n_id = 2 if box.number(4) >> 24 == 0 else 4
        for name, reference in box.boxes():
            item = self.item(reference.number(n_id))
            numbers = [reference.number(n_id) for _ in range(reference.number(2))]
            if name == b"dimg":
                item.tiles = numbers

    def read_properties(self, box: _Fields) -> None:
        """Read `iprp`."""
        for name, part in box.boxes():
            if name == b"ipco":
                self._properties = [(kind, value.rest()) for kind, value in part.boxes()]
            elif name == b"ipma":
                self._assign(part)

    def _assign(self, box: _Fields) -> None:
        flags = box.number(4)
        n_id, n_index = 2 if flags >> 24 == 0 else 4, 1 + (flags & 1)
        for _ in range(box.number(4)):
            item = self.item(box.number(n_id))
            for _ in range(box.number(1)):
                index = box.number(n_index) & (0x7F if n_index == 1 else 0x7FFF)
                if 0 < index <= len(self._properties):
                    item.properties.append(self._properties[index - 1])

    def content(self, item: HeifItem) -> bytes:
        """Return the bytes of an item."""
        data = {_IN_FILE: self._encoded, _IN_META: self._idat}.get(item.place, b"")
        pieces = []
        for offset, length in item.extents:
            piece = data[offset : offset + length if length else None]
            if not piece or len(piece) < length:
                raise ImageError("cut short: an item of the HEIF file runs past its end")
            pieces.append(piece)
        return b"".join(pieces)


_PARTS = {
    b"iinf": HeifFile.read_kinds,
    b"iloc": HeifFile.read_places,
    b"iref": HeifFile.read_tiles,
    b"iprp": HeifFile.read_properties,
}


def decode_heic(encoded: bytes) -> tuple[Image, str | None]:
    """Decode the primary image, upright.

    Returns
    -------
    (Image, str or None)
        The pixels, and what FFmpeg complained of.

    Raises
    ------
    ImageError
        If it cannot be decoded, or holds more than `MAX_PIXELS`.
    """
    file = HeifFile(encoded)
    item = file.primary
    if item is None:
        raise ImageError("damaged HEIF: it names no image")
    complaints: list[str] = []
    if item.kind == b"grid":
        image = _grid(file, item, complaints)
    elif item.kind == b"hvc1":
        image = _hevc(file, item, complaints)
    else:
        kind = item.kind.decode("ascii", "backslashreplace")
        raise ImageError(
            f"HEIC image: items of the kind {kind!r} cannot be decoded here; convert it to PNG"
        )
    return turned(image, item.properties), next(iter(complaints), None)


def turned(image: Image, properties: Sequence[tuple[bytes, bytes]]) -> Image:
    """Apply the properties that cut, turn and mirror an image, in their order."""
    for name, value in properties:
        if name == b"clap":
            image = _cut(image, value)
        elif name == b"irot" and value:
            image = np.rot90(image, value[0] & 3)  # anticlockwise, as in the standard
        elif name == b"imir" and value:
            image = image[:, ::-1] if value[0] & 1 else image[::-1]
    return np.ascontiguousarray(image)


def _cut(image: Image, aperture: bytes) -> Image:
    """Cut an image to its clean aperture: width, height and the offsets of the centre."""
    try:
        numbers = _APERTURE.unpack(aperture)
        width, height, right, down = map(Fraction, numbers[::2], numbers[1::2])
    except (struct.error, ZeroDivisionError):
        raise ImageError("damaged HEIF: its clean aperture makes no sense") from None
    x, y = (image.shape[1] - width) / 2 + right, (image.shape[0] - height) / 2 + down
    left, top, end, bottom = (round(value) for value in (x, y, x + width, y + height))
    if not (0 <= left < end <= image.shape[1] and 0 <= top < bottom <= image.shape[0]):
        raise ImageError("damaged HEIF: its clean aperture lies outside of the image")
    return image[top:bottom, left:end]


def _grid(file: HeifFile, item: HeifItem, complaints: list[str]) -> Image:
    """Put an image together from its tiles, which lie row by row and may reach over its edges."""
    about = _Fields(file.content(item))
    n_bytes = 4 if about.number(2) & 1 else 2
    n_rows, n_columns = about.number(1) + 1, about.number(1) + 1
    width, height = about.number(n_bytes), about.number(n_bytes)
    check_size(width, height)
    if len(item.tiles) != n_rows * n_columns or not all(n in file.items for n in item.tiles):
        raise ImageError("damaged HEIF: tiles of its grid are missing")
    image = np.zeros((height, width, 3), np.uint8)
    rows = columns = 0
    for at, number in enumerate(item.tiles):
        tile = _hevc(file, file.items[number], complaints)
        rows, columns = (rows, columns) if at else tile.shape[:2]
        y, x = at // n_columns * rows, at % n_columns * columns
        place = image[y : y + rows, x : x + columns]
        if tile.shape[:2] != (rows, columns) or not place.size:
            raise ImageError("damaged HEIF: tiles of its grid do not fit")
        place[:] = tile[: place.shape[0], : place.shape[1]]
    if n_rows * rows < height or n_columns * columns < width:
        raise ImageError("damaged HEIF: tiles of its grid do not fit")
    return image


def _hevc(file: HeifFile, item: HeifItem, complaints: list[str]) -> Image:
    """Decode an item of HEVC."""
    extent, settings = item.first(b"ispe"), item.first(b"hvcC")
    if item.kind != b"hvc1" or settings is None:
        raise ImageError("damaged HEIF: an image has no description")
    if extent is not None and len(extent) == 12:
        check_size(*np.frombuffer(extent, ">u4")[1:].tolist())
    decoder: Any = av.CodecContext.create("hevc", "r")
    # FFmpeg reads past the end of what is damaged: pixels would depend on what is in memory there.
    decoder.extradata = settings + bytes(_PADDING)
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    with av.logging.Capture(local=True) as messages:
        try:
            packet = av.Packet(file.content(item) + _filler(settings))
            frames = [*decoder.decode(packet), *decoder.decode(None)]
        except FFmpegError:
            frames = []
    if len(frames) != 1:
        raise ImageError(": ".join(["damaged HEIF: it cannot be decoded", *_texts(messages)[:1]]))
    complaints += _texts(messages)
    frame = frames[0]
    colours = item.first(b"colr")
    if colours is not None and colours[:4] == b"nclx" and len(colours) >= 11:
        frame.colorspace = int.from_bytes(colours[8:10], "big")
        frame.color_range = 2 if colours[10] >> 7 else 1  # full, or 16 to 235
    try:
        return file.converter.rgb(frame)
    except VideoError as error:
        raise ImageError(f"HEIC image: {error}") from None


def _filler(settings: bytes) -> bytes:
    """Return a filler unit of ones, which stops a decoder that reads past the end of an image."""
    n_bytes = 1 + (settings[21] & 3 if len(settings) > 21 else 3)  # of the lengths of units
    length = min(_MAX_FILLER, (1 << 8 * n_bytes) - 1)
    return length.to_bytes(n_bytes, "big") + _FILLER.ljust(length, b"\xff")


def _texts(messages: Sequence[tuple[int, str, str]]) -> list[str]:
    return [text.strip() for _, _, text in messages]
