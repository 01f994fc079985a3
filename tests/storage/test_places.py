"""Places of records, blocks of them, and their labels among the outputs of a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from makers.corpora import text_corpus, text_sample

from hffkit.errors import ArgumentError, CorpusError, ManifestError
from hffkit.manifest.classes import BINARY, ClassTable, FaceClass, numbered
from hffkit.manifest.samples import Sample, Split
from hffkit.manifest.seeds import rank
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import items_of, labels_of, outputs_of
from hffkit.storage.record import check_packed_size
from hffkit.storage.selection import (
    Places,
    RecordBlock,
    block_name,
    blocks_of,
    drawn,
    places_of,
    samples_at,
)

SPLITS: Sequence[Split] = ("train", "val", "test")


@pytest.fixture
def corpora(tmp_path: Path) -> list[Corpus]:
    """Two corpora of 9 and 4 samples, of both classes and all splits."""
    return [
        text_corpus(
            tmp_path / name,
            [
                text_sample(f"{name}/ä{n:02d}", ("Glow", "Real")[n % 2], SPLITS[n % 3])
                for n in range(size)
            ],
        )
        for name, size in (("one", 9), ("two", 4))
    ]


def places(n: int) -> Places:
    return np.stack([np.zeros(n, np.int64), 100 * np.arange(n)], axis=1)


def keys_at(found: Places, corpora: Sequence[Corpus]) -> list[str]:
    return [sample.key for _, sample in samples_at(found, [corpus.name for corpus in corpora])]


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (1, [1]),
        (16, [16]),
        (17, [16, 1]),
        (1024, [16] * 64),
        (1087, [16] * 67 + [15]),
        (1088, [17] * 64),
        (32_768, [512] * 64),
        (100_000, [512] * 195 + [160]),
    ],
)
def test_blocks_are_64_unless_they_were_below_16_or_above_512_records(
    n: int, sizes: list[int]
) -> None:
    blocks = blocks_of(places(n))
    assert [len(block) for block in blocks] == sizes
    assert [block.number for block in blocks] == list(range(len(sizes)))
    assert np.array_equal(np.concatenate([block.places for block in blocks]), places(n))


def test_the_name_of_a_block_depends_on_its_number_and_its_places() -> None:
    names = [block_name(RecordBlock(n, places(k))) for n, k in ((0, 3), (1, 3), (0, 4), (0, 3))]
    assert len(set(names[:3])) == 3
    assert names[3] == names[0]
    assert len(names[0]) == 32


def test_places_lead_to_the_samples_in_order(corpora: list[Corpus]) -> None:
    of_first = places_of(corpora[:1])
    assert keys_at(of_first, corpora) == [sample.key for sample in corpora[0].samples()]
    assert of_first[0].tolist() == [0, 0]
    every = places_of(corpora)
    assert every[:, 0].tolist() == [0] * 9 + [1] * 4
    assert keys_at(every, corpora) == [sample.key for each in corpora for sample in each.samples()]
    fakes = places_of(corpora[:1], lambda sample: sample.cls == "Glow")
    assert keys_at(fakes, corpora) == [f"one/ä0{n}" for n in (0, 2, 4, 6, 8)]
    assert np.array_equal(places_of(corpora[:1], lambda _: True), of_first)


def test_a_selection_of_nothing_and_of_equal_keys_is_refused(corpora: list[Corpus]) -> None:
    with pytest.raises(CorpusError, match=r"one, .*two: no sample is selected"):
        places_of(corpora, lambda _: False)
    with pytest.raises(ManifestError, match=r"'one/ä00' occurs twice"):
        places_of([corpora[0], corpora[0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_places_drawn_are_the_least_by_rank_in_their_order(
    corpora: list[Corpus], seed: int
) -> None:
    every = places_of(corpora)
    keys = keys_at(every, corpora)
    least = sorted(keys, key=lambda key: rank(seed, "limit", key))
    for n in (1, 5, 13, 14):
        found = keys_at(drawn(corpora, every, n, seed), corpora)
        assert found == [key for key in keys if key in least[:n]]


def test_items_are_the_samples_of_a_split_or_all(corpora: list[Corpus]) -> None:
    every = items_of(corpora, None)
    assert [corpus for corpus, _ in every] == [corpora[0]] * 9 + [corpora[1]] * 4
    validation = items_of(corpora, "val")
    assert [sample.key for _, sample in validation] == ["one/ä01", "one/ä04", "one/ä07", "two/ä01"]
    alone = [corpora[1]]
    assert len(items_of(alone, "test")) == 1
    with pytest.raises(CorpusError, match="none: no sample in split val; `hffkit inspect` counts"):
        items_of([text_corpus(corpora[0].path.with_name("none"), [text_sample("a")])], "val")


TABLE = ClassTable(
    (FaceClass(4, "real", is_fake=False), FaceClass(2, "b", is_fake=True), *numbered(["a"], []))
)


def items(corpus: Corpus, *classes: str) -> list[tuple[Corpus, Sample]]:
    return [(corpus, text_sample(str(n), name)) for n, name in enumerate(classes)]


def test_labels_are_the_places_of_classes_among_the_outputs(corpora: list[Corpus]) -> None:
    some = items(corpora[0], "a", "real", "b", "a")
    assert outputs_of(TABLE, "binary") == BINARY
    assert labels_of(some, TABLE, BINARY).tolist() == [0, 1, 0, 0]
    outputs = outputs_of(TABLE, "multi")
    assert [(row.id, row.name) for row in outputs] == [(0, "real"), (1, "b"), (2, "a")]
    assert labels_of(some, TABLE, outputs).tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (numbered(["b", "other"], ["real"]), r"class 'a' \(fake\) is none of the network's"),
        (numbered(["b"], ["a", "real"]), r"class 'a' \(fake\) is none .*, b \(fake\), a \(real\)"),
    ],
)
def test_a_class_that_a_network_does_not_know_alike_is_refused(
    corpora: list[Corpus], outputs: ClassTable, message: str
) -> None:
    assert labels_of(items(corpora[0], "b", "real"), TABLE, outputs).tolist() == [
        0,
        outputs["real"].id,
    ]
    with pytest.raises(CorpusError, match=message):
        labels_of(items(corpora[0], "a"), TABLE, outputs)


def test_sizes_are_from_1_to_4096_px() -> None:
    for size in (None, 1, 128, 4096):
        check_packed_size(size)
    for size in (-1, 0, 4097):
        with pytest.raises(ArgumentError, match=f"native or 1 to 4096 px, got {size}"):
            check_packed_size(size)


def test_a_block_is_divided_into_its_records() -> None:
    block = RecordBlock(3, places(4))
    singles = block.singly()
    assert [len(single) for single in singles] == [1] * 4
    assert {single.number for single in singles} == {3}
    assert np.array_equal(np.concatenate([single.places for single in singles]), block.places)
