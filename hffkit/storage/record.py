"""Records of samples, made of pixels: native or packed."""

import hashlib
from dataclasses import dataclass

from hffkit.errors import ArgumentError
from hffkit.media.image import (
    CONVERT_IMAGESET,
    Image,
    digests,
    encode_png,
    pixels_sha256,
    resize,
)
from hffkit.storage.datum import Datum, encode_datum, raw_datum


@dataclass(frozen=True, slots=True)
class Stored:
    """A sample's record and the digests of its data and pixels."""

    value: bytes
    sha256: str
    pixels_sha256: str


def store(image: Image, original: bytes | None, label: int, size: int | None) -> Stored:
    """Make the record of one sample.

    Native (`size` None): the bytes of the original file if they are given, else a PNG of `image`.
    Packed: raw pixels, resized to `size` as convert_imageset does.
    """
    if size is not None:
        datum = raw_datum(resize(image, size, CONVERT_IMAGESET), label)
        return Stored(encode_datum(datum), *digests(datum.data, datum.height, datum.width))
    datum = Datum(encode_png(image) if original is None else original, label, encoded=True)
    return Stored(encode_datum(datum), hashlib.sha256(datum.data).hexdigest(), pixels_sha256(image))


def check_packed_size(size: int | None) -> None:
    """Raise ArgumentError unless `size` is None or a side of 1 to 4096 px."""
    if size is not None and not 1 <= size <= 4096:
        raise ArgumentError(f"`size` must be native or 1 to 4096 px, got {size}.")
