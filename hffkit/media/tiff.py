"""The first page of a TIFF file (TIFF 6.0, BigTIFF), read before its pixels are decoded."""

import struct
from dataclasses import dataclass

from hffkit.errors import ImageError

_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # codes of types, and of `struct`
_SUBFILE, _BITS, _ORIENTATION, _TILE_WIDTH, _EXTRA, _FORMAT, _DNG = (
    254, 258, 274, 322, 338, 339, 50706
)  # fmt: skip
_THUMBNAIL = 1  # bit of `_SUBFILE`
_WHOLE, _UNDEFINED = 1, 4  # values of `_FORMAT`; the others are signed, floats and complex
_UNASSOCIATED = 2  # value of `_EXTRA`: colours are not multiplied by alpha
_MAX_BITS = 16


@dataclass(frozen=True, slots=True)
class _Field:
    value: int  # the first one
    place: int  # of the value in the file
    code: str  # of `struct`


def check_tiff(encoded: bytes) -> None:
    """Raise ImageError if OpenCV would decode the first page to other pixels than it holds.

    It does so with numbers that are signed, fractional or larger than 16 bits. A thumbnail, with
    which raw images of cameras begin, is refused too.
    """
    page = _first_page(encoded)
    value = {tag: field.value for tag, field in page.items()}
    if value.get(_SUBFILE, 0) & _THUMBNAIL or _DNG in value:
        raise ImageError(
            "TIFF image that begins with a thumbnail, as raw images of cameras do: convert it to "
            "PNG"
        )
    bits, is_whole = value.get(_BITS, 1), value.get(_FORMAT, _WHOLE) in (_WHOLE, _UNDEFINED)
    if bits > _MAX_BITS or not is_whole:
        numbers = "numbers" if is_whole else "signed or fractional numbers"
        raise ImageError(
            f"TIFF image of {numbers} of {bits} bits: cannot be decoded here; convert it to PNG"
        )


def for_opencv(encoded: bytes) -> tuple[bytes, int]:
    """Return a TIFF that OpenCV decodes correctly, and the orientation that is left to apply.

    OpenCV turns each tile of a tiled image separately, and multiplies colours by unassociated
    alpha. A file with neither is returned unchanged, with orientation 1.
    """
    page = _first_page(encoded)
    orientation, alpha = page.get(_ORIENTATION), page.get(_EXTRA)
    patched, turn = bytearray(), 1
    if _TILE_WIDTH in page and orientation is not None and orientation.value != 1:
        patched, turn = _with(orientation, 1, patched or encoded), orientation.value
    if alpha is not None and alpha.value == _UNASSOCIATED:
        patched = _with(alpha, 0, patched or encoded)
    return bytes(patched) or encoded, turn


def _with(field: _Field, value: int, encoded: bytes | bytearray) -> bytearray:
    changed = bytearray(encoded)
    struct.pack_into(_order(encoded) + field.code, changed, field.place, value)
    return changed


def _order(encoded: bytes | bytearray) -> str:
    return "<" if encoded.startswith(b"I") else ">"


def _first_page(encoded: bytes) -> dict[int, _Field]:
    """Return the fields of whole numbers by their tags; none if the page is damaged."""
    order, is_big = _order(encoded), encoded[2:4] in (b"+\0", b"\0+")
    offset, count = (order + "Q", order + "Q") if is_big else (order + "I", order + "H")
    entry = struct.Struct(order + "HH" + offset[1])  # tag, type, number of values
    room = struct.calcsize(offset)
    found: dict[int, _Field] = {}
    try:
        (begin,) = struct.unpack_from(offset, encoded, 8 if is_big else 4)
        (n,) = struct.unpack_from(count, encoded, begin)
        begin += struct.calcsize(count)
        for at in range(begin, begin + n * (entry.size + room), entry.size + room):
            tag, kind, n_values = entry.unpack_from(encoded, at)
            code, place = _NUMBERS.get(kind), at + entry.size
            if code is None or not n_values:
                continue
            if n_values * struct.calcsize(code) > room:
                (place,) = struct.unpack_from(offset, encoded, place)
            (value,) = struct.unpack_from(order + code, encoded, place)
            found.setdefault(tag, _Field(value, place, code))
    except (struct.error, OverflowError):
        return {}
    return found
