import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hffkit.errors import ArgumentError
from hffkit.manifest.samples import SPLITS, Split
from hffkit.manifest.seeds import rank
from hffkit.manifest.splits import SplitRatio, assign_splits
from hffkit.sources.ffpp import official_pairs

MEMBERS = st.lists(
    st.tuples(st.sampled_from([f"g{n}" for n in range(8)]), st.sampled_from("abcd")),
    min_size=1,
    max_size=30,
)
RATIO = SplitRatio.parse("75/5/20")  # Section IV-A of the AMTENnet paper
SHARES = st.tuples(*[st.integers(0, 5)] * 3).filter(any)


def ratio_of(shares: tuple[int, ...]) -> SplitRatio:
    return SplitRatio.parse("/".join(map(str, shares)))


@pytest.mark.parametrize("text", ["75/5/20", "0.75/0.05/0.2", "75:5:20", "75,5,20", " 15/1/4 "])
def test_ratio_is_three_numbers(text: str) -> None:
    ratio = SplitRatio.parse(text)
    assert [ratio.of(split) for split in SPLITS] == pytest.approx([0.75, 0.05, 0.2])


@pytest.mark.parametrize(
    "text", ["", "75/25", "75/5/20/1", "0/0/0", "a/b/c", "-1/1/1", "1.2.3/1/1", "././.", "nan/1/1"]
)
def test_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"must be train/val/test such as 75/5/20, got '"
    ) as caught:
        SplitRatio.parse(text)
    assert repr(text) in str(caught.value)


def test_ratio_without_test_keeps_the_relation_of_the_rest() -> None:
    ratio = SplitRatio.parse("60/20/20").without_test()
    assert [ratio.of(split) for split in SPLITS] == pytest.approx([0.75, 0.25, 0])
    assert SplitRatio.parse("0/0/1").without_test() == SplitRatio(1, 0, 0)


def test_single_sample_groups_give_the_papers_table_ii() -> None:
    expected = {"CelebA": (18_750, 1_250, 5_000), "PGGAN": (7_500, 500, 2_000)}
    members = [
        (f"{name}/{i}", name) for name, counts in expected.items() for i in range(sum(counts))
    ]
    splits = assign_splits(members, RATIO, seed=0)
    counts = Counter((name, splits[group]) for group, name in members)
    for name, wanted in expected.items():  # each class is split by itself
        assert tuple(counts[name, split] for split in SPLITS) == wanted


@given(st.integers(1, 400), SHARES, st.integers(0, 5))
def test_single_sample_groups_are_within_one_of_their_share(
    n: int, shares: tuple[int, ...], seed: int
) -> None:
    splits = assign_splits([(str(i), "a") for i in range(n)], ratio_of(shares), seed=seed)
    counts = Counter(splits.values())
    for split, share in zip(SPLITS, shares, strict=True):
        assert abs(counts[split] - n * share / sum(shares)) <= 1


@given(MEMBERS, SHARES, st.integers(0, 3))
def test_every_group_has_one_split_and_none_of_share_zero(
    members: list[tuple[str, str]], shares: tuple[int, ...], seed: int
) -> None:
    splits = assign_splits(members, ratio_of(shares), seed=seed)
    assert set(splits) == {group for group, _ in members}
    empty = {split for split, share in zip(SPLITS, shares, strict=True) if share == 0}
    assert empty.isdisjoint(splits.values())


def members_of(text: str) -> list[tuple[str, str]]:
    return [(pair[0], pair[1]) for pair in text.split()]


@given(
    MEMBERS.flatmap(lambda members: st.tuples(st.just(members), st.permutations(members))),
    SHARES,
    st.integers(0, 3),
)
@example(  # a tie that the last bit of a sum of floats decides
    (members_of("0a 2b 3b 3d 2a 3b 3a"), members_of("2a 0a 3b 3b 3a 2b 3d")), (2, 1, 1), 2
)
def test_order_of_the_samples_is_irrelevant(
    orders: tuple[list[tuple[str, str]], list[tuple[str, str]]], shares: tuple[int, ...], seed: int
) -> None:
    one, other = (assign_splits(order, ratio_of(shares), seed=seed) for order in orders)
    assert one == other


def test_another_seed_is_another_shuffle() -> None:
    members = [(str(i), "a") for i in range(100)]
    one, again, two = (assign_splits(members, RATIO, seed=seed) for seed in (0, 0, 1))
    assert one == again != two


def test_taken_groups_keep_their_split_and_count() -> None:
    members = [(str(i), "a") for i in range(100)]
    taken: dict[str, Split] = {str(i): "test" for i in range(20)}
    splits = assign_splits(members, RATIO, seed=0, taken=taken)
    assert {group: splits[group] for group in taken} == taken
    assert Counter(splits.values()) == {"train": 75, "val": 5, "test": 20}


def test_a_group_goes_where_its_classes_lack_the_larger_shares() -> None:
    # Train lacks 2 of 10 a and 1 of 2 b, a share of 0.7; test 5 of 10 a and no b, a share of 0.5.
    members = [("g", "a"), ("g", "b"), ("t", "b"), *[("u", "a")] * 3, *[("v", "a")] * 6]
    taken: dict[str, Split] = {"t": "test", "u": "train", "v": "val"}
    splits = assign_splits(members, SplitRatio.parse("50/0/50"), seed=0, taken=taken)
    assert splits == {**taken, "g": "train"}


def test_the_shuffle_is_by_the_digest_of_seed_and_names() -> None:
    expected = hashlib.blake2b(b"7\0split\0a\xff", digest_size=16).digest()
    assert rank(7, "split", "a\udcff") == expected


def test_each_class_of_a_mixed_corpus_comes_near_its_ratio() -> None:
    members = [
        (f"g{i}", name)
        for i in range(400)
        for name in "abc"
        for _ in range(1 + (i + ord(name)) % 3)
    ]
    splits = assign_splits(members, RATIO, seed=0)
    counts = Counter((name, splits[group]) for group, name in members)
    for name in "abc":
        total = sum(counts[name, split] for split in SPLITS)
        for split in SPLITS:
            assert counts[name, split] / total == pytest.approx(RATIO.of(split), abs=0.01)


def test_official_pairs_are_those_of_the_authors_files(data: Path) -> None:
    expected = {}
    for split in SPLITS:
        text = (data / "data" / "splits" / f"faceforensicspp_{split}.json").read_text()
        for pair in json.loads(text):
            for video in pair:
                assert video not in expected
                expected[video] = ("+".join(sorted(pair)), split)
    assert official_pairs() == expected


def test_official_splits_are_720_140_and_140_videos_in_pairs() -> None:
    pairs = official_pairs()
    assert sorted(pairs) == [f"{n:03d}" for n in range(1000)]
    assert Counter(split for _, split in pairs.values()) == {"train": 720, "val": 140, "test": 140}
    members = defaultdict(set)
    for video, (pair, split) in pairs.items():
        members[pair, split].add(video)
    for (pair, _), videos in members.items():
        assert "+".join(sorted(videos)) == pair
    assert len(members) == 500
