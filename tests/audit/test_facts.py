"""Facts of stored files and trivial facts of pixels, against what made them."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.trees import Pixels, portrait
from PIL import Image

from hffkit.audit.stored_facts import FACTS, row_of, stored_facts
from hffkit.audit.trivial_pixels import (
    PIXEL_FACTS,
    RECODED_FACTS,
    earlier_qualities,
    pixel_facts,
    recoded_facts,
)
from hffkit.manifest.samples import Sample
from hffkit.media.image import decode, encode_jpeg, encode_png, grey
from hffkit.storage.datum import Datum, raw_datum

SAMPLE = Sample(
    "a", "gan", "train", "a", "a.mp4", "0" * 64, 7, (5, 6, 90), "dlib", "0" * 64, "0" * 64
)


def _facts(encoded: bytes) -> dict[str, float]:
    return stored_facts(SAMPLE, Datum(encoded, 0, encoded=True))


def _named(image: Pixels) -> dict[str, float]:
    return dict(zip((fact.name for fact in PIXEL_FACTS), pixel_facts(image), strict=True))


def test_facts_of_each_container_are_rows_of_the_table() -> None:
    image = portrait()[:64, :80]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP")
    kinds = {"JPEG": encode_jpeg(image, 90), "PNG": encode_png(image), "WEBP": file.getvalue()}
    names = {fact.name for fact in FACTS}
    for kind, encoded in kinds.items():
        found = _facts(encoded)
        assert set(found) <= names
        assert FACTS[0].names[int(found["container"])] == kind
        assert (found["width"], found["height"], found["aspect"]) == (80, 64, 1.25)
        assert found["bytes_per_pixel"] == len(encoded) / 5120
        assert (found["frame"], found["box_x"], found["box_size"]) == (7, 5, 90)
        assert len(row_of(found)) == len(FACTS)
    assert _facts(kinds["JPEG"])["jpeg_quality"] == 90
    assert _facts(kinds["PNG"])["png_up"] == 1
    raw = stored_facts(SAMPLE, raw_datum(image, 0))
    assert raw["container"] == 0
    assert np.isnan(row_of(raw)[[fact.name for fact in FACTS].index("jpeg_quality")])


@given(st.integers(20, 90))
def test_the_quality_of_an_earlier_jpeg_is_found_in_its_pixels(quality: int) -> None:
    image = portrait()[64:320, 64:320]
    found, _ = earlier_qualities(grey(decode(encode_jpeg(image, quality))))
    assert abs(found - quality) <= 3


def test_no_earlier_jpeg_is_found_where_there_was_none() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 256), dtype=np.uint8)
    assert np.isnan(earlier_qualities(noise)).all()
    reduced = np.asarray(Image.fromarray(portrait()).resize((200, 200)).convert("L"))
    assert np.isnan(earlier_qualities(reduced)).all()
    shifted = grey(decode(encode_jpeg(portrait()[:256, :256], 60)))[3:, 5:]
    assert np.isnan(earlier_qualities(shifted)).all()


@pytest.mark.parametrize("last", [75, 85, 90, 95])
@pytest.mark.parametrize("first", [None, 50, 70, 80, 98])
def test_a_jpeg_that_was_saved_twice_is_told_from_one_saved_once(
    first: int | None, last: int
) -> None:
    image = portrait()[64:320, 64:320]
    before = image if first is None else decode(encode_jpeg(image, first))
    found = earlier_qualities(grey(decode(encode_jpeg(before, last))), last)[1]
    if first is None or first > last - 10:  # finer steps leave no trace in coarser ones
        assert np.isnan(found)
    else:
        assert abs(found - first) <= 3


def test_the_grid_of_blocks_and_its_phase_are_found() -> None:
    coded = decode(encode_jpeg(portrait()[:256, :256], 40))
    plain, found = _named(portrait()[:256, :256]), _named(coded)
    assert found["blockiness"] > 1.4 > plain["blockiness"]
    assert (found["phase_x"], found["phase_y"]) == (0, 0)
    moved = _named(np.ascontiguousarray(coded[3:, 5:]))
    assert (moved["phase_x"], moved["phase_y"]) == (3, 5)  # the next step is at 8 - 5 and 8 - 3


@pytest.mark.parametrize("colour", [0, 90, 128, 255])
def test_borders_are_counted(colour: int) -> None:
    image = portrait()[40:140, 180:280].copy()
    assert _named(image)["border"] == 0
    image[:2], image[-2:], image[:, :2], image[:, -2:] = (colour,) * 4
    found = _named(image)
    assert found["border"] == 2
    assert (found["dark_rows"], found["dark_columns"]) == ((4, 4) if colour == 0 else (0, 0))
    for quality in (50, 75, 90):  # JPEG leaves ripples in the border
        assert _named(decode(encode_jpeg(image, quality)))["border"] in (1, 2)


def test_letterboxes_are_counted_per_direction() -> None:
    image = portrait()[40:140, 180:280].copy()
    image[:12], image[-9:] = 0, 3
    found = _named(image)
    assert (found["dark_rows"], found["dark_columns"], found["border"]) == (21, 0, 0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (8, 8), (20, 300), (15, 15)])
def test_small_and_flat_images_have_facts(shape: tuple[int, int]) -> None:
    for value in (0, 255):
        image = np.full((*shape, 3), value, np.uint8)
        assert len(pixel_facts(image)) == len(PIXEL_FACTS)
        assert len(recoded_facts(image, 128)) == len(RECODED_FACTS)


def test_recoding_removes_the_history() -> None:
    image: Any = portrait()[:256, :256]
    kinds = [
        image,
        decode(encode_jpeg(image, 60)),
        np.asarray(Image.fromarray(image).resize((512, 512))),
    ]
    rows = np.array([recoded_facts(kind, 128) for kind in kinds])
    spread = np.ptp(rows, axis=0)
    names = [fact.name for fact in RECODED_FACTS]
    assert dict(zip(names, spread, strict=True))["red"] < 2
    assert dict(zip(names, spread, strict=True))["high_frequency"] < 0.15
