"""Several corpora taken as one: how they are named, what must agree, and what tells them apart."""

import json
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path

import pytest
from makers.corpora import PROVENANCE, text_corpus, text_sample
from makers.trees import touch, write_image

from hffkit.errors import StorageError
from hffkit.manifest.classes import numbered
from hffkit.storage.audits import AuditSummary, audit_path, read_summary
from hffkit.storage.corpora import (
    check_corpora,
    identities,
    is_dataset,
    joint_classes,
    open_corpora,
    open_faces,
    open_masks,
    samples_of,
)
from hffkit.storage.corpus import Corpus
from hffkit.storage.datasets import datasets_note, told_apart


def corpus_of(path: Path, *files: tuple[str, str]) -> Corpus:
    """A corpus of files by path and content."""
    return text_corpus(path, [text_sample(name, content=content) for name, content in files])


def prefixes(corpora: Iterable[Corpus]) -> list[str]:
    return [corpus.prefix for corpus in told_apart(list(corpora))]


def test_corpora_are_named_by_path_by_folder_and_by_glob(tmp_path: Path) -> None:
    one, two = (corpus_of(tmp_path / f"all/{name}.lmdb", (name, "")) for name in ("1", "2"))
    touch(tmp_path, "all/notes.txt", "all/other/a.txt")
    for names in (
        [str(one.path), str(two.path)],
        [str(tmp_path / "all")],
        [str(tmp_path / "all/*.lmdb")],
        [str(tmp_path / "all/*")],
    ):
        assert [corpus.path for corpus in open_corpora(names)] == [one.path, two.path]
    assert [sample.key for _, sample in samples_of([two, one])] == ["2", "1"]
    with pytest.raises(StorageError, match="A corpus has an empty name"):
        check_corpora([""])
    with pytest.raises(StorageError, match="no such corpus"):
        check_corpora([str(tmp_path / "all/3.lmdb")])
    with pytest.raises(StorageError, match=r"no corpus: the folder holds no corpus\.json"):
        check_corpora([str(tmp_path / "all/other")])
    assert check_corpora([]) == []


def test_identities_are_the_digests_in_the_order_of_the_corpora(tmp_path: Path) -> None:
    corpora = [corpus_of(tmp_path / name, (name, "")) for name in ("a", "b")]
    assert identities(corpora) == {
        "content_sha256": [corpus.content_sha256 for corpus in corpora],
        "manifest_sha256": [corpus.manifest_sha256() for corpus in corpora],
    }


@pytest.mark.parametrize(
    ("form", "differing", "message"),
    [
        ({}, {"holds": "masks"}, "holds is 'masks' and 'faces'"),
        ({}, {"size": 64}, "layout is 'packed' and 'native'"),
        ({"size": 128}, {"size": 64}, "size is 64 and 128"),
        ({}, {"labels": "binary"}, "labels is 'binary' and 'multi'"),
        (
            {},
            {"classes": numbered(["Real"], ["Glow"])},
            "class 'Real' is fake in the first and real in the second",
        ),
    ],
)
def test_corpora_that_differ_in_form_are_not_taken_as_one(
    tmp_path: Path, form: dict[str, object], differing: dict[str, object], message: str
) -> None:
    names = [str(tmp_path / name) for name in ("1", "2", "3")]
    for name in names[:2]:
        text_corpus(Path(name), [text_sample(name)], **form)
    text_corpus(Path(names[2]), [text_sample("c")], **form | differing)
    assert len(open_corpora(names[:2])) == 2
    with pytest.raises(StorageError, match=rf"3 and .*1 cannot be taken as one: .*{message}"):
        open_corpora(names)


def test_classes_of_corpora_are_joined(tmp_path: Path) -> None:
    one = text_corpus(tmp_path / "1", [text_sample("a")])
    other = text_corpus(tmp_path / "2", [text_sample("b")], classes=numbered(["Other"], ["Real"]))
    assert [(row.id, row.name) for row in joint_classes([one, other])] == [
        (0, "Glow"),
        (1, "Other"),
        (2, "Real"),
    ]


def test_faces_and_masks_are_opened_by_what_they_are(tmp_path: Path) -> None:
    faces = text_corpus(tmp_path / "faces", [text_sample("a")])
    masks = text_corpus(tmp_path / "masks", [text_sample("a")], holds="masks")
    assert open_faces([str(faces.path)])[0].path == faces.path
    assert open_masks([str(masks.path)])[0].path == masks.path
    with pytest.raises(StorageError, match="masks holds masks, where faces are wanted"):
        open_faces([str(masks.path)])
    with pytest.raises(StorageError, match="faces holds faces, where masks are wanted"):
        open_masks([str(faces.path)])


def test_a_dataset_is_a_folder_of_files_and_no_corpus(tmp_path: Path) -> None:
    assert is_dataset(touch(tmp_path / "clips", "a/b.mp4"))
    assert is_dataset(tmp_path / "none") is False
    corpus = corpus_of(tmp_path / "all/1.lmdb", ("a", ""))
    assert is_dataset(corpus.path) is False
    (corpus.path / "corpus.json").rename(tmp_path / "corpus.json")
    assert is_dataset(corpus.path) is False  # a bare LMDB
    (tmp_path / "corpus.json").rename(corpus.path / "corpus.json")
    assert is_dataset(tmp_path / "all") is False
    write_image(tmp_path / "all/sheet.png")
    assert is_dataset(tmp_path / "all") is False  # the contact sheet of the corpus
    write_image(tmp_path / "all/real/1.png")
    with pytest.raises(StorageError, match=r"holds the corpus 1\.lmdb and folders of images"):
        is_dataset(tmp_path / "all")
    touch(tmp_path, "all/real/a.mp4")
    assert is_dataset(tmp_path / "all")


def test_datasets_with_the_same_paths_are_told_apart_by_their_smallest_digest(
    tmp_path: Path,
) -> None:
    one = corpus_of(tmp_path / "1", ("a", "x"), ("b", "y"))
    twice = corpus_of(tmp_path / "2", ("b", "y"), ("c", "z"))  # of the same dataset
    other = corpus_of(tmp_path / "3", ("a", "other"))
    apart = corpus_of(tmp_path / "4", ("d", "x"))
    assert prefixes([one]) == [""]
    assert prefixes([one, twice, apart]) == ["", "", ""]
    digests = [text_sample("", content=text).source_sha256 for text in ("x", "y", "z")]
    expected = {one.path: f"{min(digests)[-8:]}/"}
    expected |= {twice.path: expected[one.path], apart.path: ""}
    expected[other.path] = f"{text_sample('', content='other').source_sha256[-8:]}/"
    for order in permutations([one, twice, other, apart]):
        found = told_apart(order)
        assert [corpus.path for corpus in found] == [corpus.path for corpus in order]
        assert {corpus.path: corpus.prefix for corpus in found} == expected
    first = next(told_apart([one, other])[0].samples())
    assert first.key == first.group == expected[one.path] + "a"
    assert datasets_note([one, other]) is None
    assert str(datasets_note(told_apart([one, other]))).startswith(
        f"{one.path} ({expected[one.path]}), {other.path} ({expected[other.path]}): files of"
    )


def test_chains_of_shared_files_join_a_dataset(tmp_path: Path) -> None:
    corpora = [
        corpus_of(tmp_path / "1", ("a", "1"), ("b", "3")),
        corpus_of(tmp_path / "2", ("a", "2"), ("c", "4")),
        corpus_of(tmp_path / "3", ("b", "3"), ("c", "4")),
    ]
    assert len(set(prefixes(corpora[:2]))) == 2
    assert all(prefixes(corpora[:2]))
    assert prefixes(corpora) == ["", "", ""]


def test_datasets_that_hold_one_file_at_two_paths_get_two_prefixes(tmp_path: Path) -> None:
    contents = sorted("xyz", key=lambda text: text_sample("", content=text).source_sha256)
    shared, mine, theirs = contents  # the shared one has the smallest digest of both
    corpora = [
        corpus_of(tmp_path / "1", ("a", mine), ("b", shared)),
        corpus_of(tmp_path / "2", ("a", theirs), ("c", shared)),
    ]
    found = told_apart(corpora)
    assert len({corpus.prefix for corpus in found} - {""}) == 2
    assert prefixes(reversed(corpora)) == [corpus.prefix for corpus in reversed(found)]


def test_names_of_faceforensics_and_of_one_command_never_get_a_prefix(tmp_path: Path) -> None:
    key = "ff++/c23/Real/000/0001"
    ffpp = [corpus_of(tmp_path / name, (key, name)) for name in ("1", "2")]
    assert prefixes(ffpp) == ["", ""]
    shards = [
        text_corpus(tmp_path / f"s{i}", [text_sample("a", content=str(i))], shard=(i, 2))
        for i in (0, 1)
    ]
    assert prefixes(shards) == ["", ""]
    other = text_corpus(
        tmp_path / "s3", [text_sample("a", content="2")], shard=(1, 2), options={"seed": 1}
    )
    assert all(prefixes([shards[0], other]))  # of another command
    packed = [
        text_corpus(tmp_path / f"p{i}", [text_sample("a", content=str(i))], verb="pack")
        for i in (0, 1)
    ]
    assert prefixes(packed) == ["", ""]


SUMMARY = AuditSummary(
    {"high": 2, "medium": 0, "low": 1}, "leaks", {"width": (0.75, 0.5, 0.9), "size": (0.5, 0, 1)}
)


def test_the_summary_of_an_audit_is_a_line() -> None:
    assert SUMMARY.text == (
        "audit: 3 findings (2 high, 1 low); leakage AUC by width 0.750 (0.500 to 0.900); "
        "leakage AUC by size 0.500 (0.000 to 1.000); worst: leaks"
    )
    assert AuditSummary({"high": 0}, None, {}).text == "audit: 0 findings"
    assert AuditSummary({"high": 1}, None, {}).text == "audit: 1 finding (1 high)"


def test_the_summary_is_that_of_this_state_of_this_corpus_alone(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "a.lmdb", ("a", ""))
    path = audit_path(corpus.path)
    assert path == tmp_path / "a-audit.json"
    assert read_summary(corpus) is None
    row = {"format": 1, "data": [corpus.identity()], "summary": SUMMARY.to_json()}
    path.write_text(json.dumps(row), "utf-8")
    assert read_summary(corpus) == SUMMARY
    no_bounds = {**SUMMARY.to_json(), "leakage": {"width": [0.5, 0.5]}}
    for change in (
        {"format": 2},
        {"data": [corpus.identity()] * 2},
        {"data": [{**corpus.identity(), "content_sha256": "0"}]},
        {"summary": no_bounds},
        {"summary": None},
    ):
        path.write_text(json.dumps({**row, **change}), "utf-8")
        assert read_summary(corpus) is None
    path.write_text("{", "utf-8")
    assert read_summary(corpus) is None


def test_provenance_of_text_corpora_comes_back(tmp_path: Path) -> None:
    corpus = text_corpus(tmp_path / "a", [text_sample("a")], shard=(0, 3))
    assert corpus.provenance.shard == (0, 3)
    assert corpus.provenance.classes == PROVENANCE.classes
