"""`hffkit subset`: a share of each class in each split, with everything else as it was."""

import gc
import json
import math
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from makers.command_server import CommandServer
from makers.programs import dying_at, in_a_process
from makers.trees import (
    Stored,
    about,
    all_files,
    build_corpus,
    change_records,
    records,
    stored,
    write_image,
)

from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.subset import SubsetRequest, quota, smallest, subset
from hffkit.errors import ArgumentError
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]

CLASSES: dict[str, Any] = {"fake": ("gan", "swap"), "real": ("photo",)}
N_IMAGES = {  # of each split and class; swap has no val
    ("train", "gan"): 10, ("train", "swap"): 7, ("train", "photo"): 13,
    ("val", "gan"): 4, ("val", "photo"): 5,
    ("test", "gan"): 3, ("test", "swap"): 4, ("test", "photo"): 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus in which some images are frames of one video: of one group."""
    folder, number = tmp_path_factory.mktemp("native"), 0
    for (split, name), n in N_IMAGES.items():
        for place in range(n):
            number += 1
            video = "video/" if place < 2 else ""
            write_image(folder / f"in/{split}/{name}/{video}{number}.png", number)
    return str(build_corpus("folder", folder / "in", folder / "x.lmdb", **CLASSES))


@pytest.fixture(scope="module")
def kinds(native: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same native, packed with binary labels and shuffled, and cut to a folder of corpora."""
    folder = tmp_path_factory.mktemp("kinds")

    def packed(name: str, **arguments: Any) -> str:
        pack([native], folder / name, PackRequest(size=32, **arguments), n_workers=1)
        return str(folder / name)

    return {
        "native": native,
        "binary": packed("binary", labels="binary", shuffle=True),
        "sharded": packed("sharded", shard_size=11),
    }


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six hundred images: more than one unit."""
    folder = tmp_path_factory.mktemp("bulk")
    for number in range(600):
        name = ("gan", "photo")[number % 2]
        write_image(folder / f"in/train/{name}/{number:03}.png", number, size=(8, 8))
    return str(build_corpus("folder", folder / "in", folder / "x", fake=("gan",), real=("photo",)))


def _counts(stored: Stored) -> Counter[tuple[str, str]]:
    return Counter((row["split"], row["cls"]) for row, _ in stored.values())


# what is kept -----------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.fractions(0, 1, max_denominator=10_000))
def test_a_quota_is_the_share_rounded_up_whatever_binary_fractions_make_of_it(
    n: int, share: Fraction
) -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point; a fraction of integers is exact.
    assert quota(n, float(share)) == math.ceil(n * share)


@pytest.mark.parametrize("kind", ["native", "binary", "sharded"])
@pytest.mark.parametrize("share", ["0.001", "0.3", "0.5", "0.7"])
def test_each_class_keeps_its_share_of_each_split_rounded_up(
    kinds: dict[str, str], kind: str, share: str, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "x"
    result = run("subset", kinds[kind], "--share", share, "--out", out)
    assert result.exit_code == 0, result.output
    expected = {place: math.ceil(n * Fraction(share)) for place, n in N_IMAGES.items()}
    assert _counts(stored(out)) == expected
    assert about(out)["counts"] == {
        name: {split: n for (split, cls), n in expected.items() if cls == name}
        for name in ("gan", "swap", "photo")
    }
    assert run("verify", out, "--workers", 1).output == "all records match the manifest\n"


@pytest.mark.parametrize("kind", ["native", "binary", "sharded"])
def test_what_is_kept_is_as_it_was_and_in_the_same_order(
    kinds: dict[str, str], kind: str, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    subset([kinds[kind]], out, SubsetRequest(0.5))
    source, kept = stored(kinds[kind]), stored(out)
    assert list(kept.items()) == [item for item in source.items() if item[0] in kept]
    assert 0 < len(kept) < len(source)
    assert [int(key[:8]) for key, _ in records(out)] == list(range(len(kept)))
    one = Path(kinds[kind]) if kind != "sharded" else Path(kinds[kind], "shard-00000")
    for name in ("classes", "layout", "size", "labels", "versions"):
        assert about(out)[name] == about(one)[name]


def test_the_whole_share_is_the_corpus_itself(native: str, tmp_path: Path) -> None:
    made = subset([native], tmp_path / "x", SubsetRequest(1))
    assert list(stored(tmp_path / "x").items()) == list(stored(native).items())
    for name in ("content_sha256", "pixels_sha256", "counts", "n_samples"):
        assert getattr(made, name) == about(Path(native))[name]


def test_several_corpora_are_one(kinds: dict[str, str], tmp_path: Path, run: Run) -> None:
    shards = sorted(map(str, Path(kinds["sharded"]).iterdir()))
    assert len(shards) == 5
    assert run("subset", *shards, "--share", 0.4, "--out", tmp_path / "x").exit_code == 0
    subset([kinds["sharded"]], tmp_path / "folder", SubsetRequest(0.4))
    subset([f"{kinds['sharded']}/shard-*"], tmp_path / "glob", SubsetRequest(0.4))
    expected = {place: math.ceil(n * Fraction(2, 5)) for place, n in N_IMAGES.items()}
    assert _counts(stored(tmp_path / "x")) == expected  # of all five, not of each
    assert all_files(tmp_path / "x") == all_files(tmp_path / "folder")
    assert all_files(tmp_path / "x") == all_files(tmp_path / "glob")


# draws ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes_in_any_process(
    native: str, tmp_path: Path, run: Run
) -> None:
    command = ["subset", native, "--share", "0.5", "--seed", "3", "--out"]
    assert run(*command, tmp_path / "here").exit_code == 0
    assert in_a_process(*command, tmp_path / "there").returncode == 0
    assert all_files(tmp_path / "here") == all_files(tmp_path / "there")


def test_another_seed_draws_other_images(native: str, tmp_path: Path) -> None:
    for seed in range(3):
        subset([native], tmp_path / str(seed), SubsetRequest(0.5, seed))
    assert len({frozenset(stored(tmp_path / str(seed))) for seed in range(3)}) == 3


def test_pixels_order_labels_and_shards_do_not_change_the_draw(
    kinds: dict[str, str], tmp_path: Path
) -> None:
    for kind, name in kinds.items():
        subset([name], tmp_path / kind, SubsetRequest(0.5))
    first, second, third = (frozenset(stored(tmp_path / kind)) for kind in kinds)
    assert first == second == third


def test_a_larger_share_holds_the_smaller_one(native: str, tmp_path: Path) -> None:
    shares = (0.1, 0.4, 0.8)
    for share in shares:
        subset([native], tmp_path / str(share), SubsetRequest(share))
    small, middle, large = (frozenset(stored(tmp_path / str(share))) for share in shares)
    assert small < middle < large


def test_images_are_drawn_from_the_whole_corpus(bulk: str, tmp_path: Path) -> None:
    subset([bulk], tmp_path / "x", SubsetRequest(0.5))
    kept = stored(tmp_path / "x")
    places = [place for place, key in enumerate(stored(bulk)) if key in kept]
    assert len(places) == 300
    # Of each class's 300 keys 150 are drawn; those of its first half are hypergeometric:
    # 75 with a deviation of sqrt(150 / 4 * 150 / 299) = 4.3, for p = 1e-5 within 19 of it.
    for first in (0, 300):
        n = sum(first <= place < first + 150 for place in places)
        assert abs(n - 75) < 19


# how little is left -----------------------------------------------------------------------------


def test_the_smallest_class_of_each_split_is_told_before_anything_is_written(
    kinds: dict[str, str],
) -> None:
    corpora = [Corpus(path) for path in sorted(Path(kinds["sharded"]).iterdir())]
    found = smallest(corpora, 0.5)
    assert found == {"train": ("swap", 4), "val": ("gan", 2), "test": ("photo", 1)}


# interruption -----------------------------------------------------------------------------------


# Commits are of 64 MiB, which small images never come to: here each unit is one.
OFTEN = "from hffkit.storage import writer\nwriter._COMMIT_BYTES = 1\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "n_left"),
    [(("journal.jsonl", 1), 2), (("journal.jsonl", 2), 1), (("corpus.json", 1), 0)],
    ids=["before-the-first-commit", "after-the-first-commit", "after-the-last-commit"],
)
def test_a_subset_that_was_killed_goes_on_and_gives_the_same_corpus(
    bulk: str,
    tmp_path: Path,
    run: Run,
    commands: CommandServer,
    death: tuple[str, int],
    n_left: int,
) -> None:
    out, whole = tmp_path / "x", tmp_path / "whole"
    command = ["subset", bulk, "--share", "0.9", "--out", str(out)]  # 540: a unit and a bit
    assert commands.run(command, dying_at(*death) + OFTEN)[0] == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [tmp_path / "x.partial"]
    other = run("subset", bulk, "--share", 0.8, "--out", out).output
    assert "begun by another command: options.share was 0.9, is now 0.8" in other
    again = commands.run(command, dying_at("journal.jsonl", n_left + 1) + OFTEN)
    assert again[0] == 0  # it had no more to commit
    assert list(tmp_path.iterdir()) == [out]
    assert about(out) == subset([bulk], whole, SubsetRequest(0.9)).to_json()
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert records(out) == records(whole)


# the command ------------------------------------------------------------------------------------


def test_the_command_tells_what_it_kept(native: str, tmp_path: Path, run: Run) -> None:
    shown = run("subset", native, "--share", 0.5, "--out", tmp_path / "x").output
    assert "x: 26 samples, native pixels" in shown
    assert shown.splitlines()[0].split() == ["class", "is", "train", "val", "test"]
    told = run("subset", native, "--share", 0.5, "--out", tmp_path / "y", "--json")
    made = json.loads(told.output)
    assert made == about(tmp_path / "y")
    assert made["verb"] == "subset"
    assert {name: made["options"][name] for name in ("share", "seed")} == {"share": 0.5, "seed": 0}
    assert made["options"]["content_sha256"] == [about(Path(native))["content_sha256"]]


def _refused(run: Run, arguments: Sequence[object], out: Path) -> tuple[int, str]:
    """Return exit code and last line of an error that comes before anything is written."""
    before = all_files(out.parent)
    result = run("subset", *map(str, arguments), "--out", out)
    told = (result.exit_code, result.output.splitlines()[-1].removeprefix("Error: "))
    assert all_files(out.parent) == before
    del result
    gc.collect()  # the traceback holds the databases, which lmdb opens only once in a process
    return told


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", "nan", "inf"])
def test_a_share_that_is_none_is_refused(native: str, tmp_path: Path, run: Run, share: str) -> None:
    told = f"--share must be above 0 and at most 1, got {share}."
    assert _refused(run, [native, "--share", share], tmp_path / "x") == (2, told)
    with pytest.raises(ArgumentError, match=r"`share` must be above 0 and at most 1"):
        subset([native], tmp_path / "x", SubsetRequest(float(share)))


def test_other_mistakes_are_one_line(kinds: dict[str, str], tmp_path: Path, run: Run) -> None:
    native, out = kinds["native"], tmp_path / "x"
    assert _refused(run, [native], out) == (2, "Missing option '--share' or '--drop'.")
    assert _refused(run, ["--share", 1], out) == (2, "Missing argument 'CORPUS...'.")
    code, told = _refused(run, [native, "--share", "half"], out)
    assert (code, "'half' is not a valid float" in told) == (2, True)
    code, told = _refused(run, [native, "--share", 1, "--seed", -1], out)
    assert (code, "-1 is not in the range" in told) == (2, True)
    code, told = _refused(run, [native, kinds["binary"], "--share", 1], out)
    assert (code, "cannot be taken as one: layout is" in told) == (1, True)
    code, told = _refused(run, [tmp_path, "--share", 1], out)
    assert (code, "no corpus: the folder holds no" in told) == (1, True)
    out.mkdir()
    (out / "precious").write_text("kept")
    told = f"{out} already exists. Delete it or choose another --out."
    assert _refused(run, [native, "--share", 1], out) == (1, told)


def test_a_record_that_is_missing_is_named(tmp_path: Path, run: Run) -> None:
    for number in range(4):
        write_image(tmp_path / f"in/train/gan/{number}.png", number)
    corpus = build_corpus("folder", tmp_path / "in", tmp_path / "raw", fake=("gan",))
    change_records(corpus, lambda transaction: transaction.delete(b"00000001_train/gan/1.png"))
    result = run("subset", corpus, "--share", 1, "--out", tmp_path / "x")
    assert result.exit_code == 1
    assert result.output == f"Error: {corpus}: no record '00000001_train/gan/1.png'.\n"
    assert not (tmp_path / "x").exists()


# a list of samples to drop ----------------------------------------------------------------------


DROPPED = ("train/gan/video/1.png", "test/photo/video/47.png", "train/photo/20.png")


def _quoted(key: str) -> str:
    return f'"{key}"'


LISTS = {
    "text": "\n".join(DROPPED),
    "spreadsheet": "\ufeff" + "\r\n".join(DROPPED) + "\r\n",
    "quoted": "\r\n".join(map(_quoted, DROPPED)),
    "csv": "\ufeffsplit;Key;note\r\n" + "".join(f"x;{key};\r\n" for key in DROPPED),
    "audit": json.dumps(
        {"findings": [{"drop": DROPPED[:2]}, {"drop": DROPPED[1:]}, {"drop": []}]}, indent=1
    ),
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["native", "sharded"])
def test_listed_samples_are_left_out_and_all_others_stay(
    kinds: dict[str, str], name: str, kind: str, tmp_path: Path, run: Run
) -> None:
    path, out = tmp_path / "drop", tmp_path / "x"
    path.write_bytes(LISTS[kind].encode())
    result = run("subset", kinds[name], "--drop", path, "--out", out)
    assert result.exit_code == 0, result.output
    source = stored(kinds[name])
    assert list(stored(out).items()) == [item for item in source.items() if item[0] not in DROPPED]
    assert len(stored(out)) == len(source) - len(DROPPED)
    listed = "\0".join(sorted(DROPPED)).encode()
    assert about(out)["options"]["dropped"] == {"n": 3, "sha256": sha256(listed).hexdigest()}
    assert run("verify", out, "--workers", 1).exit_code == 0


def test_a_share_is_drawn_of_what_is_not_dropped(native: str, tmp_path: Path) -> None:
    path = tmp_path / "drop.txt"
    path.write_text("\n".join(DROPPED))
    subset([native], tmp_path / "x", SubsetRequest(0.5, drop=path))
    kept = stored(tmp_path / "x")
    assert not set(kept) & set(DROPPED)
    left = Counter(N_IMAGES) - Counter(_place(key) for key in DROPPED)
    assert _counts(kept) == {place: math.ceil(n / 2) for place, n in left.items()}


def _place(key: str) -> tuple[str, str]:
    split, name, *_ = key.split("/")
    return split, name


def test_lists_of_other_samples_are_refused_before_anything_is_written(
    native: str, tmp_path: Path, run: Run
) -> None:
    path, out = tmp_path / "drop.txt", tmp_path / "x"
    path.write_text("train/gan/3.png\ntrain/gan/2.jpg\nTRAIN/gan/4.png\n")
    code, told = _refused(run, [native, "--drop", path], out)
    assert code == 1
    assert f"{path}: 2 of 3 keys are no samples of {native}: 'TRAIN/gan/4.png'," in told
    path.write_text("x" * 100_000)
    assert len(_refused(run, [native, "--drop", path], out)[1]) < 1000
    path.write_text("x.png\n")
    assert (
        f"{path}: 1 of 1 key is no sample of {native}: 'x.png'."
        in _refused(run, [native, "--drop", path], out)[1]
    )
    path.write_text("\n".join(stored(native)))
    code, told = _refused(run, [native, "--drop", path], out)
    assert (code, "lists all 48 samples" in told) == (1, True)
    for text, reason in {
        "": "lists no key", "\ufeffkey\r\n\r\n": "lists no key",
        '{"findings": []}': "list no sample to drop", '{"a": 1}': "no report of `hffkit audit",
        "{": "no report of `hffkit audit",
    }.items():  # fmt: skip
        path.write_text(text, "utf-8")
        code, told = _refused(run, [native, "--drop", path], out)
        assert (code, reason in told) == (1, True), told
    path.write_bytes(b"\xff\xfek\0e\0y\0")
    code, told = _refused(run, [native, "--drop", path], out)
    assert (code, "must be UTF-8" in told) == (1, True)
    code, told = _refused(run, [native, "--drop", tmp_path / "absent"], out)
    assert (code, "absent: cannot be read" in told) == (1, True)
