"""Names, draws and chains: what is asked for, what is drawn, what is recorded."""

import base64
import csv
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers.noise import IMAGES, LEVELS, noise_image
from makers.trees import face

from hffkit.degrade import compression, spatial
from hffkit.degrade.chain import Degraded, chain, every_value
from hffkit.degrade.operation import VideoSetting
from hffkit.degrade.parameter import Interval
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError, ImageError, UnknownNameError
from hffkit.media.image import Image, pixels_sha256

IMAGE_CODES = [c for c, op in OPERATIONS.items() if not isinstance(op, VideoSetting)]
MIXES = [f"{code}-mix" for code in IMAGE_CODES]
INTERVAL_MIXES = [
    f"{code}-mix" for code, op in OPERATIONS.items() if isinstance(op.parameter, Interval)
]
DOT = np.full((1, 1, 3), 200, np.uint8)
N_DRAWS = 1_000  # of an operation: the same two functions draw for all of them
N_PAIRS = 2_000  # of draws
FEWER = settings(max_examples=settings().max_examples // 2)  # of each operation

KERNELS = st.integers(0, 49).map(lambda half: str(2 * half + 1))
SIDES = st.integers(1, 300).map(str)
PERCENTS = st.integers(-99, 900).map("{:+}".format)
VALUES: dict[str, st.SearchStrategy[str]] = {  # all that is possible, inside Table IX or not
    "me": KERNELS,
    "gb": KERNELS,
    "med": KERNELS,
    "gc": st.floats(0.01, 100).map(str),
    "jp": st.integers(1, 100).map(str),
    "jp2": st.floats(1, 1000).map(str),
    "sc": PERCENTS,
    "jp2-97": st.floats(1, 1000).map(str),
    "sc-cubic": PERCENTS,
    "h264": st.integers(0, 51).map(str),
    "blur": st.floats(0, 20).map(str),
    "blur-3": st.floats(0, 20).map(str),
    "blur-2": st.floats(0, 20).map(str),
    "blur-k": KERNELS,
    "lens": st.floats(0.1, 20).map(str),
    "pixel": st.integers(1, 64).map(str),
    "sat": st.floats(-10, 10).map(str),
    "sat-hsv": st.floats(-10, 10).map(str),
    "dim": st.floats(0, 10).map(str),
    "contrast": st.floats(-1, 1).map(str),
    "brighten": st.floats(0, 2).map(str),
    "darken": st.floats(0, 2).map(str),
    "quant": st.integers(2, 256).map(str),
    "noise": st.floats(0, 255).map(str),
    "noise-var": st.floats(0, 1).map(str),
    "noise-ycbcr": st.floats(0, 1).map(str),
    "impulse": st.floats(0, 1).map(str),
    "blocks": st.integers(0, 99).map(str),
    "jitter": st.floats(0, 20).map(str),
    "shift": st.integers(0, 100).map(str),
    "rs-nearest": SIDES,
    "rs-box": SIDES,
    "rs-bilinear": SIDES,
    "rs-hamming": SIDES,
    "rs-bicubic": SIDES,
    "rs-lanczos": SIDES,
    "fit": SIDES,
    "fit-width": SIDES,
    "square": SIDES,
    "crop": st.floats(0.01, 1).map(str),
    "crop-square": st.floats(0.01, 1).map(str),
    "grid": st.integers(0, 20).map(str),
    "screen": st.integers(1, 1000).map(str),
    "gop": st.integers(1, 1000).map(str),
    "fps": st.integers(1, 240).map(str),
    "jp-422": st.integers(1, 100).map(str),
    "jp-444": st.integers(1, 100).map(str),
    "jp-web": st.integers(1, 5).map(str),
    "jp-photo": st.integers(1, 4).map(str),
    "jp-moz": st.integers(1, 100).map(str),
    "webp": st.integers(1, 100).map(str),
    "webp-lossless": st.integers(0, 6).map(str),
    "avif": st.integers(1, 100).map(str),
}
RESIZES = {"sc", "sc-cubic", "fit", "fit-width", "square", "crop", "crop-square", "grid", "screen"}
LIMITED = {"sc", "sc-cubic", "pixel", "blocks", "grid"}  # to images of some pixels


def after(code: str, image: Image, value: float) -> Image:
    return OPERATIONS[code].apply(image, value).image


def names(code: str) -> st.SearchStrategy[str]:
    return st.just(f"{code}-mix") | VALUES[code].map(lambda value: f"{code}:{value}")


ANY_NAME = st.sampled_from(IMAGE_CODES).flatmap(names)


def facts(degraded: Degraded) -> tuple[str, tuple[dict[str, Any], ...]]:
    return pixels_sha256(degraded.image), degraded.operations


@pytest.mark.parametrize("code", IMAGE_CODES)
@FEWER
@given(st.data())
def test_operation_leaves_its_input_alone_whatever_its_size(code: str, draw: st.DataObject) -> None:
    image, name = draw.draw(IMAGES), draw.draw(names(code))
    before = image.copy()
    image.setflags(write=False)
    try:
        made = chain(name)(image, seed=0, key="a").image
    except ImageError:
        assert code in LIMITED
        return
    assert made.dtype == np.uint8
    assert made.shape[2] == 3
    assert made.shape == before.shape or code in RESIZES
    assert np.array_equal(image, before)
    assert not np.shares_memory(made, image)


@pytest.mark.parametrize("name", MIXES)
@FEWER
@given(IMAGES, st.lists(st.text(max_size=4), min_size=2, max_size=4, unique=True))
def test_pixels_and_record_depend_on_seed_and_key_alone(
    name: str, image: Image, keys: list[str]
) -> None:
    operations = chain(name)
    if name.removesuffix("-mix") in LIMITED:
        image = np.pad(image, ((9, 0), (9, 0), (0, 0)))
    there = [facts(operations(image, seed=3, key=key)) for key in keys]
    operations(image, seed=4, key=keys[0])
    back = [facts(chain(name)(image, seed=3, key=key)) for key in reversed(keys)]
    assert there == back[::-1]


VIEWS: list[Callable[[Image], Image]] = [
    lambda image: image[::-1],
    lambda image: image[:, ::-1],
    lambda image: image[::2, 1::2],
    lambda image: image[..., ::-1],
    lambda image: image.transpose(1, 0, 2),
    np.asfortranarray,
]


@pytest.mark.parametrize("view", VIEWS)
@given(st.builds(noise_image, st.just(12), st.just(14), LEVELS, LEVELS, LEVELS), ANY_NAME)
def test_view_of_an_image_is_worked_on_like_its_copy(
    view: Callable[[Image], Image], image: Image, name: str
) -> None:
    seen = view(image)
    try:
        expected = facts(chain(name)(np.array(seen, order="C"), seed=0, key="a"))
    except ImageError:
        assert name.removesuffix("-mix").partition(":")[0] in LIMITED
        return
    assert facts(chain(name)(seen, seed=0, key="a")) == expected
    step = chain(name).steps[0]
    applied = step.operation.apply(seen, step.choose(0, 0, "a")).image
    assert pixels_sha256(applied) == expected[0]


@given(IMAGES, st.lists(ANY_NAME.filter(lambda name: ":" in name), min_size=2, max_size=3))
def test_chain_is_its_steps_one_after_another(image: Image, several: list[str]) -> None:
    alone: list[Degraded] = []
    try:
        for name in several:
            given_image = alone[-1].image.copy() if alone else image
            alone.append(chain(name)(given_image, seed=0, key="a"))
    except ImageError:
        with pytest.raises(ImageError):
            chain(*several)(image, seed=0, key="a")
        return
    made = chain(*several)(image, seed=0, key="a")
    assert np.array_equal(made.image, alone[-1].image)
    assert made.operations == tuple(one.operations[0] for one in alone)


def test_named_operations_are_the_functions_of_their_modules() -> None:
    for name, expected in (
        ("me:5", spatial.mean_filter(face(), 5)),
        ("gb:5", spatial.gaussian_filter(face(), 5)),
        ("med:5", spatial.median_filter(face(), 5)),
        ("gc:0.6", spatial.gamma_correction(face(), 0.6)),
        ("jp:60", after("jp", face(), 60)),
        ("jp2:8", after("jp2", face(), 8.0)),
        ("h264:40", after("h264", face(), 40)),
    ):
        assert np.array_equal(chain(name)(face(), seed=0, key="a").image, expected), name


REST = (
    *("blur:0", "blur-3:0", "blur-2:0", "blur-k:1", "lens:0.5", "pixel:1", "sat:1", "sat-hsv:1"),
    *("dim:1", "darken:0", "noise:0", "noise-var:0", "noise-ycbcr:0", "impulse:0", "blocks:0"),
    *("jitter:0", "shift:0", "rs-bicubic:160", "fit:160", "fit-width:160", "square:160", "crop:1"),
    *("crop-square:1", "grid:0", "screen:100", "webp-lossless:0"),
)


def test_operations_at_rest_change_nothing() -> None:
    for name in (
        "me:1",
        "gb:1",
        "med:1",
        "gc:1.0",
        "jp2:1",
        "sc:+0",
        "sc-cubic:+0",
        "h264:0",
        *REST,
    ):
        assert np.array_equal(chain(name)(face(), seed=0, key="a").image, face()), name


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), np.uint8), r"\(4, 4\) of uint8"),
        (np.zeros((4, 4, 1), np.uint8), r"\(4, 4, 1\) of uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) of uint8"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\) of uint8"),
        (np.zeros((4, 4, 3), np.float32), r"\(4, 4, 3\) of float32"),
        (np.zeros((4, 4, 3), np.uint16), r"\(4, 4, 3\) of uint16"),
        (np.zeros((4, 4, 3), np.int8), r"\(4, 4, 3\) of int8"),
        (np.zeros((4, 4, 3), np.bool_), r"\(4, 4, 3\) of bool"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\) of uint8"),
        (np.zeros((4, 0, 3), np.uint8), r"\(4, 0, 3\) of uint8"),
    ],
)
def test_array_that_is_no_image_is_refused(image: npt.NDArray[Any], found: str) -> None:
    with pytest.raises(ValueError, match=rf"^an image must be \(H, W, 3\) uint8, got {found}$"):
        chain("me:3")(image, seed=0, key="a")


@pytest.mark.parametrize("code", ["gop", "fps"])
def test_setting_of_a_video_is_refused_on_an_image(code: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^{code}:24 is for whole videos, and an image"):
        chain("me:3", f"{code}:24")(face(), seed=0, key="a")


def drawn(name: str, *, seed: int = 0, n_keys: int = N_DRAWS) -> list[Any]:
    step = chain(name).steps[0]
    return [step.choose(seed, 0, f"faces/{i:06d}") for i in range(n_keys)]


def grouped(name: str, values: Sequence[float]) -> npt.NDArray[np.int64]:
    """The place of each value among the listed ones, in at most ten groups."""
    listed = OPERATIONS[name.removesuffix("-mix")].parameter.shown
    if name in INTERVAL_MIXES:
        low, high = listed[0], listed[-1]
        return ((np.array(values) - low) / (high - low) * 10).astype(np.int64)
    places = np.searchsorted(sorted(listed), values)
    return places if len(listed) <= 10 else places * 10 // len(listed)


# Chi-square by degrees of freedom, exceeded by chance once in 1000: NIST/SEMATECH e-Handbook of
# Statistical Methods, 1.3.6.7.4.
CRITICAL = {2: 13.816, 4: 18.467, 7: 24.322, 9: 27.877, 22: 48.268, 30: 59.703}
CRITICAL |= {3: 16.266, 5: 20.515, 6: 22.458, 25: 52.620, 40: 73.402}
CRITICAL |= {18: 42.312, 81: 126.083}


@pytest.mark.parametrize("name", [name for name in MIXES if name not in INTERVAL_MIXES])
def test_every_listed_value_is_drawn_equally_often(name: str) -> None:
    listed = OPERATIONS[name.removesuffix("-mix")].parameter.shown
    values, counts = np.unique(drawn(name), return_counts=True)
    assert values.tolist() == sorted(listed)
    expected = N_DRAWS / len(listed)
    assert np.sum((counts - expected) ** 2 / expected) < CRITICAL[len(listed) - 1]


@pytest.mark.parametrize("name", INTERVAL_MIXES)
def test_numbers_of_an_interval_are_spread_evenly(name: str) -> None:
    parameter = OPERATIONS[name.removesuffix("-mix")].parameter
    low, high = parameter.shown[0], parameter.shown[-1]
    values = drawn(name)
    assert min(values) >= low
    assert max(values) <= high
    assert len(set(values)) == N_DRAWS
    counts, expected = np.histogram(values, 10, (low, high))[0], N_DRAWS / 10
    assert np.sum((counts - expected) ** 2 / expected) < CRITICAL[9]


def dependence(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> tuple[float, int]:
    """Chi-square of a contingency table and its degrees of freedom."""
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(np.sum((table - expected) ** 2 / expected)), degrees


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("me-mix", "gb-mix"),
        ("me-mix", "me-mix"),
        ("me-mix", "jp-mix"),
        ("jp-mix", "jp-mix"),
        ("sc-mix", "sc-cubic-mix"),
    ],
)
def test_draws_of_two_steps_are_independent(first: str, second: str) -> None:
    both = chain(first, second)
    keys = [f"faces/{i:06d}" for i in range(N_PAIRS)]
    values = [[step.choose(0, place, key) for key in keys] for place, step in enumerate(both.steps)]
    for number, key in enumerate(keys[:50]):
        done = both(DOT, seed=0, key=key).operations
        for step, drawn_values, row in zip(both.steps, values, done, strict=True):
            assert row[step.operation.parameter.name] == drawn_values[number]
    statistic, degrees = dependence(grouped(first, values[0]), grouped(second, values[1]))
    assert statistic < CRITICAL[degrees]


@pytest.mark.parametrize("name", ["jp-mix", "jp2-mix"])
def test_another_seed_gives_independent_draws(name: str) -> None:
    here, there = (grouped(name, drawn(name, seed=seed, n_keys=N_PAIRS)) for seed in (0, 1))
    statistic, degrees = dependence(here, there)
    assert statistic < CRITICAL[degrees]
    assert dependence(here, here)[0] > 100 * CRITICAL[degrees]  # what copies would give


def test_drawn_values_of_one_seed_and_key_never_change() -> None:
    expected = {
        "me-mix": 5,
        "gb-mix": 5,
        "med-mix": 5,
        "gc-mix": 1.8,
        "jp-mix": 76,
        "jp2-mix": 5.197376772982625,
        "sc-mix": -25,
        "sc-cubic-mix": 1,
        "h264-mix": 40,
        "jp2-97-mix": 7.050029867921037,
    }
    made = chain(*expected)(face(), seed=7, key="ff++/c23/Deepfakes/000_003/0042")
    values = [list(done.values())[1] for done in made.operations]
    assert values == list(expected.values())
    assert drawn("jp-mix", seed=7, n_keys=3) == [72, 75, 79]


@pytest.mark.parametrize(
    ("name", "canonical", "value"),
    [
        ("jp:60", "jp:60", 60),
        ("jp60", "jp:60", 60),
        ("JP60", "jp:60", 60),
        (" JP60 ", "jp:60", 60),
        ("me5", "me:5", 5),
        ("ME5", "me:5", 5),
        ("gb3", "gb:3", 3),
        ("med7", "med:7", 7),
        ("gc0.6", "gc:0.6", 0.6),
        ("gc.6", "gc:0.6", 0.6),
        ("gc:1", "gc:1.0", 1.0),
        ("jp2:4.0", "jp2:4.0", 4.0),
        ("jp2:4", "jp2:4.0", 4.0),
        ("sc:+50", "sc:+50", 50),
        ("sc+50", "sc:+50", 50),
        ("sc-45", "sc:-45", -45),
        ("sc:+0", "sc:+0", 0),
        ("sc-cubic-45", "sc-cubic:-45", -45),
        ("h264:40", "h264:40", 40),
        ("h26440", "h264:40", 40),
        ("jp-mix", "jp-mix", None),
        ("JP2-MIX", "jp2-mix", None),
        ("sc-cubic-mix", "sc-cubic-mix", None),
        ("jp:65..100", "jp:65..100", None),
        ("blur:0..3", "blur:0.0..3.0", None),
        ("sc:-45..+5", "sc:-45..+5", None),
        ("contrast:.3", "contrast:+0.3", 0.3),
        ("jp-444:90", "jp-444:90", 90),
    ],
)
def test_names_are_read_and_have_one_canonical_form(
    name: str, canonical: str, value: float | None
) -> None:
    read = chain(name)
    assert read.name == canonical
    assert [step.value for step in read.steps] == [value]
    assert chain(canonical) == read


def test_value_between_bounds_is_drawn_evenly() -> None:
    qualities, counts = np.unique(drawn("jp:65..69"), return_counts=True)
    assert qualities.tolist() == [65, 66, 67, 68, 69]
    assert np.sum((counts - N_DRAWS / 5) ** 2 / (N_DRAWS / 5)) < CRITICAL[4]
    assert set(drawn("me:3..9")) == {3, 5, 7, 9}  # even kernels are impossible
    sigmas = np.array(drawn("blur:0.5..1.5"))
    assert 0.5 <= sigmas.min() < 0.51
    assert 1.49 < sigmas.max() <= 1.5
    counts = np.histogram(sigmas, 10, (0.5, 1.5))[0]
    assert np.sum((counts - N_DRAWS / 10) ** 2 / (N_DRAWS / 10)) < CRITICAL[9]


def test_record_of_a_value_between_bounds_holds_it() -> None:
    (done,) = chain("jp:65..100")(face(), seed=0, key="a").operations
    assert done["op"] == "jp:65..100"
    again = chain(f"jp:{done['quality']}")(face(), seed=1, key="b")
    assert facts(again)[0] == facts(chain("jp:65..100")(face(), seed=0, key="a"))[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jp:90..60", "quality must rise from A to B in A..B, got 90..60."),
        ("jp:60..60", "quality must rise from A to B in A..B, got 60..60."),
        ("jp:60..101", "quality must be a whole number from 1 to 100, got 101."),
        ("jp:..60", "quality must be a whole number from 1 to 100, got ''."),
        ("blur:1..x", "sigma must be from 0 to 20 px, got 'x'."),
    ],
)
def test_impossible_bounds_are_refused(name: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        chain(name)
    assert str(caught.value) == f"{name!r}: {message}"


@given(st.lists(ANY_NAME, max_size=3))
def test_canonical_names_say_the_whole_chain(several: list[str]) -> None:
    read = chain(*several)
    assert chain(*(step.name for step in read.steps)) == read
    assert read.name == "+".join(step.name for step in read.steps)


def test_a_chain_is_named_by_its_steps() -> None:
    assert chain("gb3", "JP-mix").name == "gb:3+jp-mix"
    assert chain("sc+50", "jp2:4").name == "sc:+50+jp2:4.0"


CODES = ", ".join(OPERATIONS)
EVERY_NAME = [*OPERATIONS, *(f"{code}-mix" for code in OPERATIONS)]
N_SHOWN = 100  # of the known names in a message
KNOWN = f"{', '.join(EVERY_NAME[:N_SHOWN])} and {len(EVERY_NAME) - N_SHOWN} more"
MUST = {
    "kernel": "kernel must be an odd whole number from 1 to 99",
    "gamma": "gamma must be a number above 0, at most 100",
    "quality": "quality must be a whole number from 1 to 100",
    "ratio": "ratio must be a number from 1 to 1000",
    "percent": "percent must be a whole number from -99 to +900 with its sign",
    "crf": "crf must be a whole number from 0 to 51",
}


@pytest.mark.parametrize(
    ("name", "parameter", "got"),
    [
        ("me:4", "kernel", "4"),
        ("me4", "kernel", "4"),
        ("gb:0", "kernel", "0"),
        ("med:-3", "kernel", "-3"),
        ("me:101", "kernel", "101"),
        ("me5.0", "kernel", "'5.0'"),
        ("gc:0", "gamma", "0.0"),
        ("gc:-1", "gamma", "-1.0"),
        ("gc:nan", "gamma", "'nan'"),
        ("gc:inf", "gamma", "'inf'"),
        ("gc:-inf", "gamma", "'-inf'"),
        ("gc:101", "gamma", "101.0"),
        ("jp:0", "quality", "0"),
        ("jp:101", "quality", "101"),
        ("jp:60.5", "quality", "'60.5'"),
        ("jp:best", "quality", "'best'"),
        ("jp:", "quality", "''"),
        ("jp:60:70", "quality", "'60:70'"),
        ("jp2:0.99", "ratio", "0.99"),
        ("jp2:1001", "ratio", "1001.0"),
        ("jp2:nan", "ratio", "'nan'"),
        ("jp2:inf", "ratio", "'inf'"),
        ("jp:6_0", "quality", "'6_0'"),
        ("jp:٦٠", "quality", "'٦٠'"),
        ("jp2:", "ratio", "''"),
        ("sc:50", "percent", "'50'"),
        ("sc50", "percent", "'50'"),
        ("sc:+-5", "percent", "'+-5'"),
        ("sc:+1.5", "percent", "'+1.5'"),
        ("sc:-100", "percent", "-100"),
        ("sc:+901", "percent", "901"),
        ("h264:52", "crf", "52"),
        ("h264:-1", "crf", "-1"),
        ("h264:23.5", "crf", "'23.5'"),
    ],
)
def test_impossible_value_is_refused(name: str, parameter: str, got: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        chain("me3", name)
    assert str(caught.value) == f"{name!r}: {MUST[parameter]}, got {got}."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jp2", "'jp2' lacks a value: jp2:2.0 or jp2-mix."),
        ("JP", "'jp' lacks a value: jp:60 or jp-mix."),
        ("gb:3+JP60", "'gb:3+jp60' is a chain: name its operations one by one: gb:3, jp60."),
        (
            "gb-mix+jp-mix",
            "'gb-mix+jp-mix' is a chain: name its operations one by one: gb-mix, jp-mix.",
        ),
        ("sc", "'sc' lacks a value: sc:-45 or sc-mix."),
        ("h264", "'h264' lacks a value: h264:0 or h264-mix."),
        ("jp24", "'jp24' is ambiguous: write jp:24 or jp2:4."),
        ("JP290", "'jp290' is ambiguous: write jp:290 or jp2:90."),
    ],
)
def test_name_without_value_or_with_two_readings_is_refused(name: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        chain(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpeg:60", "No operation named 'jpeg'. Did you mean 'jp'?"),
        ("jpeg-mix", "No operation named 'jpeg'. Did you mean 'jp'?"),
        ("h265:23", "No operation named 'h265'. Did you mean 'h264'?"),
        ("jp-mixed", "No operation named 'jp-mixed'. Did you mean 'jp-mix'?"),
        ("jpmix", "No operation named 'jpmix'. Did you mean 'jp-mix'?"),
        ("haze:3", f"No operation named 'haze'. Known: {CODES}."),
        (":60", f"No operation named ''. Known: {CODES}."),
        ("-mix", f"No operation named ''. Known: {CODES}."),
        ("haze", f"No operation named 'haze'. Known: {KNOWN}."),
        ("", f"No operation named ''. Known: {KNOWN}."),
    ],
)
def test_unknown_operation_is_refused_with_the_nearest_name(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        chain(name)
    assert str(caught.value) == message


@given(
    st.text(max_size=8) | st.from_regex(r"(?i)(me|jp2?|sc|h264)[-+:.]?[-+.0-9a-z]*", fullmatch=True)
)
def test_any_text_is_a_chain_or_our_error(text: str) -> None:
    try:
        read = chain(text)
    except (ArgumentError, UnknownNameError):
        return
    assert chain(read.name) == read


def test_record_says_operation_value_achieved_ratio_and_whether_the_table_lists_it() -> None:
    made = chain("gb3", "jp60", "jp2:1", "sc+50", "h264:40", "sc-cubic+50")(face(), seed=0, key="a")
    blurred = spatial.gaussian_filter(face(), 3)
    jpeg, jpeg2000 = compression.jpeg_bytes(blurred, 60), after("jp", blurred, 60)
    in_jpeg, in_jpeg2000, in_h264 = (
        done["achieved_ratio"] for done in made.operations if "achieved_ratio" in done
    )
    assert made.operations == (
        {"op": "gb:3", "kernel": 3, "in_table_ix": True},
        {"op": "jp:60", "quality": 60, "achieved_ratio": in_jpeg, "in_table_ix": True},
        {"op": "jp2:1.0", "ratio": 1.0, "achieved_ratio": in_jpeg2000, "in_table_ix": False},
        {"op": "sc:+50", "percent": 50, "in_table_ix": True},
        {"op": "h264:40", "crf": 40, "achieved_ratio": in_h264, "in_table_ix": False},
        {"op": "sc-cubic:+50", "percent": 50, "in_table_ix": False},
    )
    assert in_jpeg == round(76_800 / len(jpeg), 4)
    assert in_jpeg2000 == round(76_800 / len(compression.jpeg2000_bytes(jpeg2000, 1.0)), 4)
    assert in_h264 > 50
    assert made.image.shape == (360, 360, 3)


def test_value_outside_table_ix_is_allowed_and_marked() -> None:
    for code, listed, unlisted in (
        ("me", [3, 7], [1, 9, 99]),
        ("gb", [3, 5], [1, 9]),
        ("med", [5, 7], [1, 9]),
        ("gc", [0.6, 1, 2], [0.5, 0.7, 2.1]),
        ("jp", [60, 77, 90], [1, 59, 91]),
        ("jp2", [2, 3.14, 8], [1, 1.99, 8.01]),
        ("sc", ["+1", "+90", "-45"], ["+0", "+2", "-50", "+91"]),
        ("jp2-97", [], [2, 8]),
        ("sc-cubic", [], ["+50", "-45"]),
        ("h264", [], [0, 23, 40]),
    ):
        for value in [*listed, *unlisted]:
            (done,) = chain(f"{code}:{value}")(face(), seed=0, key="a").operations
            assert done["in_table_ix"] is (value in listed), (code, value)


@pytest.mark.parametrize("name", MIXES)
def test_record_of_a_drawn_value_tells_how_to_make_the_same_pixels(name: str) -> None:
    code = name.removesuffix("-mix")
    made = chain(name)(face(), seed=0, key="a")
    (done,) = made.operations
    value = done[OPERATIONS[code].parameter.name]
    named = f"{code}:{value:+}" if code in {"sc", "sc-cubic"} else f"{code}:{value}"
    again = chain(named)(face(), seed=1, key="b")
    assert np.array_equal(again.image, made.image)
    assert again.operations == ({**done, "op": chain(named).name},)
    assert done["op"] == name
    assert done["in_table_ix"] is (code in TABLE_IX)


def test_pickled_chain_makes_the_same_pixels_in_another_process() -> None:
    operations, image = chain(*MIXES), face()[:80, :90]
    assert pickle.loads(pickle.dumps(operations)) == operations
    program = (
        "import base64, pickle, sys\n"
        "operations, image = pickle.loads(base64.b64decode(sys.stdin.read()))\n"
        "made = operations(image, seed=5, key='a')\n"
        "print('torch' in sys.modules)\n"
        "print(base64.b64encode(pickle.dumps(made)).decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=base64.b64encode(pickle.dumps((operations, image))),
        capture_output=True,
        check=True,
    )
    has_torch, answer = done.stdout.decode().split()
    assert has_torch == "False"
    made = pickle.loads(base64.b64decode(answer))
    assert facts(made) == facts(operations(image, seed=5, key="a"))


def test_every_value_is_each_listed_value_in_order() -> None:
    names_of = {code: [s.name for s in every_value(OPERATIONS[code])] for code in OPERATIONS}
    assert names_of["me"] == ["me:3", "me:5", "me:7"]
    assert names_of["jp"] == [f"jp:{quality}" for quality in range(60, 91)]
    assert names_of["jp2"] == [f"jp2:{ratio}.0" for ratio in range(2, 9)]
    assert names_of["sc"][:2] + names_of["sc"][-2:] == ["sc:-45", "sc:-40", "sc:+80", "sc:+90"]
    assert names_of["h264"] == ["h264:0", "h264:23", "h264:40"]


def table_rows(data: Path) -> Iterator[dict[str, str]]:
    with (data / "spec/tables/table09_operations.csv").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def test_table_ix_is_the_papers(data: Path) -> None:
    listed: dict[str, list[float]] = {}
    for row in table_rows(data):
        operation = TABLE_IX[row["code"].lower()]
        if row["parameter"] == "sigma":
            assert (row["code"], row["values"]) == ("GB", "0")  # the taps tell, by another test
            continue
        assert row["parameter"].endswith(operation.parameter.name)
        if row["operation"].startswith("scaling "):
            assert operation.title == "scaling, linear"
        else:
            assert operation.title.lower() == row["operation"].lower()
        first, dots, last = row["values"].partition("..")
        values = [float(first), float(last)] if dots else map(float, first.split(";"))
        sign = -1 if row["operation"] == "scaling down" else 1
        listed.setdefault(operation.code, []).extend(sign * value for value in values)
    assert list(listed) == list(TABLE_IX)
    assert listed.pop("jp") == [60, 90]
    assert TABLE_IX["jp"].parameter.shown == tuple(range(60, 91))
    low, high = listed.pop("jp2")
    ratio = TABLE_IX["jp2"].parameter
    assert (low, high) == (ratio.shown[0], ratio.shown[-1])
    assert [ratio.lists(value) for value in (1.999, low, high, 8.001)] == [False, True, True, False]
    for code, values in listed.items():
        assert sorted(values) == list(TABLE_IX[code].parameter.shown), code
    assert len(listed["sc"]) == 23


def test_domains_are_said_in_few_words() -> None:
    assert {code: operation.parameter.domain for code, operation in TABLE_IX.items()} == {
        "me": "3, 5, 7",
        "gb": "3, 5, 7",
        "med": "3, 5, 7",
        "gc": "0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0",
        "jp": "60 to 90",
        "jp2": "2.0 to 8.0",
        "sc": "-45, -40, -35, -30, -25, -20, -15, -10, -5, -3, -1, "
        "1, 3, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90",
    }


def documented_rows() -> Iterator[tuple[str, str, str]]:
    """Yield code, drawn values and possible values of each operation, as the docs state them."""
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    for row in re.findall("^\\| `.*-mix` .*$", page, re.MULTILINE):
        names, _, _, drawn, possible = row.strip("| ").split(" | ")
        yield names.rpartition("`, `")[2].removesuffix("-mix`"), drawn, possible


def test_the_documented_values_are_drawn_and_those_just_outside_its_bounds_are_refused() -> None:
    rows = list(documented_rows())
    assert [code for code, _, _ in rows] == list(OPERATIONS)
    for code, drawn, possible in rows:
        parameter = OPERATIONS[code].parameter
        first, to, last = drawn.partition(" to ")
        if isinstance(parameter, Interval):
            assert (parameter.low, parameter.high) == (float(first), float(last)), code
        else:
            listed = range(int(first), int(last) + 1) if to else map(float, drawn.split(", "))
            assert [*parameter.shown] == [*listed], code
        bounds = re.search(r"(from|above) ([-+\d]+)(?: to |, at most )([-+\d]+)", possible)
        assert bounds is not None
        step = Fraction(1 if "whole" in possible else "0.001")
        kind = int if "whole" in possible else float
        low, high = int(bounds[2]), int(bounds[3])
        around = [kind(low + n * step) for n in (-1, 0, 1)], [kind(high + n * step) for n in (0, 1)]
        has_low, has_next = bounds[1] == "from", "odd" not in possible
        allowed = [[parameter.rule.allows(value) for value in some] for some in around]
        assert allowed == [[False, has_low, has_next], [True, False]], code


def test_codes_are_the_keys_of_the_table() -> None:
    assert [operation.code for operation in OPERATIONS.values()] == list(OPERATIONS)
    assert set(VALUES) == set(OPERATIONS)
