"""Files and pixels that are in two classes or splits."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from makers.trees import about, build_corpus, face, rows, write_clip, write_image
from PIL import Image

from hffkit.corpus.merge import merge
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.storage.duplicates import Duplicates

Run = Callable[..., Result]


def sample(number: int, cls: str, split: Any, file: int, pixels: int) -> Sample:
    """Return a sample with digests made of two numbers."""
    digests = f"a{file:063x}", f"b{file:063x}", f"c{pixels:063x}"  # of three kinds of bytes
    name = f"{number}.png"
    return Sample(name, cls, split, name, name, digests[0], None, None, None, *digests[1:])


def failures_of(samples: list[Sample]) -> list[Failure]:
    found = Duplicates()
    for each in samples:
        found.add(each)
    return list(found.failures(lambda: samples))


_NUMBERS = st.integers(0, 5).map(lambda n: n << 192)  # the first 8 bytes differ


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(SPLITS), _NUMBERS, _NUMBERS)))
def test_duplicates_are_those_that_a_comparison_of_all_pairs_finds(rows_of: list[Any]) -> None:
    samples = [sample(number, *row) for number, row in enumerate(rows_of)]

    def first(i: int, name: str) -> Sample:
        digest = getattr(samples[i], name)
        return next(each for each in samples if getattr(each, name) == digest)

    expected = []
    for i, (cls, split, *_) in enumerate(rows_of):
        twin, alike = first(i, "source_sha256"), first(i, "pixels_sha256")
        if (twin.cls, twin.split) != (cls, split):
            expected.append((f"{i}.png", False, twin.key))
        elif alike.source_sha256 != twin.source_sha256 and (alike.cls, alike.split) != (cls, split):
            expected.append((f"{i}.png", True, alike.key))
    found = failures_of(samples)
    assert [
        (row.path, "pixels" in row.reason, row.reason.split(" as ")[1].split(",")[0])
        for row in found
    ] == expected
    assert {row.kind for row in found} <= {"duplicate"}
    assert file_order_is_free(samples)


def file_order_is_free(samples: list[Sample]) -> bool:
    """Tell if there are duplicates in one order when there are some in another."""
    shuffled = random.Random(3).sample(samples, len(samples))
    return bool(failures_of(shuffled)) == bool(failures_of(samples))


def test_digests_that_begin_alike_are_no_duplicates() -> None:
    """Only 8 bytes are kept of each digest; the rest decides."""
    assert failures_of([sample(0, "a", "train", 1, 3), sample(1, "b", "test", 2, 4)]) == []
    assert len(failures_of([sample(0, "a", "train", 1, 3), sample(1, "b", "test", 1, 4)])) == 1


def test_samples_are_read_again_only_if_there_are_duplicates() -> None:
    def never() -> Iterator[Sample]:
        raise AssertionError("read again")

    found = Duplicates()
    for number in range(9):
        found.add(sample(number, "ab"[number % 2], "train", number << 192, number << 192))
    assert list(found.failures(never)) == []


# commands ---------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Split folders with classes real and fake, six different images in each of train and test."""
    number = 0
    for split in ("train", "test"):
        for name in ("real", "fake"):
            for i in range(3):
                write_image(tmp_path / "in" / split / name / f"{i}.png", 5 * number)
                number += 1
    return tmp_path / "in"


def build_command(tree: Path, out: Path, *more: object) -> tuple[object, ...]:
    named = ("--real", "real", "--fake", "fake", "--workers", 1)
    return ("build", "folder", "--src", tree, *named, "--out", out, *more)


TWINS = {
    "in two classes": ("train/real/1.png", "train/fake/x.png", "in the classes fake and real"),
    "in two splits": ("train/real/1.png", "test/real/x.png", "in the splits test and train"),
    "in both": (
        "test/fake/0.png",
        "train/real/x.png",
        "in the classes fake and real and the splits test and train",
    ),
}


@pytest.mark.parametrize(
    ("how", "case"),
    [("file", "in two classes"), ("file", "in two splits"), ("pixels", "in both")],
)
def test_builds_tell_what_is_in_two_places(
    tree: Path, tmp_path: Path, run: Run, how: str, case: str
) -> None:
    plain = run(*build_command(tree, tmp_path / "plain"))
    assert (plain.exit_code, plain.stderr) == (0, "")
    original, twin, places = TWINS[case]
    if how == "file":
        (tree / twin).write_bytes((tree / original).read_bytes())
    else:
        with Image.open(tree / original) as image:
            image.save(tree / twin, compress_level=1)
        assert (tree / twin).read_bytes() != (tree / original).read_bytes()
    out = tmp_path / "x.lmdb"
    done = run(*build_command(tree, out))
    assert done.exit_code == 3
    (row,) = rows(out / "failures.jsonl")
    # Classes are listed fakes first, and each in the order of its split folders.
    names = {row["path"], row["reason"].split(f"the same {how} as ")[1].split(",")[0]}
    assert names == {original, twin}
    assert (row["kind"], row["frame"]) == ("duplicate", None)
    assert row["reason"].endswith(places)
    assert f"warning: {out}: 1 file or image is in two classes or splits" in done.stderr
    assert f"  {row['path']}: {row['reason']}" in done.stderr
    assert about(out)["failures"] == {"duplicate": 1}
    assert about(out)["n_samples"] == 13
    accepted = run(*build_command(tree, tmp_path / "y.lmdb", "--accept-duplicates"))
    assert accepted.exit_code == 0
    assert "in two classes or splits" in accepted.stderr
    assert about(tmp_path / "y.lmdb")["content_sha256"] == about(out)["content_sha256"]
    again = run(*build_command(tree, out, "--retry-failed"))
    assert again.exit_code == 3
    assert rows(out / "failures.jsonl") == [row]
    for command in (("verify",), ("inspect", "--no-sheet")):
        told = run(command[0], out, *command[1:])
        assert told.exit_code == 0
        assert row["reason"] in told.output
        assert (
            "in two classes or splits"
            not in run(command[0], tmp_path / "plain", *command[1:]).output
        )
    packed = run("pack", out, "--size", 16, "--out", tmp_path / "p", "--workers", 1)
    assert packed.exit_code == 0
    assert row["reason"] in packed.stderr


def test_copies_in_one_class_and_split_are_no_duplicates(
    tree: Path, tmp_path: Path, run: Run
) -> None:
    (tree / "train/real/x.png").write_bytes((tree / "train/real/0.png").read_bytes())
    done = run(*build_command(tree, tmp_path / "x"))
    assert (done.exit_code, done.stderr) == (0, "")


def test_shards_merge_to_the_duplicates_of_the_whole(tree: Path, tmp_path: Path, run: Run) -> None:
    for number in range(300):  # more than one unit of work
        write_image(tree / f"train/real/more-{number:03}.png", number, size=(9, 8 + number // 80))
    (tree / "test/real/x.png").write_bytes((tree / "train/fake/0.png").read_bytes())
    (tree / "test/real/y.png").write_bytes((tree / "train/real/more-000.png").read_bytes())
    (tree / "train/fake/z.png").write_bytes((tree / "train/fake/0.png").read_bytes())
    how: dict[str, Any] = {"real": ("real",), "fake": ("fake",)}
    whole = build_corpus("folder", tree, tmp_path / "whole", **how)
    shards = [
        build_corpus("folder", tree, tmp_path / f"{i}", shard=(i, 2), **how) for i in range(2)
    ]
    done = run("merge", *shards, "--out", tmp_path / "merged")
    assert done.exit_code == 3
    assert run("merge", *shards, "--out", tmp_path / "m", "--accept-duplicates").exit_code == 0
    expected = rows(whole / "failures.jsonl")
    assert len(expected) == 2
    for name in ("merged", "m"):
        assert rows(tmp_path / name / "failures.jsonl") == expected
        assert about(tmp_path / name) == about(whole)


def test_a_video_in_two_classes_is_one_line_whatever_its_frames(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "in"
    write_clip(root / "real/a.mp4")
    write_clip(root / "fake/b.mp4", first=9)
    (root / "fake/c.mp4").write_bytes((root / "real/a.mp4").read_bytes())
    for name in ("real/still.png", "fake/still.png"):  # a frame that both classes have
        Image.fromarray(face(40)).save(root / name, compress_level=1 + 5 * (name[0] == "f"))
    more = ("--crop", "none", "--frames", 4, "--split-ratio", "1/0/0")
    done = run(*build_command(root, tmp_path / "x", *more))
    assert done.exit_code == 3
    found = rows(tmp_path / "x/failures.jsonl")
    assert [(row["path"], row["frame"], row["reason"]) for row in found] == [
        ("real/a.mp4", None, "the same file as fake/c.mp4, in the classes fake and real"),
        ("real/still.png", None, "the same pixels as fake/still.png, in the classes fake and real"),
    ]


def test_corpora_that_share_a_file_are_told_when_they_meet(tmp_path: Path, run: Run) -> None:
    """Two datasets, each without duplicates; one file is in train of one and val of the other."""
    paths = []
    for i, (name, ratio) in enumerate((("one", "1/0/0"), ("two", "0/1/0"))):
        for number in range(4):
            write_image(tmp_path / name / f"real/{name}{number}.png", 20 * i + number)
            write_image(tmp_path / name / f"fake/{name}{number}.png", 20 * i + 10 + number)
        if name == "two":
            shared = (tmp_path / "one/real/one2.png").read_bytes()
            (tmp_path / "two/real/copy.png").write_bytes(shared)
        how: dict[str, Any] = {"real": ("real",), "fake": ("fake",), "split_ratio": ratio}
        path = build_corpus("folder", tmp_path / name, tmp_path / f"{name}.lmdb", **how)
        assert rows(path / "failures.jsonl") == []
        paths.append(path)
    reason = "the same file as real/one2.png, in the splits train and val"
    done = run("merge", *paths, "--out", tmp_path / "m")
    assert (done.exit_code, reason in done.stderr) == (3, True)
    told = run("verify", *paths)
    assert (told.exit_code, reason in told.stderr) == (0, True)
    quick = ("--device", "cpu", "--threads", 1, "--max-iterations", 1, "--batch-size", 4)
    data = [word for path in paths for word in ("--data", path)]
    trained = run("train", *data, "--network", "meso4", *quick, "--out", tmp_path / "run")
    assert trained.exit_code == 0
    assert f"such as real/copy.png: {reason}" in trained.stderr
    merge([str(path) for path in paths], tmp_path / "m2")
    assert rows(tmp_path / "m2/failures.jsonl")[0]["reason"] == reason


def test_the_frame_of_the_other_video_is_named() -> None:
    first = sample(0, "a", "train", 1 << 192, 5 << 192)._replace(frame=7)
    second = sample(1, "b", "train", 2 << 192, 5 << 192)._replace(frame=9)
    (found,) = failures_of([first, second])
    assert "0.png frame 7" in found.reason
