import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hffkit.errors import ArgumentError
from hffkit.extraction.frames import FramePlan
from hffkit.manifest.samples import SPLITS
from hffkit.media.spacing import evenly

NUMBERS = st.one_of(
    st.integers(0, 1500).map(range),
    st.sets(st.integers(0, 2000), max_size=300).map(sorted),
)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("32", FramePlan("even", 32, 32)),
        ("75/20", FramePlan("even", 75, 20)),
        ("20/20", FramePlan("even", 20, 20)),
        ("1/1", FramePlan("even", 1, 1)),
        ("paper", FramePlan("even", 90, 24)),
        ("cao", FramePlan("even", 270, 270, 140)),
        ("all", FramePlan("every", 1, 1)),
        ("every:1", FramePlan("every", 1, 1)),
        ("every:10", FramePlan("every", 10, 10)),
    ],
)
def test_plan_is_written_in_these_ways(text: str, plan: FramePlan) -> None:
    assert FramePlan.parse(text) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0/0",
        "5/0",
        "-3",
        "3.5",
        "32/",
        "/20",
        "1/2/3",
        "every:0",
        "every",
        "every:",
        "All",
    ],
)
def test_other_ways_are_refused(text: str) -> None:
    message = f"`frames` must be N, REAL/FAKE, all, every:K, paper or cao, got {text!r}"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        FramePlan.parse(text)


def test_more_frames_of_fakes_than_of_the_real_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"`frames` 20/75: FAKE must be at most REAL"):
        FramePlan.parse("20/75")


def test_evenly_takes_the_middles_of_equal_stretches() -> None:
    assert evenly(range(100), 4) == [12, 37, 62, 87]
    assert evenly(range(10), 1) == [5]
    assert evenly([3, 8, 9, 20, 31], 3) == [3, 9, 31]


@given(NUMBERS, st.integers(0, 400))
def test_evenly_takes_as_many_as_asked_or_all(numbers: list[int], n: int) -> None:
    chosen = evenly(numbers, n)
    assert len(chosen) == min(n, len(numbers))
    assert chosen == sorted(set(chosen) & set(numbers))


@given(st.integers(1, 5000), st.integers(1, 400))
def test_even_gaps_differ_by_one_at_most_and_reach_both_ends(length: int, n: int) -> None:
    chosen = evenly(range(length), n)
    gaps = [after - before for before, after in itertools.pairwise(chosen)]
    if gaps:
        assert max(gaps) - min(gaps) <= 1
    # What is left over at the ends is half a gap, and the same on both sides.
    front, back = chosen[0], length - 1 - chosen[-1]
    assert abs(front - back) <= 1
    assert max(front, back) <= (length / len(chosen) + 1) / 2


@given(st.integers(2, 3000), st.data())
def test_never_are_the_first_n_taken(length: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, length - 1))
    assert evenly(range(length), n) != list(range(n))


@given(NUMBERS, st.integers(1, 100), st.integers(1, 100))
def test_frames_of_fakes_are_a_subset_of_the_reals(
    numbers: list[int], one: int, other: int
) -> None:
    n_real, n_fake = max(one, other), min(one, other)
    real, fake = FramePlan.parse(f"{n_real}/{n_fake}").choose(numbers, "train")
    assert set(fake) <= set(real) <= set(numbers)
    assert len(real) == min(n_real, len(numbers))
    assert len(fake) == min(n_fake, len(numbers))


@given(NUMBERS, st.integers(1, 100))
def test_one_number_takes_the_same_frames_of_all(numbers: list[int], n: int) -> None:
    real, fake = FramePlan.parse(str(n)).choose(numbers, "train")
    assert real == fake == evenly(numbers, n)


@given(NUMBERS, st.integers(1, 50))
def test_every_kth_frame_is_taken(numbers: list[int], step: int) -> None:
    expected = [number for place, number in enumerate(numbers) if place % step == 0]
    assert FramePlan.parse(f"every:{step}").choose(numbers, "train") == (expected, expected)
    assert FramePlan.parse("all").choose(numbers, "train") == (list(numbers), list(numbers))


def test_the_plan_of_cao_et_al_takes_fewer_frames_of_val_and_test() -> None:
    plan = FramePlan.parse("cao")
    for length in (100, 200, 300, 1000):
        for split in SPLITS:
            most = 270 if split == "train" else 140
            real, fake = plan.choose(range(length), split)
            assert real == fake == evenly(range(length), most)
            assert len(real) == min(length, most)
