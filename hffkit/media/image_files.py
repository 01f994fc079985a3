"""Decode image files that others made: of any format, turned in any way, and perhaps damaged."""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from hffkit.errors import ImageError
from hffkit.media.headers import PILLOW_ERRORS, check_header, kind_of_image
from hffkit.media.heif import HeifFile, decode_heic, turned
from hffkit.media.image import Image, decode, decode_grey, grey
from hffkit.media.jpeg2000 import filed
from hffkit.media.kinds import Kind
from hffkit.media.messages import caught_messages
from hffkit.media.pnm import plain_pnm
from hffkit.media.tiff import check_tiff, for_opencv
from hffkit.media.turn import ORIENTATIONS, UPRIGHT

# OpenCV would not turn AVIF, and refuses some GIF files.
_BY_PILLOW = frozenset({"gif", "avif"})
_HEIC = "heic"
# Files of which OpenCV makes other pixels, rewritten; None for the others of their kind.
_REWRITTEN: Mapping[str, Callable[[bytes], bytes | None]] = {"jpeg2000": filed, "pnm": plain_pnm}
_ANIMATED_WEBP = 2  # bit of the flags at byte 20
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The pixels of a file, and what its decoder complained of."""

    image: Image
    damage: str | None  # None if all pixels are right; otherwise some of them are made up
    keeps_file: bool  # other programs, such as Caffe, see these pixels in the file's own bytes


def decode_file(encoded: bytes, *, as_grey: bool = False) -> DecodedImage:
    """Decode the content of an image file, upright; of animations the first frame.

    Parameters
    ----------
    as_grey : bool
        Decode as `decode_grey` does, not as `decode`.

    Raises
    ------
    ImageError
        If nothing can be decoded: the bytes are no image or one that no decoder here reads, are cut
        short, or hold more than `MAX_PIXELS`.
    """
    kind = kind_of_image(encoded)
    with caught_messages() as messages:
        try:
            found = _decoded(encoded, kind, as_grey=as_grey)
            error = None
        except ImageError as raised:
            error = str(raised)
    if error is not None:
        raise ImageError(": ".join(filter(None, (error, messages.reason))))
    damage = found.damage or messages.damage(encoded, kind)
    text = None if damage is None else f"damaged {kind.title}: {damage}"
    return DecodedImage(found.image, text, keeps_file=damage is None and found.keeps_file)


def _decoded(encoded: bytes, kind: Kind, *, as_grey: bool) -> DecodedImage:
    """Return the pixels, and what a decoder that writes nothing to stderr complained of."""
    complaint = None
    if kind.name in _BY_PILLOW:
        image = _by_pillow(encoded, kind)
    elif kind.name == _HEIC:
        image, complaint = decode_heic(encoded)
    else:
        return _by_opencv(encoded, kind, as_grey=as_grey)
    return DecodedImage(grey(image) if as_grey else image, complaint, keeps_file=False)


def _by_opencv(encoded: bytes, kind: Kind, *, as_grey: bool) -> DecodedImage:
    file, orientation = encoded, 1  # as OpenCV leaves it
    if kind.name == "tiff":
        check_tiff(encoded)
        file, orientation = for_opencv(encoded)
    elif kind.name in _REWRITTEN:
        file = _REWRITTEN[kind.name](encoded) or encoded
    elif _is_animated(encoded, kind):
        orientation = _orientation(encoded)
    image = decode_grey(file) if as_grey else decode(file)
    turn = ORIENTATIONS.get(orientation, UPRIGHT)
    is_opencvs = file is encoded and turn == UPRIGHT
    return DecodedImage(turn.upright(image), None, keeps_file=is_opencvs)


def _is_animated(encoded: bytes, kind: Kind) -> bool:
    """Test for an animation of PNG or WebP, which OpenCV does not turn."""
    if kind.name == "png":
        return b"acTL" in encoded[: max(0, encoded.find(b"IDAT"))]
    return len(encoded) > 20 and encoded[8:16] == b"WEBPVP8X" and bool(encoded[20] & _ANIMATED_WEBP)


def _orientation(encoded: bytes) -> int:
    """Return the EXIF orientation of an image; 1 if it has none or a senseless one."""
    try:
        with PillowImage.open(io.BytesIO(encoded)) as opened:
            return int(opened.getexif().get(_ORIENTATION, 1))
    except PILLOW_ERRORS:
        return 1


def _by_pillow(encoded: bytes, kind: Kind) -> Image:
    """Decode the first frame."""
    name = check_header(encoded, kind).format
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as opened:
                image = np.asarray(opened.convert("RGB"), np.uint8)
    except PILLOW_ERRORS as error:
        raise ImageError(f"damaged {name}: {error}") from None
    primary = HeifFile(encoded).primary if kind.name == "avif" else None
    return image if primary is None else turned(image, primary.properties)
