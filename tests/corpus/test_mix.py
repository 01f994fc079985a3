import gc
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
    rows,
    stored,
    write_image,
)

from hffkit.corpus.mix import PROPORTIONS, MixRequest, Pool, mix, mixed_size, quotas_of
from hffkit.corpus.pack import PackRequest, pack
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import ArgumentError, UnknownNameError

Run = Callable[..., Result]

FAKE, REAL = ("fake-stargan128", "fake-dcgan128"), ("real-celeba-stargan128",)
N_IMAGES = {"train": (10, 7, 14), "val": (4, 0, 5), "test": (3, 4, 2)}  # of FAKE and REAL
SUFFIXES = ("", "@jp-mix", "@me-mix")
HFF = np.array([20_000] * 5 + [8_000] * 3)  # training and validation images of each class


def _link(folder: Path, images: Sequence[Path]) -> None:
    """Lay images out in `folder`, the first two in a folder of one video."""
    for number, image in enumerate(images):
        place = folder / ("video" if number < 2 else "") / image.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(image)


def _degraded(raw: str, folder: Path, op: str, **arguments: Any) -> str:
    out = folder / f"{op}-{len(list(folder.iterdir()))}.lmdb"
    degrade([raw], out, DegradeRequest((op,), **arguments), n_workers=1)
    return str(out)


def _packed(name: str, folder: Path, **arguments: Any) -> str:
    out = folder / f"{Path(name).stem}-packed-{len(list(folder.iterdir()))}.lmdb"
    pack([name], out, PackRequest(size=32, **arguments), n_workers=1)
    return str(out)


@pytest.fixture(scope="module")
def native(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The corpus of real faces in split folders, and its jp-mix and me-mix copies."""
    folder = tmp_path_factory.mktemp("native")
    for number, name in enumerate((*FAKE, *REAL)):
        images = iter(sorted((data / "data/images" / name).iterdir()))
        for split, counts in N_IMAGES.items():
            _link(folder / "in" / split / name, list(islice(images, counts[number])))
    raw = str(build_corpus("folder", folder / "in", folder / "raw.lmdb", fake=FAKE, real=REAL))
    return [raw, _degraded(raw, folder, "jp-mix"), _degraded(raw, folder, "me-mix")]


@pytest.fixture(scope="module")
def kinds(native: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The same native, packed with binary labels, and in folders of corpora cut differently."""
    folder = tmp_path_factory.mktemp("kinds")
    sizes = zip(native, (25, 30, 49), strict=True)
    return {
        "native": native,
        "binary": [_packed(name, folder, labels="binary") for name in native],
        "sharded": [_packed(name, folder, shard_size=size) for name, size in sizes],
    }


@pytest.fixture(scope="module")
def bulk(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six hundred faces at 128 px and two copies: more than one commit of the writer."""
    return _bulk(data, tmp_path_factory.mktemp("bulk"), 128)


@pytest.fixture(scope="module")
def many(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same at 8 px."""
    return _bulk(data, tmp_path_factory.mktemp("many"), 8)


def _bulk(data: Path, folder: Path, size: int) -> list[str]:
    for name in ("fake-dcgan128", "real-lfwcrop"):
        _link(folder / "in" / name, sorted((data / "data/images" / name).iterdir())[:300])
    how: dict[str, Any] = {"fake": ("fake-dcgan128",), "real": ("real-lfwcrop",), "size": size}
    raw = str(build_corpus("folder", folder / "in", folder / "raw", split_ratio="98/1/1", **how))
    return [raw, _degraded(raw, folder, "jp-mix"), _degraded(raw, folder, "me-mix")]


def _in_split(stored: Stored, *splits: str) -> Stored:
    return {key: found for key, found in stored.items() if found[0]["split"] in splits}


# sizes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hff() -> Pool:
    """The paper's 124,000 images in some order, with a shuffle for each of three sources."""
    rng = np.random.default_rng(7)
    classes = rng.permutation(np.repeat(np.arange(8), HFF))
    return Pool(classes, rng.integers(0, 2**64, (3, HFF.sum()), np.uint64))


@pytest.mark.parametrize(
    ("name", "share", "totals"),
    [
        ("small", 1 / 3, [41_333, 41_333, 41_334]),
        ("middle", 55 / 124, [55_000] * 3),
        ("large", 1.0, [124_000] * 3),
    ],
)
def test_each_source_gives_the_papers_number_and_of_each_class_its_share(
    hff: Pool, name: str, share: float, totals: list[int]
) -> None:
    counts = np.array([np.bincount(hff.classes[row]) for row in PROPORTIONS[name](hff)])
    assert sorted(counts.sum(axis=1)) == totals
    assert mixed_size(name, HFF.tolist(), 3) == sum(totals)
    assert (abs(counts - HFF * share) < 1).all()


def test_small_takes_each_of_the_124000_images_once(hff: Pool) -> None:
    assert (PROPORTIONS["small"](hff).sum(axis=0) == 1).all()


@pytest.mark.parametrize("name", ["small", "middle"])
def test_the_order_of_the_images_is_irrelevant_to_the_draw(hff: Pool, name: str) -> None:
    order = np.random.default_rng(8).permutation(len(hff.classes))
    again = PROPORTIONS[name](Pool(hff.classes[order], hff.ranks[:, order]))
    np.testing.assert_array_equal(again, PROPORTIONS[name](hff)[:, order])


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
    st.fractions(0, 1, max_denominator=1000) | st.just(Fraction(55, 124)),
)
def test_quotas_sum_to_the_share_of_the_whole_and_are_each_within_one_of_theirs(
    sizes: list[int], share: Fraction
) -> None:
    quotas = quotas_of(sizes, share)
    assert abs(sum(quotas) - sum(sizes) * share) <= Fraction(1, 2)
    for size, quota in zip(sizes, quotas, strict=True):
        assert abs(quota - size * share) < 1
        assert 0 <= quota <= size


# corpora ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["native", "binary", "sharded"])
@pytest.mark.parametrize(
    ("options", "counts"),  # how many from each source, sorted, of each class
    [
        ("--proportion small", ([3, 3, 4], [2, 2, 3], [4, 5, 5])),
        ("--proportion middle", ([5] * 3, [3] * 3, [6] * 3)),
        ("--proportion middle --paper-pool", ([6] * 3, [3] * 3, [9] * 3)),
        ("--paper-pool", ([14] * 3, [7] * 3, [19] * 3)),
    ],
)
def test_training_is_mixed_and_the_rest_is_the_raw_corpus(
    kinds: dict[str, list[str]],
    kind: str,
    options: str,
    counts: tuple[list[int], ...],
    tmp_path: Path,
    run: Run,
) -> None:
    out = tmp_path / "x"
    result = run("mix", *kinds[kind], *options.split(), "--out", out)
    assert result.exit_code == 0, result.output
    mixed, raw, *copies = (stored(name) for name in (str(out), *kinds[kind]))
    pool = _in_split(raw, "train", *["val"] * ("--paper-pool" in options))
    rest = [found for found in raw.items() if found[0] not in pool]
    assert list(_in_split(mixed, "val", "test").items()) == rest
    taken = []
    for suffix, source in zip(SUFFIXES, (raw, *copies), strict=True):
        keys = [key for key in pool if key + suffix in mixed]
        for key in keys:
            row, value = source[key]
            assert mixed[key + suffix] == (row | {"key": key + suffix, "split": "train"}, value)
        taken.append(keys)
    assert sum(map(len, taken)) + len(rest) == len(mixed)
    for name, expected in zip((*FAKE, *REAL), counts, strict=True):
        assert sorted(sum(f"/{name}/" in key for key in keys) for keys in taken) == expected
    if "small" in options:
        assert sorted(key for keys in taken for key in keys) == sorted(pool)
    assert [int(key[:8]) for key, _ in records(out)] == list(range(len(mixed)))
    assert about(out)["labels"] == ("binary" if kind == "binary" else "multi")
    assert run("verify", out, "--workers", 1).output == "all records match the manifest\n"


def test_a_copy_of_a_copy_tells_both_operations(native: list[str], tmp_path: Path) -> None:
    both = _degraded(native[1], tmp_path, "gb:3")
    mix([native[0], both], tmp_path / "x", MixRequest())
    found = _in_split(stored(tmp_path / "x"), "train")
    assert Counter(key.partition("@")[2] for key in found) == {"": 31, "jp-mix@gb:3": 31}


# draws ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes_in_any_process(
    native: list[str], tmp_path: Path, run: Run
) -> None:
    command = ["mix", *native, "--proportion", "middle", "--out"]
    assert run(*command, tmp_path / "here").exit_code == 0
    assert in_a_process(*command, tmp_path / "there").returncode == 0
    assert all_files(tmp_path / "here") == all_files(tmp_path / "there")


@pytest.mark.parametrize(("proportion", "n_draws"), [("small", 3), ("middle", 3), ("large", 1)])
def test_another_seed_draws_other_images_where_there_is_a_draw(
    native: list[str], tmp_path: Path, proportion: str, n_draws: int
) -> None:
    for seed in range(3):
        mix(native, tmp_path / str(seed), MixRequest(proportion, seed=seed))
    assert len({frozenset(stored(tmp_path / str(seed))) for seed in range(3)}) == n_draws


@pytest.mark.parametrize("proportion", ["small", "middle"])
def test_pixels_labels_and_shards_do_not_change_the_draw(
    kinds: dict[str, list[str]], tmp_path: Path, proportion: str
) -> None:
    for kind, names in kinds.items():
        mix(names, tmp_path / kind, MixRequest(proportion))
    first, second, third = (list(stored(tmp_path / kind)) for kind in kinds)
    assert first == second == third


def test_large_holds_the_same_samples_whatever_the_order_of_the_copies(
    native: list[str], tmp_path: Path
) -> None:
    raw, jp, me = native
    mix([raw, jp, me], tmp_path / "a", MixRequest())
    mix([raw, me, jp], tmp_path / "b", MixRequest())
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


def _chi_square(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Return Pearson's statistic of independence of two columns of small numbers."""
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def test_small_deals_the_images_out_whatever_their_place(many: list[str], tmp_path: Path) -> None:
    mix(many, tmp_path / "x", MixRequest("small"))
    train = _in_split(stored(tmp_path / "x"), "train")
    dealt = np.array([SUFFIXES.index(key.partition(".jpg")[2]) for key in train])
    place = np.arange(588)
    # Critical values at p = 0.001 for 4, 4 and 18 degrees of freedom.
    assert _chi_square(dealt, place % 3) < 18.47
    assert _chi_square(dealt[:-1], dealt[1:]) < 18.47
    assert _chi_square(dealt, place * 10 // 588) < 42.31


def test_middle_draws_from_each_source_by_itself(many: list[str], tmp_path: Path) -> None:
    mix(many, tmp_path / "x", MixRequest("middle"))
    train = _in_split(stored(tmp_path / "x"), "train")
    drawn = [{key for key in stored(many[0]) if key + suffix in train} for suffix in SUFFIXES]
    assert [len(keys) for keys in drawn] == [261] * 3
    # Hypergeometric: 261 of 588 twice have 261 * 261 / 588 = 116 in common, give or take 6.
    for one, other in combinations(drawn, 2):
        assert abs(len(one & other) - 116) < 24


# interruption -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "n_left"),
    [(("journal.jsonl", 1), 2), (("journal.jsonl", 2), 1), (("corpus.json", 1), 0)],
    ids=["before-the-first-commit", "after-the-first-commit", "after-the-last-commit"],
)
def test_a_mix_that_was_killed_goes_on_and_gives_the_same_corpus(
    bulk: list[str],
    tmp_path: Path,
    run: Run,
    commands: CommandServer,
    death: tuple[str, int],
    n_left: int,
) -> None:
    out, whole = tmp_path / "x", tmp_path / "whole"
    command = ["mix", *bulk, "--out", str(out)]
    assert commands.run(command, dying_at(*death))[0] == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [tmp_path / "x.partial"]
    other = run(*command, "--seed", 1).output
    assert "begun by another command: options.seed was 0, is now 1" in other
    again = commands.run(command, dying_at("journal.jsonl", n_left + 1))
    assert again[0] == 0  # it had no more to commit
    assert list(tmp_path.iterdir()) == [out]
    assert about(out) == mix(bulk, whole, MixRequest()).to_json()
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert records(out) == records(whole)


# errors -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(kinds: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Corpora that do not all go together, and the key of a sample that raw-part lacks."""
    folder = tmp_path_factory.mktemp("made")
    raw, jp, _ = kinds["native"]
    part = f"{kinds['sharded'][0]}/shard-00000"
    return {
        "raw": raw,
        "jp": jp,
        "me-limit": _degraded(raw, folder, "me-mix", limit=20),
        "me-train": _degraded(raw, folder, "me-mix", splits=("train",)),
        "me-test": _degraded(raw, folder, "me-mix", splits=("test",)),
        "jp-test": _degraded(raw, folder, "jp-mix", splits=("test",)),
        "raw-packed": kinds["binary"][0],
        "jp-packed": kinds["binary"][1],
        "jp-shuffled": _packed(jp, folder, labels="binary", shuffle=True),
        "raw-part": part,
        "me-whole": f"{kinds['sharded'][2]}/shard-00000",
        "first": next(iter(_in_split(stored(raw), "train"))),
        "key": next(key for key in _in_split(stored(raw), "train") if key not in stored(part)),
    }


def _refused(run: Run, arguments: Sequence[str], out: Path) -> tuple[int, str]:
    """Return exit code and last line of an error that comes before anything is written."""
    before = all_files(out.parent)
    result = run("mix", *arguments, "--out", out)
    told = (result.exit_code, result.output.splitlines()[-1].removeprefix("Error: "))
    assert all_files(out.parent) == before
    del result
    gc.collect()  # the traceback holds the databases, which lmdb opens only once in a process
    return told


ALIKE = "{jp-packed} and {raw} cannot be taken as one: layout is 'packed' and 'native'."
PART = "{me-whole} has '{key}' after all images of {raw-part}. Name first the corpus that the "
MADE_FROM = (
    "{} was not made from {{jp}}, where '{{first}}' has the operations jp-mix. Name first the "
    "corpus that the others were made from."
)
CHOICE = "Invalid value for '--proportion': 'middl' is not one of 'small', 'middle', 'large'."


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        ("raw jp jp", 1, "{jp} and {jp} are copies by the same operations: jp-mix."),
        ("raw jp raw", 1, "{raw} and {raw} are copies by the same operations: none."),
        ("jp raw", 1, MADE_FROM.format("{raw}")),
        ("raw jp-packed", 1, ALIKE),
        ("raw-part me-whole", 1, f"{PART}others were made from."),
        ("me-test jp-test", 1, "{me-test}: no sample in train."),
        ("me-test jp-test --paper-pool", 1, "{me-test}: no sample in train or val."),
        ("raw", 2, "Missing argument 'DEGRADED...'."),
        ("raw jp --proportion middl", 2, CHOICE),
    ],
)
def test_what_makes_no_mix_is_refused(
    made: dict[str, str], tmp_path: Path, run: Run, arguments: str, exit_code: int, told: str
) -> None:
    words = [made.get(word, word) for word in arguments.split()]
    assert _refused(run, words, tmp_path / "x") == (exit_code, told.format_map(made))


@pytest.mark.parametrize(
    ("raw", "copy", "splits"),
    [
        ("raw", "me-limit", ["train"]),
        ("raw", "me-test", ["train"]),
        ("raw", "me-train", ["train", "val"]),
        ("raw-packed", "jp-shuffled", ["train"]),
    ],
)
def test_a_copy_that_lacks_images_or_has_another_order_is_refused(
    made: dict[str, str], tmp_path: Path, run: Run, raw: str, copy: str, splits: list[str]
) -> None:
    there, here = (list(_in_split(stored(made[name]), *splits)) for name in (raw, copy))
    n_same = next(n for n, key in enumerate(there) if here[n : n + 1] != [key])
    found = repr(here[n_same]) if n_same < len(here) else "nothing more"
    more = ["--paper-pool"] * ("val" in splits)
    assert _refused(run, [made[raw], made[copy], *more], tmp_path / "x") == (
        1,
        f"{made[copy]} does not hold the images of {made[raw]}: at {there[n_same]!r} it has "
        f"{found}. Degrade the whole corpus, and see the failures.jsonl of both.",
    )


def test_a_image_that_a_copy_could_not_read_is_left_out_of_all(tmp_path: Path, run: Run) -> None:
    for number in range(4):
        write_image(tmp_path / f"in/train/gan/{number}.png", number)
    raw = build_corpus("folder", tmp_path / "in", tmp_path / "raw", fake=("gan",))
    change_records(raw, lambda transaction: transaction.put(b"00000001_train/gan/1.png", b"x"))
    copy = _degraded(str(raw), tmp_path, "jp:60")
    result = run("mix", raw, copy, "--out", tmp_path / "x")
    assert result.exit_code == 3, result.output
    keys = [key.decode()[9:] for key, _ in records(tmp_path / "x")]
    left = [f"train/gan/{number}.png{copied}" for number in (0, 2, 3) for copied in ("", "@jp:60")]
    assert keys == left
    (failure,) = rows(tmp_path / "x/failures.jsonl")
    assert (failure["path"], failure["reason"]) == (
        "train/gan/1.png", f"unreadable when {copy} was made"
    )  # fmt: skip


def test_other_images_under_the_same_keys_are_refused(tmp_path: Path, run: Run) -> None:
    raws = []
    for number in range(2):
        folder = tmp_path / str(number)
        write_image(folder / "train/gan/0.png", number)
        raws.append(str(build_corpus("folder", folder, folder / "raw", fake=("gan",))))
    copy = _degraded(raws[1], tmp_path, "jp:60")
    exit_code, told = _refused(run, [raws[0], copy], tmp_path / "x")
    assert exit_code == 1
    assert told.startswith(f"{copy} does not hold the images of {raws[0]}: at ")


def test_mistakes_in_python_are_told_as_well(native: list[str], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"at least one degraded copy of it\.$"):
        mix(native[:1], tmp_path / "x", MixRequest())
    with pytest.raises(UnknownNameError) as error:
        mix(native, tmp_path / "x", MixRequest("middl"))
    assert str(error.value) == "No proportion named 'middl'. Did you mean 'middle'?"


def test_an_output_that_exists_is_left_alone(native: list[str], tmp_path: Path, run: Run) -> None:
    out = tmp_path / "x"
    out.mkdir()
    (out / "precious").write_text("kept")
    told = f"{out} already exists. Delete it or choose another --out."
    assert _refused(run, native, out) == (1, told)


def test_a_key_of_511_bytes_is_mixed_and_a_longer_one_is_refused(tmp_path: Path, run: Run) -> None:
    key = f"train/gan/{'é' * 120}/{'é' * 120}x.png"
    n_bytes = len(f"00000000_{key}@jp:60".encode())
    key = key.replace("x.png", "x" * (512 - n_bytes) + ".png")
    write_image(tmp_path / "in" / key)
    raw = str(build_corpus("folder", tmp_path / "in", tmp_path / "raw", fake=("gan",)))
    fits, longer = (_degraded(raw, tmp_path, op) for op in ("jp:60", "jp:100"))
    mix([raw, fits], tmp_path / "x", MixRequest())
    assert [len(stored) for stored, _ in records(tmp_path / "x")] == [505, 511]
    result = run("mix", raw, longer, "--out", tmp_path / "y")
    told = f"Error: '{key}@jp:100': longer than the 511 bytes that LMDB gives a key.\n"
    assert (result.exit_code, result.output) == (1, told)
    assert not (tmp_path / "y").exists()
