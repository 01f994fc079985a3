"""Read format and size of encoded images before they are decoded, and bound both."""

import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from hffkit.errors import ImageError
from hffkit.media.kinds import HEAD_BYTES, Kind, kind_of

# Pillow's own limit: 537 MB once decoded. Headers of larger images are damaged or malicious.
MAX_PIXELS = 178_956_970

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not a restart marker inside of a scan
_END = 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_FRAME = struct.Struct(">xxBHH")  # length; bits per sample, height and width

_JPEG_LS = 0xF7  # its frame header, ITU-T T.87
_JPEG_BITS = 8  # per sample; medical images have up to 16

PILLOW_ERRORS = (  # raised by its parsers for damaged files
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)

logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Header:
    """Format and size of an encoded image."""

    format: str  # Pillow's name: "JPEG", "PNG", ...
    width: int  # px
    height: int  # px


def kind_of_image(encoded: bytes) -> Kind:
    """Recognise an image by its content.

    Raises
    ------
    ImageError
        If the bytes are no image; the message names what they are.
    """
    kind = kind_of(encoded[:HEAD_BYTES])
    if kind is None:
        raise ImageError(_no_image(encoded))
    if kind.medium != "image":
        raise ImageError(f"no image: {kind.title}")
    return kind


def _no_image(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    if encoded.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"RIFF")):
        return f"cut short or damaged: {len(encoded)} bytes that begin as an image"
    start = encoded[:8].strip()
    if start.isascii() and start.decode("ascii").isprintable():
        return f"no image: starts with {start.decode('ascii')!r}"
    return f"no image: starts with the bytes {encoded[:8].hex(' ')}"


def read_header(encoded: bytes) -> Header:
    """Read format and size of an image without decoding it.

    Raises
    ------
    ImageError
        If the bytes are no image, or one of more than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PillowImage.open(io.BytesIO(encoded)) as opened:
                header = Header(str(opened.format), *opened.size)
    except UnidentifiedImageError:
        kind = kind_of_image(encoded)
        raise ImageError(
            f"{kind.title} that cannot be read (cut short, damaged, or a rare variant?)"
        ) from None
    except PillowImage.DecompressionBombError:
        raise ImageError(f"too large: at most {MAX_PIXELS} pixels are read") from None
    except PILLOW_ERRORS as error:
        raise ImageError(f"damaged header: {error}") from None
    return _bounded(header)


def check_header(encoded: bytes, kind: Kind) -> Header:
    """Read a header as `read_header`, but JPEG and PNG many times as fast, to their ends.

    Raises
    ------
    ImageError
        As `read_header`, and if a JPEG or PNG is cut short: OpenCV decodes such a JPEG without an
        error, its lower part grey.
    """
    quick = _QUICK_HEADERS.get(kind.name)
    header = quick(encoded) if quick else None
    return _bounded(header) if header and header.width and header.height else read_header(encoded)


def _bounded(header: Header) -> Header:
    check_size(header.width, header.height)
    return header


def check_size(width: int, height: int) -> None:
    """Raise ImageError if an image has more than `MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"too large: {width}x{height}; at most {MAX_PIXELS} pixels are read")


def jpeg_markers(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yield code and position of a JPEG's markers to the end of the image, as libjpeg finds them.

    Segments, which may hold thumbnails, are skipped by their length, and so are entropy-coded data
    and bytes that are no marker. The position is that of the segment's length.

    Raises
    ------
    ImageError
        If the end marker is missing.
    """
    at = 2
    while found := _MARKER.search(encoded, at):
        at = found.end()
        code = encoded[at - 1]
        yield code, at
        if code == _END:
            return
        if code not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(encoded[at : at + 2], "big"))
    raise ImageError("cut short: the JPEG's end is missing")


def _jpeg_header(encoded: bytes) -> Header | None:
    header = None
    for code, at in jpeg_markers(encoded):
        if code == _JPEG_LS:
            raise ImageError("JPEG-LS image: cannot be decoded here; convert it to PNG")
        if header is None and code in FRAME_HEADERS and at + _FRAME.size <= len(encoded):
            bits, height, width = _FRAME.unpack_from(encoded, at)
            if bits != _JPEG_BITS:
                raise ImageError(
                    f"JPEG image of {bits} bits: cannot be decoded here; convert it to PNG"
                )
            header = Header("JPEG", width, height)
    return header


def png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk, and the positions of its data and of its checksum.

    Raises
    ------
    ImageError
        If a chunk is truncated: decoders allocate the length that it claims.
    """
    at, name = 8, b""
    while name != b"IEND":
        name, data = encoded[at + 4 : at + 8], at + 8
        end = data + int.from_bytes(encoded[at : at + 4], "big")
        # Decoders do without the checksum of the empty last chunk.
        if end + 4 * (name != b"IEND") > len(encoded) or len(name) < 4:
            raise ImageError("cut short: a chunk of the PNG runs past its end")
        yield name, data, end
        at = end + 4


def _png_header(encoded: bytes) -> Header | None:
    names = [name for name, _, _ in png_chunks(encoded)]
    return Header("PNG", *struct.unpack_from(">II", encoded, 16)) if names[0] == b"IHDR" else None


def png_with_wrong_checksum(encoded: bytes) -> str | None:
    """Return the name of a PNG's first chunk whose checksum is wrong; None if all are right."""
    view = memoryview(encoded)
    for name, data, end in png_chunks(encoded):
        if zlib.crc32(view[data - 4 : end]).to_bytes(4, "big") != encoded[end : end + 4]:
            return name.decode("ascii", "backslashreplace")
    return None


_QUICK_HEADERS: Mapping[str, Callable[[bytes], Header | None]] = {
    "jpeg": _jpeg_header,
    "png": _png_header,
}
