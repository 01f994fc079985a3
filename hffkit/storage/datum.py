"""Encode and decode Caffe's Datum message, without protobuf.

Fields of the proto2 message: 1 channels, 2 height, 3 width, 4 data, 5 label, 6 float_data,
7 encoded. Raw data is C, H, W with the channels in the order blue, green, red.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from hffkit.errors import StorageError
from hffkit.media.image import Image, bgr_planes, decode, decode_grey, grey

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf


@dataclass(frozen=True, slots=True)
class Datum:
    """A record. `encoded` data is an image file, other data is C*H*W bytes of pixels."""

    data: bytes | memoryview
    label: int
    encoded: bool
    channels: int = 0
    height: int = 0
    width: int = 0

    def image(self) -> Image:
        """Decode the pixels, (H, W, 3) uint8 RGB; a grey channel is repeated.

        Raises
        ------
        ImageError
            If encoded data cannot be decoded.
        StorageError
            If the length of raw data does not match its shape.
        """
        if self.encoded:
            return decode(bytes(self.data))
        shape = (self.channels, self.height, self.width)
        if self.channels not in (1, 3) or len(self.data) != math.prod(shape) or not self.data:
            raise StorageError(f"a raw Datum of shape {shape} holds {len(self.data)} bytes")
        planes = np.frombuffer(self.data, np.uint8).reshape(shape)
        bgr = np.repeat(planes, 3, axis=0) if self.channels == 1 else planes
        return np.ascontiguousarray(bgr[::-1].transpose(1, 2, 0))

    def grey(self) -> Image:
        """Decode to (H, W) uint8 grey: the luma of an encoded JPEG, else `grey` of the pixels.

        Raises
        ------
        ImageError, StorageError
            As `image`.
        """
        return decode_grey(bytes(self.data)) if self.encoded else grey(self.image())


def raw_datum(image: Image, label: int) -> Datum:
    """Make a raw Datum, C, H, W in blue, green, red, of an (H, W, 3) RGB image."""
    height, width = image.shape[:2]
    return Datum(bgr_planes(image), label, encoded=False, channels=3, height=height, width=width)


def encode_datum(datum: Datum) -> bytes:
    """Encode a Datum to the bytes that Caffe's convert_imageset writes for it.

    Raw: shape, data, label, encoded = 0. Encoded: data, label, encoded = 1, no shape.
    """
    shape = b""
    if not datum.encoded:
        sides = _varint(datum.channels), _varint(datum.height), _varint(datum.width)
        shape = b"\x08%b\x10%b\x18%b" % sides
    return b"".join(
        (
            shape,
            b"\x22",
            _varint(len(datum.data)),
            datum.data,
            b"\x28",
            _varint(datum.label & (1 << 64) - 1),  # int32 is sign-extended to 64 bits
            b"\x38\x01" if datum.encoded else b"\x38\x00",
        )
    )


def relabelled(message: bytes | memoryview, label: int) -> bytes | memoryview:
    """Return the message of a Datum with another label; the same bytes if it has this label."""
    datum = decode_datum(message)
    return message if datum.label == label else encode_datum(replace(datum, label=label))


def decode_datum(message: bytes | memoryview) -> Datum:
    """Decode a message; its fields may have any order, unknown ones are skipped.

    Raises
    ------
    StorageError
        If the bytes are not a Datum, or its pixels are floats.
    """
    view = memoryview(message)
    numbers = {1: 0, 2: 0, 3: 0, 5: 0, 7: 0}
    data = view[:0]
    at, end = 0, len(view)
    while at < end:
        tag, at = (view[at], at + 1) if view[at] < 0x80 else read_varint(view, at)
        field, kind = tag >> 3, tag & 7
        if field == 6:
            raise StorageError("a Datum with float_data holds features, not pixels")
        if kind == VARINT:
            short = at < end and view[at] < 0x80
            numbers[field], at = (view[at], at + 1) if short else read_varint(view, at)
            continue
        if kind == BYTES:
            length, at = read_varint(view, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise StorageError(f"no Datum: wire type {kind} at byte {at}")
        if at + length > end:
            raise StorageError(f"no Datum: field {field} runs past the end of the record")
        if field == 4 and kind == BYTES:
            data = view[at : at + length]
        at += length
    label = numbers[5] & (1 << 32) - 1
    signed = label - (1 << 32) if label >> 31 else label
    return Datum(data, signed, bool(numbers[7]), numbers[1], numbers[2], numbers[3])


@lru_cache  # a corpus repeats the same few numbers
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place of a protobuf message, and the place behind it.

    Raises
    ------
    StorageError
        If the message ends within the number, or it is too long.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise StorageError("no protobuf message: it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise StorageError("no protobuf message: a number of more than ten bytes")
