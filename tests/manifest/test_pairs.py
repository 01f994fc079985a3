"""Pairs of two qualities, and the masks of forged frames, by hand."""

from collections.abc import Mapping, Sequence

import pytest

from hffkit.errors import ManifestError
from hffkit.manifest.pairs import Paired, by_key, frame_of, in_quality, mask_for, paired, quality_of
from hffkit.manifest.samples import Box, Sample

Item = tuple[str, Sample]
BOX = (1, 2, 30)


def item(key: str, box: Box = BOX, cls: str = "Deepfakes") -> Item:
    """A sample and the name of what holds it."""
    sha = "ab" * 32
    return "corpus", Sample(key, cls, "train", "000", "x.mp4", sha, 0, box, None, sha, sha)


def frame(quality: str, number: int, box: Box = BOX, cls: str = "Deepfakes") -> Item:
    return item(f"ff++/{quality}/{cls}/000_003/{number:04d}", box, cls)


def pairs_of(items: Sequence[Item], masks: Mapping[str, Item] | None = None) -> Paired[Item]:
    return paired(items, masks, lambda sample: sample.cls != "Real", ("c23", "c40"))


def test_quality_is_the_second_of_five_parts_of_a_key() -> None:
    key = "ff++/c23/Deepfakes/000_003/0042"
    assert quality_of(key) == "c23"
    assert in_quality(key, "c40") == "ff++/c40/Deepfakes/000_003/0042"
    assert frame_of(key) == frame_of(in_quality(key, "masks")) == "ff++/*/Deepfakes/000_003/0042"
    for other in ("hff/c23/Deepfakes/000_003/0042", "ff++/c23/a/b", "ff++/c23/a/b/c/d", "a"):
        assert quality_of(other) is None
        assert frame_of(other) == other


def test_pairs_are_in_the_order_of_the_high_quality_and_the_rest_is_counted() -> None:
    highs = [frame("c23", 2), frame("c23", 1), frame("c23", 3), frame("c23", 4)]
    lows = [frame("c40", 1), frame("c40", 2), frame("c40", 3, (1, 2, 31)), frame("c40", 5)]
    others = [frame("raw", 1), item("photo.png")]
    found = pairs_of([*lows, *others, *highs, frame("c40", 6)])
    assert found.high == highs[:2]
    assert found.low == [lows[1], lows[0]]
    assert found.masks == [None, None]
    assert found.left_out == {
        "neither c23 nor c40": 2,
        "c23 and c40 cut differently": 2,  # both members
        "c23 without c40": 1,
        "c40 without c23": 2,
    }


def test_forged_frames_are_paired_with_their_masks_and_real_ones_with_none() -> None:
    both = [frame(quality, n) for n in (1, 2, 3, 4) for quality in ("c23", "c40")]
    real = [frame(quality, 1, cls="Real") for quality in ("c23", "c40")]
    masks = by_key(
        [frame("masks", 1), frame("masks", 2, (0, 0, 30)), frame("masks", 1, cls="Real")]
    )
    found = pairs_of([*both, *real], masks)
    assert found.high == [both[0], real[0]]
    assert found.low == [both[1], real[1]]
    assert found.masks == [frame("masks", 1), None]
    assert found.left_out == {"mask cut differently": 2, "fake without a mask": 4}
    without = pairs_of([*both, *real])
    assert (len(without.high), without.masks, without.left_out) == (5, [None] * 5, {})


def test_a_mask_is_that_of_the_frame_and_its_crop() -> None:
    masks = by_key([frame("masks", 1), item("photo.png")])
    assert mask_for(frame("c40", 1)[1], masks) == frame("masks", 1)
    assert mask_for(frame("c40", 1, (1, 2, 31))[1], masks) is None
    assert mask_for(frame("c40", 2)[1], masks) is None
    assert mask_for(item("photo.png")[1], masks) is None


def test_a_sample_that_occurs_twice_has_no_certain_pair() -> None:
    with pytest.raises(ManifestError, match=r"key 'ff\+\+/c40/.*/0001' occurs twice: its pair is"):
        pairs_of([frame("c40", 1), frame("c23", 1), frame("c40", 1)])
