"""The tables of formats in docs/sources.md, made by making a file of each and reading it."""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from imagecodecs import avif_encode, jpegls_encode
from makers.docs import documented
from makers.heic import box, heic
from makers.mutations import saved, scan_damaged
from makers.tiffs import tiff
from makers.trees import face
from PIL import Image as PillowImage

from hffkit.errors import ImageError
from hffkit.media.image import Image
from hffkit.media.image_files import decode_file

FACE = face(0)[:80, :96]
RGB = PillowImage.fromarray(FACE)
MIRRORED = PillowImage.Transpose.FLIP_LEFT_RIGHT
GREY_16 = np.add.outer(np.arange(80), np.arange(96)).astype(np.uint16) << 8


@dataclass(frozen=True)
class Row:
    """A row of the table: the format, a few of its variants, and what the pixels must be."""

    name: str
    variants: Sequence[tuple[str, bytes]]  # name and file, each of `FACE`
    turns: Sequence[Callable[[PillowImage.Exif], bytes]] = ()  # make files that are to be turned
    turned_by: str = "no"
    tolerance: float = 4  # mean error of its compression, in grey levels


def form(kind: str, picture: PillowImage.Image = RGB, **options: Any) -> bytes:
    return saved(picture, kind, **options)


def turning(kind: str, **options: Any) -> Callable[[PillowImage.Exif], bytes]:
    return lambda exif: form(kind, exif=exif, **options)


def several(kind: str, **options: Any) -> bytes:
    """The face and, as another frame or page, its mirror image."""
    return form(kind, save_all=True, append_images=[RGB.transpose(MIRRORED)], **options)


def moving(kind: str) -> Callable[[PillowImage.Exif], bytes]:
    return lambda exif: several(kind, exif=exif, lossless=True)


def turned_heic(exif: PillowImage.Exif) -> bytes:
    """A HEIC with the boxes of an orientation."""
    irot, imir = {
        1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0),
        8: (1, None),
    }[exif[0x0112]]  # fmt: skip
    boxes = [box(b"irot", bytes([irot]))] * (irot > 0)
    if imir is not None:
        boxes.append(box(b"imir", bytes([imir])))
    return heic(FACE, boxes)


def tiled(exif: PillowImage.Exif) -> bytes:
    """A TIFF in tiles that do not fit its sides, with an orientation."""
    return tiff(FACE, {ORIENTATION: exif[ORIENTATION]}, tile=32)


def tiff_of(compression: str, picture: PillowImage.Image = RGB) -> bytes:
    return form("TIFF", picture, compression=compression)


def of_100_levels() -> bytes:
    """A PPM whose white is 100."""
    levels = np.rint(FACE / 2.55).astype(np.uint8)
    return b"P6 # white\n96\t80 100\n" + levels.tobytes()


def of_12_bits() -> bytes:
    """A PGM whose white is 4095."""
    return b"P5 96 80 4095\n" + (np.asarray(GREY, np.uint16) * 16).astype(">u2").tobytes()


CLEAR = np.dstack([FACE, np.zeros(FACE.shape[:2], np.uint8)])
ORIENTATION, THUMBNAIL, ALPHA_KIND = 0x0112, 254, 338
GREY, CMYK, ALPHA = RGB.convert("L"), RGB.convert("CMYK"), RGB.convert("RGBA")
FORMATS: Sequence[Row] = (
    Row("JPEG", [
        ("baseline", form("JPEG", quality=95)),
        ("progressive", form("JPEG", quality=95, progressive=True)),
        ("grey", form("JPEG", GREY, quality=95)), ("CMYK", form("JPEG", CMYK, quality=95)),
        ("first of several (MPO)", several("MPO", quality=95)),
    ], [turning("JPEG", quality=95)], "EXIF"),
    Row("PNG", [
        ("true colour", form("PNG")), ("alpha (dropped)", form("PNG", ALPHA)),
        ("palette", form("PNG", RGB.quantize(256))),
        ("16 bits (the high byte)", form("PNG", PillowImage.fromarray(GREY_16))),
        ("first frame (APNG)", several("PNG", default_image=True)),
    ], [turning("PNG"), moving("PNG")], "EXIF"),
    Row("WebP", [
        ("lossy", form("WEBP")), ("lossless", form("WEBP", lossless=True)),
        ("first frame", several("WEBP", lossless=True)),
    ], [turning("WEBP"), moving("WEBP")], "EXIF"),
    Row("TIFF", [
        ("plain", form("TIFF")), ("LZW", tiff_of("tiff_lzw")),
        ("Deflate", tiff_of("tiff_deflate")), ("JPEG", tiff_of("jpeg")),
        ("PackBits", tiff_of("packbits")), ("tiles", tiff(FACE, tile=32)),
        ("alpha (dropped)", tiff(CLEAR, {ALPHA_KIND: 2})),
        ("16 bits (the high byte)", tiff(GREY_16[..., None])), ("first page", several("TIFF")),
    ], [turning("TIFF"), tiled], "EXIF"),
    Row("GIF", [("palette", form("GIF")), ("first frame", several("GIF"))], tolerance=9),
    Row("AVIF", [
        ("8 bits", form("AVIF", quality=95)), ("4:4:4", form("AVIF", subsampling="4:4:4")),
        ("10 bits", bytes(avif_encode(FACE.astype(np.uint16) << 2, level=95, bitspersample=10))),
        ("first frame", several("AVIF", quality=95)),
    ], [turning("AVIF", quality=95)], "irot and imir boxes"),
    Row("HEIC", [("one item", heic(FACE)), ("grid of tiles", heic(FACE, grid=(2, 2)))],
        [turned_heic], "irot and imir boxes"),
    Row("BMP", [("true colour", form("BMP")), ("palette", form("BMP", RGB.quantize(256)))]),
    Row("JPEG 2000", [
        ("reversible", form("JPEG2000")), ("irreversible", form("JPEG2000", irreversible=True)),
        ("codestream alone", form("JPEG2000", no_jp2=True)),
        ("grey codestream", form("JPEG2000", GREY, no_jp2=True)),
    ]),
    Row("PNM", [
        ("PPM", form("PPM")), ("PGM", form("PPM", GREY)), ("PPM of 100 levels", of_100_levels()),
        ("PGM of 12 bits", of_12_bits()),
    ]),
)  # fmt: skip

# Heads suffice for what is refused by its name.
REFUSED: Sequence[tuple[str, bytes]] = (
    ("HEIC of other items than HEVC", heic(FACE).replace(b"hvc1", b"iovl")),
    ("JPEG XL", b"\xff\x0a" + bytes(99)),
    ("Photoshop", b"8BPS\0\1" + bytes(99)),
    ("icon", form("ICO")),
    ("PFM", b"Pf\n4 4\n-1.0\n" + bytes(64)),
    ("OpenEXR", b"v/1\1" + bytes(99)),
    ("Radiance", b"#?RADIANCE\n" + bytes(99)),
    ("Canon CR3", b"\0\0\0\x18ftypcrx \0\0\0\0crx isom" + bytes(99)),
    ("Canon CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99)),
    ("JPEG-LS", bytes(jpegls_encode(FACE))),
    ("a JPEG of 12 bits", form("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    ("a TIFF that begins with a thumbnail", tiff(FACE[::4, ::4], {THUMBNAIL: 1})),
    ("a TIFF of whole numbers of 32 bits", tiff(FACE.astype(np.uint32) << 24)),
    ("a TIFF of fractions", tiff((FACE / 255).astype(np.float32))),
    ("a TIFF of 16-bit CMYK, as an example", tiff(CLEAR.astype(np.uint16), {262: 5})),
    ("PNM as text", b"P3\n1 1\n255\n1 2 3\n"),
    ("PAM", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n0"),
    ("a video named as an image", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(99)),
    ("a web page", b"<!DOCTYPE html><html>"),
    ("other text", b"path label\n"),
    ("an empty file", b""),
    ("a JPEG that was cut short", form("JPEG")[:-400]),
    ("a PNG that was cut short", form("PNG")[:-400]),
    ("more than 178,956,970 pixels", b"BM" + struct.pack("<IIIIiiHHIIIIII", 70, 0, 54, 40, 20_000,
     20_000, 1, 24, 0, 0, 0, 0, 0, 0)),
)  # fmt: skip


def difference(image: Image, expected: Image) -> float:
    assert image.shape == expected.shape
    return float(np.abs(image.astype(np.int16) - expected).mean())


def expected_of(variant: str) -> Image:
    if variant.startswith("16 bits"):
        return np.repeat((GREY_16 >> 8).astype(np.uint8)[..., None], 3, axis=2)
    is_grey = variant.startswith(("grey", "PGM"))
    return np.asarray(GREY.convert("RGB") if is_grey else RGB, np.uint8)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_every_variant_is_read(row: Row) -> None:
    for variant, encoded in row.variants:
        found = decode_file(encoded)
        assert found.damage is None
        expected = expected_of(variant)
        assert difference(found.image, expected) < row.tolerance, variant
        mirrored = PillowImage.fromarray(expected).transpose(MIRRORED)
        assert difference(found.image, np.asarray(mirrored, np.uint8)) > 20


@pytest.mark.parametrize("row", [row for row in FORMATS if row.turns], ids=lambda row: row.name)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(row: Row, orientation: int) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    turned = {  # clockwise, after the image was mirrored
        1: FACE, 2: FACE[:, ::-1], 3: FACE[::-1, ::-1], 4: FACE[::-1],
        5: np.rot90(FACE[:, ::-1]), 6: np.rot90(FACE, -1), 7: np.rot90(FACE[:, ::-1], -1),
        8: np.rot90(FACE),
    }  # fmt: skip
    for turn in row.turns:
        image = decode_file(turn(exif)).image
        assert difference(image, np.asarray(turned[orientation], np.uint8)) < row.tolerance


def refusal(encoded: bytes) -> str:
    with pytest.raises(ImageError) as raised:
        decode_file(encoded)
    return str(raised.value)


@pytest.mark.parametrize("most", [1, 2, 100, 254, 256, 1023, 65534])
@pytest.mark.parametrize("kind", [5, 6])
def test_pnm_of_any_largest_value_is_what_pillow_reads(most: int, kind: int) -> None:
    rng = np.random.default_rng(most)
    values = rng.integers(0, most + 1, (7, 5) + (3,) * (kind == 6)).astype(np.uint16)
    data = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    encoded = b"P%d\n# a comment\n5 7\n%d\n" % (kind, most) + data
    found = decode_file(encoded + b"\n")
    expected = np.asarray(PillowImage.open(io.BytesIO(encoded)))
    if expected.dtype != np.uint8:  # Pillow keeps 16 bits of grey
        expected = np.rint(expected / 257).astype(np.uint8)
    expected = np.broadcast_to(expected.reshape(7, 5, -1), (7, 5, 3))
    assert np.abs(found.image.astype(int) - expected).max() <= 1
    assert not found.keeps_file
    for n_lost in (1, len(data)):
        with pytest.raises(ImageError, match="the PNM's pixels do not fit its header"):
            decode_file(encoded[:-n_lost])


def test_table_of_images_is_what_is_read() -> None:
    made = [[row.name, ", ".join(name for name, _ in row.variants), row.turned_by]
            for row in FORMATS]  # fmt: skip
    assert documented("### Images") == made


def test_table_of_refusals_is_what_is_refused() -> None:
    made = [[name, f"`{refusal(encoded)}`"] for name, encoded in REFUSED]
    damaged = decode_file(scan_damaged(form("JPEG"))).damage
    made.append(["a damaged JPEG, as an example", f"`{damaged}`"])
    assert documented("### Refused images") == made


def test_formats_without_a_turn_hold_none() -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    for row in FORMATS:
        if not row.turns:
            kind = {"JPEG 2000": "JPEG2000", "PNM": "PPM"}.get(row.name, row.name)
            file = io.BytesIO()
            RGB.save(file, kind, exif=exif)
            assert decode_file(file.getvalue()).image.shape == FACE.shape
