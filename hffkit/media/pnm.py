"""PNM files (https://netpbm.sourceforge.net/doc) with a largest value that OpenCV ignores."""

import re

import numpy as np

from hffkit.errors import ImageError
from hffkit.media.headers import check_size

_GAP = rb"(?:\s|#[^\r\n]*+)++"
_HEADER = re.compile(rb"P([56])" + 3 * (_GAP + rb"(\d{1,9})") + rb"\s")
_READ = (b"P1", b"P4", b"P5", b"P6")
_AT_ONCE = 1 << 22  # values that are rescaled at once, to save memory
_FULL = (255, 65535)  # largest values of 8 and 16 bits


def plain_pnm(encoded: bytes) -> bytes | None:
    """Rescale an image whose largest value is neither 255 nor 65535 to 0..255; None for others.

    Raises
    ------
    ImageError
        If it is a variant that OpenCV does not read, or cut short.
    """
    if not encoded.startswith(_READ):
        name = encoded[:2].decode("ascii")
        raise ImageError(f"PNM image of the kind {name}: cannot be decoded here; convert it to PNG")
    header = _HEADER.match(encoded)
    if header is None or int(header[4]) in _FULL:
        return None
    width, height, most = (int(number) for number in header.groups()[1:])
    check_size(width, height)
    n_values = width * height * (3 if header[1] == b"6" else 1)
    kind = np.dtype(">u2" if most > _FULL[0] else np.uint8)
    n_there = (len(encoded) - header.end()) // kind.itemsize
    if not 0 < most < _FULL[1] or not 0 < n_values <= n_there:
        raise ImageError("cut short or damaged: the PNM's pixels do not fit its header")
    values = np.frombuffer(encoded, kind, n_values, header.end())
    levels = ((np.arange(most + 1) * 255 + most // 2) // most).astype(np.uint8)
    scaled = np.empty(n_values, np.uint8)
    for begin in range(0, n_values, _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        scaled[part] = levels[np.minimum(values[part], most)]
    head = b"P%b %d %d 255\n" % (header[1], width, height)
    return b"".join((head, scaled.data))
