"""PNM files (https://netpbm.sourceforge.net/doc) with a largest value that OpenCV ignores."""

import re

import numpy as np

from hffkit.errors import ImageError
from hffkit.media.headers import check_size

_GAP = rb"(?:\s|#[^\r\n]*+)++"
_HEADER = re.compile(rb"P([56])" + 3 * (_GAP + rb"(\d{1,9})") + rb"\s")
_READ = (b"P1", b"P4", b"P5", b"P6")
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
    values = np.frombuffer(encoded, ">u2" if most > _FULL[0] else np.uint8, offset=header.end())
    if not 0 < most < _FULL[1] or len(values) < n_values:
        raise ImageError("cut short or damaged: the PNM's pixels do not fit its header")
    levels = (np.arange(most + 1) * 255 + most // 2) // most
    scaled = levels.astype(np.uint8)[np.minimum(values[:n_values], most)]
    return b"P%b %d %d 255\n" % (bytes(header[1]), width, height) + bytes(scaled)
