import random
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hffkit.extraction.frames import FramePlan
from hffkit.extraction.trim import level, surplus
from hffkit.manifest.samples import Split
from hffkit.sources.ffpp import official_pairs

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
TOTALS = {("Real", "train"): 50_000, ("Real", "test"): 10_000, ("Real", "val"): 10_500}
for _method in METHODS:
    TOTALS |= {(_method, "train"): 12_500, (_method, "test"): 2_500, (_method, "val"): 2_800}
Samples = list[tuple[str, Split]]


def families(lengths: dict[str, int] | None = None, quality: str = "c23") -> Samples:
    """Return what `--frames paper` builds: 75 frames of each of 1000 originals, 20 of each forgery.

    A video in `lengths` has faces in so many of its 75 frames only, evenly spaced; what the fakes
    take of those that are left is a subset.
    """
    samples: Samples = []
    for video, (pair, split) in sorted(official_pairs().items()):
        source = pair.replace(video, "").strip("+")
        real, fake = FramePlan.parse("paper").choose(range(280 + int(video)), "train")
        seen = set(FramePlan.parse(str((lengths or {}).get(video, 75))).choose(real, "train")[0])
        for name, numbers in (("Real", real), *((method, fake) for method in METHODS)):
            stem = video if name == "Real" else f"{video}_{source}"
            samples += [
                (f"ff++/{quality}/{name}/{stem}/{number:04d}", split)
                for number in numbers
                if number in seen
            ]
    return samples


def kept(samples: Samples, *, seed: int = 0) -> Samples:
    left_out = surplus(samples, seed=seed)
    assert left_out <= {key for key, _ in samples}
    return [(key, split) for key, split in samples if key not in left_out]


def per_class(samples: Samples) -> dict[tuple[str, str], int]:
    return dict(Counter((key.split("/")[2], split) for key, split in samples))


def per_video(samples: Samples) -> dict[tuple[str, str], dict[str, int]]:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(Counter)
    for key, split in samples:
        _, _, name, video, _ = key.split("/")
        counts[name, split][video] += 1
    return counts


def frames(samples: Samples, names: Iterable[str]) -> dict[str, set[str]]:
    """Return the frames of each target in any of the named classes."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for key, _ in samples:
        _, _, name, video, number = key.split("/")
        if name in names:
            numbers[video.split("_")[0]].add(number)
    return numbers


def strays(samples: Samples) -> list[str]:
    """Return the targets of whose forgeries a frame is there that their own lacks."""
    real, fake = (frames(samples, names) for names in (["Real"], METHODS))
    return [target for target in fake if not fake[target] <= real[target]]


@pytest.fixture(scope="module")
def built() -> Samples:
    return families()


@pytest.fixture(scope="module")
def trimmed(built: Samples) -> Samples:
    return kept(built)


def test_what_is_built_is_75_and_20_frames_of_each_video(built: Samples) -> None:
    assert len(built) == 1000 * 75 + 4 * 1000 * 20
    assert strays(built) == []


def test_totals_are_exactly_the_papers_and_val_is_untouched(trimmed: Samples) -> None:
    assert per_class(trimmed) == TOTALS


def test_frames_of_forgeries_stay_a_subset_of_their_targets(trimmed: Samples) -> None:
    assert strays(trimmed) == []


def test_real_videos_first_give_up_frames_that_no_forgery_uses(
    built: Samples, trimmed: Samples
) -> None:
    given_up = {key for key, _ in built} - {key for key, _ in trimmed}
    used = frames(built, METHODS)
    for key in given_up:
        _, _, name, video, number = key.split("/")
        assert name != "Real" or number not in used[video]


def test_videos_of_a_bucket_differ_by_one_frame_at_most(trimmed: Samples) -> None:
    counts = per_video(trimmed)
    assert len(counts) == 15
    for videos in counts.values():
        assert max(videos.values()) - min(videos.values()) <= 1


def test_pairs_give_up_the_same_frames_in_both_qualities(built: Samples, trimmed: Samples) -> None:
    low = families(quality="c40")
    masks = [(key, split) for key, split in families(quality="masks") if "/Real/" not in key]
    left = {key for key, _ in kept(built + low + masks)}
    assert {key for key in left if "/c23/" in key} == {key for key, _ in trimmed}
    for quality in ("c40", "masks"):
        found = {key.replace(quality, "c23") for key in left if f"/{quality}/" in key}
        wanted = {key for key, _ in trimmed if quality == "c40" or "/Real/" not in key}
        assert found == wanted


def test_order_of_the_samples_is_irrelevant(built: Samples, trimmed: Samples) -> None:
    shuffled = random.Random(0).sample(built, len(built))
    assert sorted(kept(shuffled)) == sorted(trimmed)


def test_another_seed_leaves_out_others(built: Samples, trimmed: Samples) -> None:
    others = kept(built, seed=1)
    assert per_class(others) == TOTALS
    assert others != trimmed


def test_totals_are_met_though_some_videos_are_short_of_faces(built: Samples) -> None:
    lengths = {f"{n:03d}": 1 + n // 25 for n in range(3, 1000, 20)}
    short = families(lengths)
    assert len(short) < len(built) - 2000
    rest = kept(short)
    before, after = per_class(short), per_class(rest)
    for cell, total in TOTALS.items():
        assert after[cell] == (before[cell] if cell[1] == "val" else total)
    assert strays(rest) == []
    have, keep = per_video(short), per_video(rest)
    for cell in TOTALS:
        height = max(keep[cell].values())
        for video, n in have[cell].items():  # nobody below the common height gives anything
            assert keep[cell][video] in {min(n, height), min(n, height - 1)}


def test_all_are_kept_where_there_are_not_enough() -> None:
    few = [row for row in families() if "/Real/0" in row[0] or "/FaceSwap/00" in row[0]]
    assert surplus(few, seed=0) == set()


def test_only_the_bucket_with_too_many_is_cut() -> None:
    # Enough real test faces, not enough of anything else.
    some = [
        row for row in families() if row[1] == "test" and ("/Real/" in row[0] or "_0" in row[0])
    ]
    before, after = per_class(some), per_class(kept(some))
    assert after == before | {("Real", "test"): 10_000}


def test_each_quality_meets_the_totals_with_the_same_frames(
    built: Samples, trimmed: Samples
) -> None:
    both = kept(built + families(quality="c40"))
    assert [row for row in both if "/c23/" in row[0]] == trimmed
    again = [(key.replace("/c40/", "/c23/"), split) for key, split in both if "/c40/" in key]
    assert again == trimmed


def test_classes_that_the_paper_lacks_are_left_alone() -> None:
    others: Samples = [
        (f"ff++/c23/{name}/{video}/{number:04d}", "train")
        for name, video in (("FaceShifter", "000_003"), ("Real-actors", "01__talking"))
        for number in range(60_000)
    ]
    assert surplus(others, seed=0) == set()


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 30), max_size=12),
    st.integers(0, 200),
    st.integers(0, 3),
)
def test_level_meets_the_total_by_taking_from_the_highest(
    counts: dict[str, int], total: int, seed: int
) -> None:
    quotas = level(counts, total, seed=seed)
    assert sum(quotas.values()) == min(total, sum(counts.values()))
    assert quotas.keys() == counts.keys()
    height = max(quotas.values(), default=0)
    for video, n in counts.items():
        assert quotas[video] <= n
        if quotas[video] < n:  # whoever gave is left with as many as anyone, but for one
            assert quotas[video] >= height - 1


@given(
    st.dictionaries(st.text(max_size=3), st.integers(1, 30), min_size=1, max_size=12),
    st.integers(0, 200),
)
def test_level_does_not_depend_on_the_order_of_videos(counts: dict[str, int], total: int) -> None:
    backwards = dict(reversed(counts.items()))
    assert level(counts, total, seed=0) == level(backwards, total, seed=0)
