"""Decode image files that others made: of any format, turned in any way, and perhaps damaged."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from hffkit.errors import ImageError
from hffkit.media.headers import PILLOW_ERRORS, check_header, kind_of_image
from hffkit.media.heif import decode_heic
from hffkit.media.image import Image, decode, decode_grey, grey
from hffkit.media.jpeg2000 import filed
from hffkit.media.kinds import Kind
from hffkit.media.messages import caught_messages

# OpenCV would not turn AVIF, and refuses some GIF files.
_BY_PILLOW = frozenset({"gif", "avif"})
_HEIC = "heic"


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
            image, complaint = _decoded(encoded, kind, as_grey=as_grey)
            error = None
        except ImageError as raised:
            error = str(raised)
    if error is not None:
        raise ImageError(": ".join(filter(None, (error, messages.reason))))
    damage = complaint or messages.damage(encoded, kind)
    text = None if damage is None else f"damaged {kind.title}: {damage}"
    is_opencvs = kind.name not in _BY_PILLOW | {_HEIC} and filed(encoded) is None
    return DecodedImage(image, text, keeps_file=damage is None and is_opencvs)


def _decoded(encoded: bytes, kind: Kind, *, as_grey: bool) -> tuple[Image, str | None]:
    """Return the pixels, and what a decoder that writes nothing to stderr complained of."""
    complaint = None
    if kind.name in _BY_PILLOW:
        image = _by_pillow(encoded, kind)
    elif kind.name == _HEIC:
        image, complaint = decode_heic(encoded)
    else:
        encoded = filed(encoded) or encoded
        return decode_grey(encoded) if as_grey else decode(encoded), None
    return grey(image) if as_grey else image, complaint


def _by_pillow(encoded: bytes, kind: Kind) -> Image:
    """Decode the first frame; Pillow gives the turns of AVIF's boxes as an EXIF orientation."""
    name = check_header(encoded, kind).format
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as opened:
                return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), np.uint8)
    except PILLOW_ERRORS as error:
        raise ImageError(f"damaged {name}: {error}") from None
