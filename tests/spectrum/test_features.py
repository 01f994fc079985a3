import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from makers.spectra import by_hand
from makers.trees import Pixels, face
from scipy.interpolate import griddata

from hffkit.errors import ArgumentError, ImageError, UnknownNameError
from hffkit.media.image import decode, read_bytes
from hffkit.spectrum.classifiers import CLASSIFIERS
from hffkit.spectrum.features import (
    CROPS,
    FEATURES,
    FeatureSpec,
    check_spec,
    features_named,
    features_of,
    profiles_of,
    resampled,
)
from hffkit.spectrum.names import CentreName, ClassifierName, CropName, FeatureName
from hffkit.spectrum.radial import CENTRES, n_radii

Floats = npt.NDArray[np.float64]
WHOLE, TRUE = FeatureSpec(), FeatureSpec(centre="true")
FOLDERS = ("real-celeba-stargan128", "fake-dcgan128", "real-ffhq256", "real-celeba-half89")


def pictures(data: Path, name: str, n: int) -> list[Pixels]:
    paths = sorted((data / "data" / "images" / name).iterdir())[:n]
    return [decode(read_bytes(path)) for path in paths]


def one(image: Pixels, spec: FeatureSpec = WHOLE) -> Floats:
    (found,) = features_of([image], spec)
    return np.asarray(found)


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


@pytest.mark.parametrize("centre", ["paper", "true"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_profiles_of_real_images_are_those_of_a_loop_over_radii(
    data: Path, folder: str, centre: str
) -> None:
    for image in pictures(data, folder, 3):
        side = min(image.shape[:2])
        image = np.ascontiguousarray(image[:side, :side])
        grey = cv2.cvtColor(image[..., ::-1].copy(), cv2.COLOR_BGR2GRAY)
        found = one(image, FeatureSpec(centre=centre))
        assert np.abs(found - by_hand(np.asarray(grey, np.uint8), centre)).max() < 1e-9


@given(height=st.integers(4, 24), width=st.integers(4, 24), seed=st.integers(0, 99))
def test_any_shape_has_the_profile_of_a_loop_over_radii(height: int, width: int, seed: int) -> None:
    image = noise(height, width, seed)
    # Whole numbers can sum to 0: there the logarithm is of the epsilon and of rounding alone.
    assume(np.abs(np.fft.fft2(image)).min() > 1e-3)
    found = one(image)
    expected = by_hand(image, "paper")
    assert len(found) == len(expected) == n_radii(height, width, "paper")
    assert np.abs(found - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("height", "width", "length"),
    [(1024, 1024, 722), (299, 299, 209), (256, 256, 179), (128, 128, 88), (64, 64, 43),
     (218, 178, 139)],
)  # fmt: skip
def test_profiles_are_as_long_as_the_notebooks(height: int, width: int, length: int) -> None:
    assert one(noise(height, width)).shape == (length,)


@pytest.mark.parametrize("centre", ["paper", "true"])
def test_turned_and_mirrored_images_have_the_same_profile(data: Path, centre: str) -> None:
    spec = FeatureSpec(centre=centre)
    # Round the DC itself rings are symmetric, and only rounding and the epsilon differ. Half a
    # coefficient beside it they are not: values of 90 to 200 differ by up to 15 in the shortest
    # rings, by 1.3 on the average.
    limit, mean_limit = (1e-6, 1e-6) if centre == "true" else (20.0, 1.5)
    for folder in ("real-celeba-stargan128", "fake-dcgan128", "real-ffhq256"):
        for image in pictures(data, folder, 4):
            profile = one(image, spec)
            for other in (image[:, ::-1], image[::-1], np.rot90(image), np.rot90(image, 3)):
                apart = np.abs(one(np.ascontiguousarray(other), spec) - profile)
                assert apart.max() < limit
                assert apart.mean() < mean_limit
            half_turn = one(np.ascontiguousarray(image[::-1, ::-1]), spec)
            assert np.abs(half_turn - profile).max() < 1e-6


def test_profiles_shift_with_contrast_by_the_logarithm(data: Path) -> None:
    (image,) = pictures(data, "real-ffhq256", 1)
    dark = (image[..., 0] // 4).astype(np.uint8)
    assert np.allclose(one(dark * np.uint8(3)) - one(dark), 20 * math.log(3), atol=1e-6)


def test_waves_of_one_length_stand_out_at_their_radius() -> None:
    rows, columns = np.indices((64, 64)) - 32
    ring = np.floor(np.hypot(rows, columns)) == 9
    waves = np.fft.ifft2(np.fft.ifftshift(ring * np.exp(1j * rows * columns))).real
    image = np.rint(127 + 100 * waves / np.abs(waves).max()).astype(np.uint8)
    assert int(one(image, TRUE).argmax()) == 9 - 1  # the first value is radius 1


def test_resampling_is_scipys_griddata(data: Path) -> None:
    for folder, n_points in (("real-celeba-stargan128", 80), ("real-ffhq256", 300)):
        (image,) = pictures(data, folder, 1)
        profile = one(image)
        given_at = np.linspace(0, n_points, num=len(profile))
        expected = griddata(given_at, profile, np.linspace(0, n_points, num=n_points), "cubic")
        found = one(image, FeatureSpec(n_points=n_points))
        assert np.abs(found - expected).max() < 1e-9
        divided = one(image, FeatureSpec(n_points=n_points, first_bin=True))
        assert divided[0] == 1
        assert np.allclose(divided, expected / expected[0], atol=1e-12)


def test_crops_are_the_papers_third_and_the_square_in_the_middle() -> None:
    image = noise(91, 120)
    assert np.array_equal(one(image, FeatureSpec(crop="third")), one(image[30:61, 40:80]))
    assert np.array_equal(one(image, FeatureSpec(crop="square")), one(image[:, 14:105]))


def test_colour_is_read_and_then_made_grey() -> None:
    image = face()
    grey = cv2.cvtColor(np.ascontiguousarray(image[..., ::-1]), cv2.COLOR_BGR2GRAY)
    assert np.array_equal(one(image), one(np.asarray(grey, np.uint8)))


def test_only_one_rule_makes_images_grey() -> None:
    with pytest.raises(UnknownNameError, match="No grey named 'colour'"):
        check_spec(FeatureSpec(grey="colour"))


def test_the_papers_experiments_have_their_settings() -> None:
    assert {
        "faces-hq": FeatureSpec("whole", "paper", None, first_bin=False),
        "celeba": FeatureSpec("whole", "paper", 80, first_bin=True),
        "dfd": FeatureSpec("third", "paper", 300, first_bin=True),
    } == FEATURES


def test_batches_change_no_bit(data: Path) -> None:
    images = pictures(data, "real-celeba-stargan128", 40) + pictures(data, "real-ffhq256", 12)
    mixed = [images[i] for i in np.random.default_rng(0).permutation(len(images))]
    spec = FeatureSpec(n_points=60)
    assert np.array_equal(features_of(mixed, spec), [one(image, spec) for image in mixed])


def test_reading_stops_soon_after_an_error() -> None:
    seen: list[int] = []

    def read(number: int) -> Pixels:
        seen.append(number)
        return noise(8, 8, number) if number != 40 else noise(1, 1)

    named = ((f"{i}.png", lambda i=i: read(i)) for i in range(100_000))
    with pytest.raises(ImageError, match=r"40\.png: 1x1 pixels are too small"):
        list(profiles_of(named, WHOLE))
    assert len(seen) < 100


# What has no spectrum


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_images_are_refused(side: int) -> None:
    with pytest.raises(ImageError, match=f"image 0: {side}x{side} pixels are too small"):
        one(noise(side, side))


def test_four_pixels_a_side_are_enough() -> None:
    assert one(noise(4, 4)).shape == (1,)


@pytest.mark.parametrize("spec", [WHOLE, TRUE, FeatureSpec(n_points=5, first_bin=True)])
def test_constant_images_are_refused(spec: FeatureSpec) -> None:
    with pytest.raises(ImageError, match="image 1: all pixels are equal"):
        features_of([noise(16, 16), np.full((16, 16), 9, np.uint8)], spec)


def test_oblong_images_have_no_true_centre_but_a_square() -> None:
    with pytest.raises(ImageError, match=r"16x20 pixels are not square.*`crop` square"):
        one(noise(20, 16), TRUE)
    assert one(noise(20, 16), FeatureSpec("square", "true")).shape == (10,)


def test_profiles_of_several_lengths_must_be_resampled() -> None:
    images = [noise(16, 16), noise(20, 20)]
    with pytest.raises(ImageError, match="2 lengths, from 9 to 12"):
        features_of(images, WHOLE)
    assert features_of(images, FeatureSpec(n_points=7)).shape == (2, 7)


@pytest.mark.parametrize("image", [
    np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8), np.float32), np.zeros((0, 8), np.uint8),
])  # fmt: skip
def test_what_is_no_image_is_refused(image: Pixels) -> None:
    with pytest.raises(ImageError, match="image 0: must be"):
        one(image)


def test_short_profiles_cannot_be_resampled() -> None:
    with pytest.raises(ImageError, match="3 values is too short for a cubic spline"):
        one(noise(7, 7), FeatureSpec(n_points=5))


def test_a_profile_that_begins_with_zero_cannot_be_divided() -> None:
    profile: Sequence[Floats] = [np.array([0.0, 1, 2, 3, 4])]
    with pytest.raises(ImageError, match="begins with 0"):
        resampled(profile, FeatureSpec(first_bin=True))


def test_unknown_names_and_numbers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'celeba'"):
        features_named("celebA")
    with pytest.raises(UnknownNameError, match="No crop named 'middle'"):
        check_spec(FeatureSpec(crop="middle"))
    with pytest.raises(UnknownNameError, match="No centre named 'dc'"):
        check_spec(FeatureSpec(centre="dc"))
    with pytest.raises(ArgumentError, match="from 2 to 100000, got 1"):
        check_spec(FeatureSpec(n_points=1))


def test_the_command_line_knows_the_names_of_the_tables() -> None:
    assert get_args(FeatureName) == tuple(FEATURES)
    assert get_args(CropName) == tuple(CROPS)
    assert get_args(CentreName) == tuple(CENTRES)
    assert get_args(ClassifierName) == tuple(CLASSIFIERS)
