"""Codestreams of JPEG 2000 without a file around them (ISO/IEC 15444-1, annexes A and I)."""

import struct

_START = b"\xff\x4f\xff\x51"  # of a codestream; after it its length, capabilities and size
_SIZE = struct.Struct(">4xHH8I H B")
_FILE = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
_WAVELET, _GREY = 7, 17  # as `ihdr` and `colr` have them


def filed(encoded: bytes) -> bytes | None:
    """Return a grey codestream as a file that says so; None if it is in colour, or a file.

    OpenCV decodes every bare codestream as colour, whatever its number of components.
    """
    if not encoded.startswith(_START) or len(encoded) < len(_START) + _SIZE.size:
        return None
    _, _, right, bottom, left, top, *_, n_components, depth = _SIZE.unpack_from(encoded)
    if n_components not in (1, 2) or right <= left or bottom <= top:
        return None
    image = struct.pack(">IIHBBBB", bottom - top, right - left, n_components, depth, _WAVELET, 0, 0)
    colour = struct.pack(">BBBI", 1, 0, 0, _GREY)
    boxes = _box(b"ihdr", image) + _box(b"colr", colour)
    return _FILE + _box(b"jp2h", boxes) + _box(b"jp2c", encoded)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
