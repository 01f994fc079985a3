"""The search for copies, and the comparison of pixels."""

import itertools

import cv2
import numpy as np
import pytest
from makers.copies import COPIES, Pixels, brightened, cut, repainted, scene

from hffkit.arrays import Floats32
from hffkit.audit import neighbours
from hffkit.audit.near_duplicates import MAX_DISTANCE, is_copy, kind_of
from hffkit.audit.neighbours import VIEWS, View, Window, candidates, describe, is_plain
from hffkit.audit.registration import register

N_SCENES = 60


def _thumbnails(images: list[Pixels]) -> neighbours.Thumbnails:
    return np.array([describe(image) for image in images])


def _copies(images: list[Pixels]) -> dict[tuple[int, int], str]:
    """Return the pairs that search and comparison find, and their kinds."""
    found = candidates(_thumbnails(images), np.arange(len(images)))
    pairs = {}
    for a, b, place in zip(found.first, found.second, found.view, strict=True):
        same = register(images[a], images[b], VIEWS[place])
        if is_copy(same, images[a], images[b]):
            pair = (int(min(a, b)), int(max(a, b)))
            pairs[pair] = kind_of(same, VIEWS[place], images[a], images[b])
    return pairs


def test_copies_of_each_kind_are_found_among_others_and_nothing_else() -> None:
    scenes = [scene(number) for number in range(N_SCENES)]
    copies = [make(scenes[number]) for number, make in enumerate(COPIES.values())]
    found = _copies([*scenes, *copies])
    assert set(found) == {(number, N_SCENES + number) for number in range(len(copies))}
    kinds = dict(zip(COPIES, (found[pair] for pair in sorted(found)), strict=True))
    assert kinds["Q60"] == kinds["Q95"] == "encoded again"
    assert kinds["mirrored"] == "mirrored"
    assert kinds["half"] == kinds["double"] == kinds["squeezed"] == "resized"
    assert kinds["brighter"] == kinds["gamma"] == "brightened"
    crops = [kinds["corner"], kinds["inside"]]
    crops.append(kinds["cut and enlarged"].removesuffix(", resized"))
    crops.append(kinds["mirrored cut"].removeprefix("mirrored, "))
    assert set(crops) <= {"cropped to 89 %", "cropped to 90 %"}  # 86 of 96 px
    assert kinds["mirrored cut"].startswith("mirrored, ")


def test_an_edited_image_is_no_copy() -> None:
    scenes = [scene(number) for number in range(8)]
    assert _copies([*scenes, *map(repainted, scenes)]) == {}


def test_another_photo_of_the_same_spectrum_is_no_copy() -> None:
    image, other = scene(1), scene(2)
    mixed = np.asarray(cv2.addWeighted(image, 0.9, other, 0.1, 0), np.uint8)
    assert _copies([image, other, mixed]) == {}


def test_registration_measures_where_a_crop_is_from() -> None:
    image = scene(5, side=120)
    for top, left in itertools.product((0.0, 0.25, 1.0), (0.0, 0.6)):
        crop = cut(image, top, left)  # 108 of 120 px: 12 are left
        start = View(Window(0.05, 0.9, 0.05, 0.9))
        found = register(image, crop, start)
        expected = (round(12 * top) / 120, 0.9, round(12 * left) / 120, 0.9)
        window = found.window
        measured = (window.top, window.height, window.left, window.width)
        assert measured == pytest.approx(expected, abs=0.004)
        assert found.distance < MAX_DISTANCE


def test_registration_measures_a_gain() -> None:
    image = scene(6)
    assert register(image, brightened(image, 0.8), VIEWS[0]).gain == pytest.approx(0.8, abs=0.01)


def features(image: Pixels, view: View) -> Floats32:
    return neighbours._features(_thumbnails([image]), np.zeros(1, np.int64), view)


def test_features_of_a_view_are_those_of_the_image_that_it_stands_for() -> None:
    image = np.asarray(cv2.GaussianBlur(scene(9, side=400), (0, 0), 8), np.uint8)  # within the band
    for view in VIEWS:
        w = view.window
        top, left, height, width = (round(400 * x) for x in (w.top, w.left, w.height, w.width))
        shown = image[top : top + height, left : left + width]
        shown = shown[:, ::-1] if view.is_mirrored else shown
        expected = features(np.ascontiguousarray(shown), VIEWS[0])
        if not view.is_clipped:
            found = features(image, view)
            assert np.linalg.norm(found - expected) < 0.06


def test_the_search_finds_what_a_comparison_of_all_finds() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(3000, 48)).astype(np.float32)
    features[1500:] = features[:1500] + 0.03 * rng.normal(size=(1500, 48)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cells = neighbours._Cells(features)
    found = {(int(a), int(b)) for rows in cells.near(features) for a, b in zip(*rows, strict=True)}
    all_pairs = features @ features.T >= 1 - neighbours._RADIUS**2 / 2
    expected = set(zip(*(places.tolist() for places in np.nonzero(all_pairs)), strict=True))
    assert found <= expected
    assert len(expected) > 4000
    assert len(found) >= 0.99 * len(expected)


def test_one_group_is_never_paired_and_threads_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = [scene(number) for number in range(20)]
    images = [*scenes, *(COPIES["Q95"](image) for image in scenes)]
    thumbnails = _thumbnails(images)
    numbers = np.arange(20)
    assert not len(candidates(thumbnails, np.concatenate([numbers, numbers])).first)
    apart = candidates(thumbnails, np.arange(40))
    again = candidates(thumbnails, np.arange(40), n_workers=3)
    pairs = [(min(a, b), max(a, b)) for a, b in zip(apart.first, apart.second, strict=True)]
    assert pairs == [(number, number + 20) for number in range(20)]
    for name in ("first", "second", "view", "distance"):
        assert np.array_equal(getattr(apart, name), getattr(again, name))
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    few = candidates(thumbnails, np.arange(40))
    for name in ("first", "second", "view"):
        assert np.array_equal(getattr(apart, name), getattr(few, name))
    assert np.abs(apart.distance - few.distance).max() < 1e-5


def test_plain_images_resemble_nothing() -> None:
    plain = [np.full((40, 40, 3), value, np.uint8) for value in (0, 0, 90, 255)]
    thumbnails = _thumbnails([*plain, scene(1)])
    assert is_plain(thumbnails).tolist() == [True] * 4 + [False]
    assert not len(candidates(thumbnails, np.arange(5)).first)
    assert not len(candidates(thumbnails[:0], np.arange(0)).first)


def test_tiny_images_are_registered_without_an_error() -> None:
    tiny = [scene(1, side=side) for side in (8, 9, 17)]
    for first, second in itertools.permutations(tiny, 2):
        assert register(first, second, VIEWS[0]).distance >= 0
