"""Faithfulness, sanity and regions, on networks and faces whose answers are known."""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from hffkit.errors import ExplainError
from hffkit.explain.cam import grad_cam
from hffkit.explain.faithfulness import area, blank, blurred, curve, order_of
from hffkit.explain.gradients import vanilla
from hffkit.explain.methods import heat_of
from hffkit.explain.regions import REGIONS, region_map, region_shares
from hffkit.explain.sanity import cascade, layers_downward
from hffkit.faces.outline import Points

SIDE = 8


class Corner(nn.Module):
    """The probability of class 1 rises with the brightness of the upper left quarter alone."""

    def forward(self, images: Tensor) -> Tensor:
        evidence = images[:, :, : SIDE // 2, : SIDE // 2].mean((1, 2, 3))
        return torch.stack((torch.zeros_like(evidence), 8 * evidence - 4), 1)


def corner_heat() -> npt.NDArray[np.float32]:
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[: SIDE // 2, : SIDE // 2] = 1
    return heat


# Deletion and insertion


def test_pixels_go_hottest_first_and_equals_as_they_lie() -> None:
    heat = np.array([[0.5, 1, 0.5], [0, 1, 0.5]], np.float32)
    assert order_of(heat).tolist() == [1, 4, 0, 2, 5, 3]


@pytest.mark.parametrize("steps", [7, 70])  # in one batch and in several
def test_a_curve_is_the_probability_after_each_share_of_pixels(steps: int) -> None:
    net = Corner()
    start, end = torch.ones(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE)
    rng = np.random.default_rng(0)
    order = rng.permutation(SIDE * SIDE)
    found = curve(net, start, end, order, 1, steps=steps)
    expected = []
    for step in range(steps + 1):
        image = np.ones((SIDE, SIDE))
        for place in order[: round(step * 64 / steps)]:
            image[place // SIDE, place % SIDE] = 0
        logit = 8 * image[:4, :4].mean() - 4
        expected.append(1 / (1 + np.exp(-logit)))
    assert found == pytest.approx(expected, abs=1e-6)
    by_hand = sum((a + b) / 2 for a, b in pairwise(expected)) / steps
    assert area(found) == pytest.approx(by_hand, abs=1e-6)


def test_true_heat_is_told_from_false_heat() -> None:
    net = Corner()
    bright, dark = torch.ones(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE)
    true, false = order_of(corner_heat()), order_of(1 - corner_heat())
    random = np.random.default_rng(1).permutation(SIDE * SIDE)
    deleted, inserted = (
        [area(curve(net, *pair, order, 1, steps=16)) for order in (true, random, false)]
        for pair in ((bright, dark), (dark, bright))
    )
    assert deleted == sorted(deleted)
    assert inserted == sorted(inserted, reverse=True)
    assert deleted[0] < 0.2 < 0.8 < deleted[2]
    assert inserted[2] < 0.2 < 0.8 < inserted[0]


def test_blank_and_blurred_images() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (224, 224, 3)).astype(np.uint8)
    assert np.all(blank(image) == image.reshape(-1, 3).mean(axis=0).round())
    image[80:120, 60:150] = 255
    expected = gaussian_filter(image.astype(np.float64), (5, 5, 0), mode="mirror")
    assert np.abs(blurred(image) - expected).max() < 2
    small = np.asarray(cv2.resize(image, (112, 112)), np.uint8)
    expected = gaussian_filter(small.astype(np.float64), (2.5, 2.5, 0), mode="mirror")
    assert np.abs(blurred(small) - expected).max() < 2


# Random weights


def three_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * SIDE * SIDE, 2),
    )  # fmt: skip


def state_of(net: nn.Module) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in net.state_dict().items()}


def test_weights_become_random_from_the_last_layer_on_and_are_given_back() -> None:
    net, images = three_layers(), torch.randn(2, 3, SIDE, SIDE)
    before, seen = state_of(net), []

    def look() -> Mapping[str, Tensor]:
        now = state_of(net)
        seen.append([name for name in before if now[name] != before[name]])
        return {"vanilla": heat_of(vanilla(net, images, torch.tensor([0, 1])))}

    stages = cascade(net, images, look, seed=0)
    assert [stage.layer for stage in stages] == ["5", "2", "0"]
    assert [stage.n_layers for stage in stages] == [1, 2, 3]
    last, middle, first = (["5.weight", "5.bias"], ["2.weight", "2.bias"], ["0.weight", "0.bias"])
    assert seen == [[], last, middle + last, first + middle + last]
    assert state_of(net) == before


def test_random_weights_are_as_large_as_the_trained_ones() -> None:
    net, images = three_layers(), torch.randn(1, 3, SIDE, SIDE)
    spreads: list[float] = []

    def look() -> Mapping[str, Tensor]:
        spreads.append(float(net.get_parameter("5.weight").detach().std()))
        return {}

    cascade(net, images, look, seed=0)
    trained, *random = spreads
    assert random == pytest.approx([trained] * 3, rel=0.1)
    assert len(set(spreads)) == 2


def test_sanity_depends_on_the_seed_alone() -> None:
    net, images = three_layers(), torch.randn(2, 3, SIDE, SIDE)

    def correlations(seed: int) -> list[float | None]:
        def look() -> Mapping[str, Tensor]:
            return {"cam": grad_cam(net, images, "2", torch.tensor([0, 1]))}

        return [r for s in cascade(net, images, look, seed=seed) for r in s.correlations["cam"]]

    assert correlations(3) == correlations(3)
    assert correlations(3) != correlations(4)


def test_a_map_that_ignores_the_weights_keeps_its_correlation() -> None:
    net, images = three_layers(), torch.rand(2, 3, SIDE, SIDE)

    def look() -> Mapping[str, Tensor]:
        classes = torch.tensor([0, 1])
        return {
            "edges": images.mean(1),
            "vanilla": heat_of(vanilla(net, images, classes)),
            "nothing": torch.zeros(2, SIDE, SIDE),
        }

    stages = cascade(net, images, look, seed=0)
    for stage in stages:
        assert stage.correlations["edges"] == pytest.approx((1, 1))
        assert stage.correlations["nothing"] == (None, None)
    assert all(abs(rho or 1) < 0.5 for rho in stages[-1].correlations["vanilla"])


def test_weights_are_given_back_after_an_error() -> None:
    net, images = three_layers(), torch.rand(1, 3, SIDE, SIDE)
    before, calls = state_of(net), []

    def fail() -> Mapping[str, Tensor]:
        calls.append(1)
        if len(calls) == 3:
            raise ArithmeticError
        return {}

    with pytest.raises(ArithmeticError):
        cascade(net, images, fail, seed=0)
    assert state_of(net) == before


def test_layers_are_counted_as_they_run_not_as_they_were_made() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.last(self.first(images).mean((2, 3)))
            return logits

    assert layers_downward(Backwards(), torch.zeros(1, 3, 2, 2)) == ["last", "first"]


# Regions of a face


def landmarks() -> Points:
    """Return 68 landmarks of a frontal face, in an image of 200x200 px."""
    jaw = [
        (100 - 70 * np.cos(t), 80 + 100 * np.sin(t)) for t in np.linspace(0, np.pi, 17)
    ]  # from the left temple under the chin (100, 180) to the right temple
    brows = [(x, 55 - 5 * (i % 2)) for i, x in enumerate(range(40, 90, 10))]
    brows += [(200 - x, y) for x, y in reversed(brows)]
    nose = [(100, y) for y in (75, 85, 95, 105)] + [(x, 112) for x in (88, 94, 100, 106, 112)]
    eye = [(52, 75), (60, 70), (70, 70), (78, 75), (70, 80), (60, 80)]
    eyes = eye + [(x + 70, y) for x, y in eye]
    outer = [(75 + 25 * (1 - np.cos(t)), 140 - 10 * np.sin(t)) for t in np.linspace(0, np.pi, 7)]
    outer += [(125 - 25 * (1 - np.cos(t)), 140 + 12 * np.sin(t)) for t in np.linspace(0.5, 2.6, 5)]
    inner = [(85 + 4 * i, 140) for i in range(8)]
    points = jaw + brows + nose + eyes + outer + inner
    return np.array(points).round().astype(np.int32)


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (100, 140, "mouth"), (65, 75, "eyes"), (135, 75, "eyes"), (60, 53, "brows"),
        (140, 53, "brows"), (100, 100, "nose"), (100, 170, "jaw"), (50, 110, "jaw"),
        (150, 110, "jaw"), (100, 20, "outside"), (5, 190, "outside"),
    ],
)  # fmt: skip
def test_heat_on_a_part_of_the_face_is_counted_there(x: int, y: int, name: str) -> None:
    heat = np.zeros((200, 200), np.float32)
    heat[y - 2 : y + 3, x - 2 : x + 3] = 0.7
    shares = region_shares(heat, landmarks())
    assert tuple(shares) == REGIONS
    assert shares[name] == pytest.approx(1)


def test_shares_are_of_the_heat_not_of_pixels() -> None:
    heat = np.zeros((200, 200), np.float32)
    heat[140, 100], heat[75, 65], heat[10, 10] = 1, 2, 1
    shares = region_shares(heat, landmarks())
    assert shares == {
        "outside": 0.25, "jaw": 0, "brows": 0, "nose": 0, "eyes": 0.5, "mouth": 0.25,
    }  # fmt: skip


@given(seed=st.integers(0, 99), dx=st.integers(-30, 30), dy=st.integers(-30, 30))
def test_shares_sum_to_one_and_move_with_the_face(seed: int, dx: int, dy: int) -> None:
    heat = np.random.default_rng(seed).random((200, 200), np.float32)
    elsewhere = landmarks() + np.array([dx, dy], np.int32)
    assert sum(region_shares(heat, elsewhere).values()) == pytest.approx(1)
    moved = np.roll(region_map(landmarks(), width=300, height=300), (dy, dx), (0, 1))
    inside = np.s_[60:240, 60:240]
    assert np.mean(region_map(elsewhere, width=300, height=300)[inside] != moved[inside]) < 0.01


def test_without_heat_there_are_no_shares() -> None:
    with pytest.raises(ExplainError, match="0 everywhere"):
        region_shares(np.zeros((200, 200), np.float32), landmarks())
