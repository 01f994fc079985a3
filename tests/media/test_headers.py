"""Facts in the headers of JPEG and PNG files, against the encoders that wrote them."""

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.trees import portrait
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hffkit.errors import ImageError
from hffkit.media.image import encode_jpeg, encode_png
from hffkit.media.jpeg_facts import jpeg_facts
from hffkit.media.png_facts import png_facts


def _encoded(kind: str, mode: str = "RGB", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(portrait()[:64, :80]).convert(mode).save(file, kind, **how)
    return file.getvalue()


@given(st.integers(1, 100))
def test_the_quality_of_pillow_and_opencv_is_found_exactly(quality: int) -> None:
    for encoded in (_encoded("JPEG", quality=quality), encode_jpeg(portrait()[:32], quality)):
        found = jpeg_facts(encoded)
        assert (found.quality, found.tables) == (quality, "ijg")


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling_and_size_are_read(number: int, name: str) -> None:
    found = jpeg_facts(_encoded("JPEG", subsampling=number))
    assert (found.subsampling, found.width, found.height) == (name, 80, 64)
    assert jpeg_facts(_encoded("JPEG", "L")).subsampling == "grey"


def test_marks_of_the_encoder_are_read() -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    plain = jpeg_facts(_encoded("JPEG"))
    assert plain.has_jfif
    assert not any(
        (plain.has_exif, plain.has_icc, plain.has_comment, plain.has_own_codes, plain.has_adobe)
    )
    marked = jpeg_facts(
        _encoded("JPEG", exif=exif, icc_profile=b"x" * 70000, comment="by hand", optimize=True)
    )
    assert all((marked.has_exif, marked.has_icc, marked.has_comment, marked.has_own_codes))
    assert jpeg_facts(_encoded("JPEG", progressive=True)).is_progressive
    assert jpeg_facts(_encoded("JPEG", restart_marker_blocks=5)).restart_interval == 5
    assert jpeg_facts(_encoded("JPEG", "CMYK")).has_adobe


def test_other_tables_are_told_apart_and_get_the_nearest_quality() -> None:
    own = _encoded("JPEG", qtables=[[9] * 64, [11] * 64])
    found = jpeg_facts(own)
    assert found.tables == "other"
    assert 85 <= found.quality <= 95
    adobe = b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x01"
    assert jpeg_facts(own[:2] + adobe + own[2:]).tables == "photoshop"


@pytest.mark.parametrize("name", ["web_low", "web_high", "low", "medium", "high", "maximum"])
def test_tables_of_photoshop_are_known_without_its_segments(name: str) -> None:
    for mode in ("RGB", "L"):
        found = jpeg_facts(_encoded("JPEG", mode, quality=name))
        assert (found.tables, found.has_adobe) == ("photoshop", False)


def test_files_of_photoshop_are_known_when_their_metadata_are_gone(data: Path) -> None:
    names = ("faceapi_bbt1", "fr_obama_small", "frtest_obama_partial_face", "fr_two_people")
    for name in names:
        encoded = (data / f"data/images/real-photo/{name}.jpg").read_bytes()
        at, bare = 2, encoded[:2]
        while encoded[at + 1] != 0xDA:  # up to the scan: all but what applications add
            end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
            bare += b"" if 0xE0 <= encoded[at + 1] <= 0xEF else encoded[at:end]
            at = end
        assert jpeg_facts(encoded).has_adobe
        found = jpeg_facts(bare + encoded[at:])
        assert (found.tables, found.has_adobe) == ("photoshop", False)


def test_pillow_and_the_parser_agree_on_real_files(data: Path) -> None:
    files = sorted((data / "data/images/real-photo").glob("*.jpg"))
    assert len(files) > 40
    for path in files:
        found = jpeg_facts(path.read_bytes())
        with Image.open(path) as image:
            assert (found.width, found.height) == image.size
            assert found.is_progressive == bool(image.info.get("progressive"))
            assert found.has_exif == ("exif" in image.info)
            assert found.has_icc == ("icc_profile" in image.info)
            assert found.has_comment == ("comment" in image.info)


@pytest.mark.parametrize(("folder", "quality"), [("real-celebahq1024", 75), ("fake-pggan1024", 95)])
def test_the_quality_of_published_files_is_as_recorded(
    data: Path, folder: str, quality: int
) -> None:
    files = sorted((data / "data/images" / folder).iterdir())
    assert {jpeg_facts(path.read_bytes()).quality for path in files} == {quality}


def test_what_is_damaged_is_refused() -> None:
    whole = _encoded("JPEG")
    for bad in (b"", b"\x89PNG", whole[:2], whole[:30], whole[:200]):
        with pytest.raises(ImageError):
            jpeg_facts(bad)
    png = _encoded("PNG")
    for bad in (b"", whole, png[:8], png[:50], png[:45] + bytes(20) + png[65:]):
        with pytest.raises(ImageError):
            png_facts(bad)


@given(st.binary(max_size=400))
def test_no_bytes_raise_another_error(noise: bytes) -> None:
    starts = (b"\xff\xd8", _encoded("JPEG")[:300], _encoded("PNG")[:60])
    for start, read in zip(starts, (jpeg_facts, jpeg_facts, png_facts), strict=True):
        with suppress(ImageError):
            read(start + noise)


def test_filters_of_png_rows_are_counted() -> None:
    ours = png_facts(encode_png(portrait()[:64, :80]))
    assert list(ours.filters) == [0, 0, 1, 0, 0]
    assert (ours.bits, ours.colour_type, ours.width, ours.height) == (8, 2, 80, 64)
    theirs = png_facts(_encoded("PNG"))
    assert sum(theirs.filters) == pytest.approx(1)
    assert theirs.filters[2] < 1  # Pillow chooses a filter for each row
    assert png_facts(_encoded("PNG", "L")).colour_type == 0
    text = PngInfo()
    text.add_text("by", "hand")
    assert "tEXt" in png_facts(_encoded("PNG", pnginfo=text)).chunks
    assert png_facts(_encoded("PNG", "1")).bits == 1
    levels = [png_facts(_encoded("PNG", compress_level=level)).zlib_level for level in (1, 9)]
    assert levels == [0, 3]


def test_a_png_of_sixteen_bits_is_one() -> None:
    rows = np.zeros((4, 5), np.uint16)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG")
    assert png_facts(file.getvalue()).bits == 16
    assert struct.unpack(">I", file.getvalue()[16:20]) == (5,)
