"""Corpora that were built apart and are taken as one: their classes, datasets and files."""

import json
import re
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from makers.trees import (
    about,
    build_corpus,
    change_manifest,
    encoded_data,
    raw_pixels,
    records,
    rows,
    write_image,
)

from hffkit.corpus.merge import merge
from hffkit.corpus.mix import MixRequest, mix
from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.subset import SubsetRequest, subset
from hffkit.corpus.verify import verify
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.errors import ManifestError, StorageError
from hffkit.manifest.classes import ClassTable, FaceClass, joined, numbered
from hffkit.storage.corpora import joint_classes, open_corpora

QUICK = (
    "--network", "meso4", "--set", "size=32", "--batch-size", 4, "--max-iterations", 1,
    "--device", "cpu", "--threads", 1,
)  # fmt: skip
Run = Callable[..., Result]


def class_of(
    folder: Path, name: str, first: int, n: int = 3, *, kind: str = "real", **how: Any
) -> Path:
    """Build the corpus folder/NAME.lmdb of one class, of pictures from number `first`."""
    for number in range(n):
        write_image(folder / f"{name}-in" / name / f"{number}.png", first + number)
    how = {"split_ratio": "1/0/0", kind: (name,), **how}
    return build_corpus("folder", folder / f"{name}-in", folder / f"{name}.lmdb", **how)


def labels_of(path: Path) -> dict[str, int]:
    """Return the labels of native records by key."""
    return {key.decode()[9:]: encoded_data(value)[1] for key, value in records(path)}


# classes ----------------------------------------------------------------------------------------

APART = {
    "a real and a fake class": (("camera", "real"), ("gan", "fake")),
    "two fakes and a real class": (("swap", "fake"), ("camera", "real"), ("gan", "fake")),
    "only real classes": (("phone", "real"), ("camera", "real")),
}
NEW_IDS = {
    "a real and a fake class": {"gan": 0, "camera": 1},
    "two fakes and a real class": {"gan": 0, "swap": 1, "camera": 2},
    "only real classes": {"camera": 0, "phone": 1},
}


@pytest.mark.parametrize("case", APART)
def test_classes_built_apart_are_numbered_anew_whatever_the_order(
    case: str, tmp_path: Path
) -> None:
    paths = [
        class_of(tmp_path, name, 10 * i, kind=kind) for i, (name, kind) in enumerate(APART[case])
    ]
    assert [row["id"] for path in paths for row in about(path)["classes"]] == [0] * len(paths)
    pixels = {key: encoded_data(value)[0] for path in paths for key, value in records(path)}
    for number, order in enumerate(permutations(paths)):
        out = tmp_path / f"m{number}.lmdb"
        merge([str(path) for path in order], out)
        assert {row["name"]: row["id"] for row in about(out)["classes"]} == NEW_IDS[case]
        assert labels_of(out) == {
            f"{name}/{i}.png": NEW_IDS[case][name] for name, _ in APART[case] for i in range(3)
        }
        found = {key[9:]: encoded_data(value)[0] for key, value in records(out)}
        assert found == {key[9:]: data for key, data in pixels.items()}
        assert list(verify([str(out)], n_workers=1)) == []


def test_classes_joined_step_by_step_have_the_ids_of_those_joined_at_once(tmp_path: Path) -> None:
    names = [("swap", "fake"), ("camera", "real"), ("gan", "fake"), ("art", "fake")]
    paths = [str(class_of(tmp_path, name, 9 * i, kind=k)) for i, (name, k) in enumerate(names)]
    merge(paths, tmp_path / "once")
    merge(paths[:2], tmp_path / "two")
    merge([str(tmp_path / "two"), paths[2]], tmp_path / "three")
    merge([str(tmp_path / "three"), paths[3]], tmp_path / "four")
    assert records(tmp_path / "four") == records(tmp_path / "once")
    assert about(tmp_path / "four")["content_sha256"] == about(tmp_path / "once")["content_sha256"]


def test_classes_whose_ids_agree_keep_them() -> None:
    rows_of = [FaceClass(7, "Face2Face", is_fake=True), FaceClass(2, "YouTube", is_fake=False)]
    tables = [ClassTable((row,)) for row in rows_of]
    assert list(joined(tables)) == list(joined(reversed(tables))) == rows_of[::-1]
    one = numbered(["b", "a"], ["c"])
    assert joined([one, one.only(["a"]), one]) == one


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ([numbered(["b", "a"], []), numbered([], ["c"])], (["a", "b"], ["c"])),
        ([numbered(["a"], ["r"]), numbered([], ["r"])], (["a"], ["r"])),  # one name, two ids
        ([numbered([], ["2", "10"]), numbered(["x"], [])], (["x"], ["10", "2"])),
    ],
)
def test_ids_that_conflict_are_replaced_by_fakes_first_in_alphabetical_order(
    tables: Sequence[ClassTable], expected: tuple[list[str], list[str]]
) -> None:
    for order in permutations(tables):
        assert joined(order) == numbered(*expected)


@pytest.fixture
def apart(tmp_path: Path) -> list[str]:
    """A corpus of real and one of fake faces, train and val in both."""
    how = {"split_ratio": "50/50/0"}
    return [
        str(class_of(tmp_path, "camera", 0, 8, **how)),
        str(class_of(tmp_path, "gan", 20, 8, kind="fake", **how)),
    ]


def test_every_command_on_corpora_gives_the_new_labels(apart: list[str], tmp_path: Path) -> None:
    def expected(labels: dict[str, int]) -> None:
        assert labels == {
            f"{c}/{n}.png": "gc".index(c[0]) for c in ("gan", "camera") for n in range(8)
        }

    pack(apart, tmp_path / "packed", PackRequest(size=8), n_workers=1)
    expected({key.decode()[9:]: raw_pixels(v, 8)[1] for key, v in records(tmp_path / "packed")})
    subset(apart, tmp_path / "all", SubsetRequest(share=1))
    expected(labels_of(tmp_path / "all"))
    request = DegradeRequest(ops=("gb3",))
    degrade(apart, tmp_path / "blurred", request, n_workers=1)
    expected(labels_of(tmp_path / "blurred"))
    folder = tmp_path / "both"  # a folder of corpora is taken as one
    folder.mkdir()
    for path in apart:
        Path(path).rename(folder / Path(path).name)
    mix([str(folder), str(tmp_path / "blurred")], tmp_path / "mixed", MixRequest())
    expected({key.partition("@")[0]: n for key, n in labels_of(tmp_path / "mixed").items()})
    for name in ("packed", "all", "blurred", "mixed"):
        assert list(verify([str(tmp_path / name)], n_workers=1)) == []
    assert {row.name: row.id for row in joint_classes(open_corpora([str(folder)]))} == {
        "gan": 0,
        "camera": 1,
    }


def test_corpora_built_apart_train_and_evaluate(apart: list[str], tmp_path: Path, run: Run) -> None:
    data = [word for path in apart for word in ("--data", path)]
    done = run("train", *data, *QUICK, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    merge(apart, tmp_path / "m.lmdb")
    words = ("--data", tmp_path / "m.lmdb", "--split", "val", "--resamples", 0)
    done = run("eval", tmp_path / "run", *words)
    assert done.exit_code == 0, done.output


def test_a_class_that_is_real_and_fake_is_refused_in_words(tmp_path: Path, run: Run) -> None:
    real = class_of(tmp_path / "x", "faces", 0)
    fake = class_of(tmp_path / "y", "faces", 5, kind="fake")
    for order in permutations([real, fake]):
        done = run("merge", *order, "--out", tmp_path / "m.lmdb")
        assert done.exit_code == 1
        kinds = ("fake", "real") if order[0] == real else ("real", "fake")
        message = f"class 'faces' is {kinds[0]} in the first and {kinds[1]} in the second. Build"
        assert message in done.output
        assert "FaceClass" not in done.output
        assert not (tmp_path / "m.lmdb").exists()
    with pytest.raises(StorageError, match="cannot be taken as one"):
        open_corpora([str(real), str(fake)])
    assert rows(real / "manifest.jsonl")


def test_other_classes_in_an_unfinished_corpus_are_told_without_objects(
    tmp_path: Path, run: Run
) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "in" / name / "0.png")
    build = ("build", "folder", "--src", tmp_path / "in", "--out", tmp_path / "x", "--real", "a")
    assert run(*build, "--shard", "0/1").exit_code == 0
    (tmp_path / "x.partial").mkdir()
    unfinished = {**about(tmp_path / "x"), "verb": "build"}
    (tmp_path / "x").rename(tmp_path / "done")
    known = ("classes", "layout", "size", "labels", "verb", "options", "versions", "shard", "holds")
    command = {name: unfinished[name] for name in known}
    (tmp_path / "x.partial/command.json").write_text(json.dumps(command))
    done = run(*build, "--fake", "b,c", "--shard", "0/1")
    assert done.exit_code == 1
    assert "classes differ" in done.output
    assert "is_fake" not in done.output


# datasets ---------------------------------------------------------------------------------------

TWO: dict[str, Any] = {"real": ("real",), "fake": ("fake",)}


def dataset(root: Path, first: int, n: int = 6) -> Path:
    """Write real/0.png ... and fake/0.png ..., of pictures from number `first`; return the root."""
    for i, name in enumerate(("real", "fake")):
        for number in range(n):
            write_image(root / name / f"{number}.png", first + n * i + number)
    return root


def built(root: Path, out: Path, seed: int = 0, **how: Any) -> str:
    """Build a dataset with train and val; return the corpus's path."""
    return str(build_corpus("folder", root, out, seed=seed, split_ratio="50/50/0", **TWO, **how))


@pytest.fixture
def alike(tmp_path: Path) -> list[str]:
    """Corpora of two datasets with files of the same names, some of them in different splits."""
    paths = [
        built(dataset(tmp_path / name, 40 * i), tmp_path / f"{name}.lmdb", seed=i)
        for i, name in enumerate(("one", "two"))
    ]
    splits = [{r["group"]: r["split"] for r in rows(Path(p) / "manifest.jsonl")} for p in paths]
    assert splits[0].keys() == splits[1].keys()
    assert splits[0] != splits[1]
    return paths


def prefix_of(corpus: str | Path) -> str:
    """Return the prefix of a corpus among others of the same names, computed from its manifest."""
    return (
        str(min(row["source_sha256"] for row in rows(Path(corpus) / "manifest.jsonl")))[-8:] + "/"
    )


def named_apart(paths: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return the group, split and pixels that each key should have when corpora are one."""
    return {
        prefix_of(path) + row["key"]: (
            prefix_of(path) + row["group"],
            row["split"],
            row["source_sha256"],
        )
        for path in paths
        for row in rows(Path(path) / "manifest.jsonl")
    }


def found_in(path: Path) -> dict[str, tuple[str, str, str]]:
    return {
        row["key"].partition("@")[0]: (row["group"], row["split"], row["source_sha256"])
        for row in rows(path / "manifest.jsonl")
    }


def test_datasets_with_like_names_are_told_apart_by_every_command(
    alike: list[str], tmp_path: Path
) -> None:
    expected = named_apart(alike)
    assert len(expected) == 24
    for number, order in enumerate((alike, alike[::-1])):
        merge(order, tmp_path / f"merged{number}")
        pack(order, tmp_path / f"packed{number}", PackRequest(size=8, shuffle=True), n_workers=1)
        subset(order, tmp_path / f"all{number}", SubsetRequest(share=1))
        request = DegradeRequest(ops=("jp60",))
        degrade(order, tmp_path / f"jp{number}", request, n_workers=2)
        for name in ("merged", "packed", "all", "jp"):
            out = tmp_path / f"{name}{number}"
            assert found_in(out) == expected
            assert list(verify([str(out)], n_workers=1)) == []
    folder = tmp_path / "both"
    folder.mkdir()
    for path in alike:
        Path(path).rename(folder / Path(path).name)
    mix([str(folder), str(tmp_path / "jp0")], tmp_path / "mixed", MixRequest())
    assert found_in(tmp_path / "mixed") == expected
    assert list(verify([str(folder)], n_workers=1)) == []


def test_datasets_with_like_names_train_with_a_note(
    alike: list[str], tmp_path: Path, run: Run
) -> None:
    data = [word for path in alike for word in ("--data", path)]
    done = run("train", *data, *QUICK, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    told = f"{alike[0]} ({prefix_of(alike[0])}), {alike[1]} ({prefix_of(alike[1])}): files of the "
    assert told in done.stderr
    groups = json.loads((tmp_path / "run/groups.json").read_text("utf-8"))
    assert set(groups) == {group for group, _, _ in named_apart(alike).values()}
    merged = run("merge", *alike, "--out", tmp_path / "m")
    assert merged.exit_code == 0
    assert f"note: {told}" in merged.stderr


@pytest.mark.parametrize("way", ["moved", "partly replaced", "packed", "degraded"])
def test_a_dataset_that_was_built_twice_still_leaks(way: str, tmp_path: Path, run: Run) -> None:
    root = dataset(tmp_path / "in", 0)
    one = built(root, tmp_path / "one.lmdb")
    if way == "moved":
        root = root.rename(tmp_path / "elsewhere")
    elif way == "partly replaced":  # a later edition of the dataset
        for number in range(5):
            write_image(root / f"real/{number}.png", 90 + number)
    other = built(root, tmp_path / "other.lmdb", seed=1)
    if way == "packed":
        for name in (one, other):
            pack([name], Path(f"{name}-p"), PackRequest(size=8), n_workers=1)
        one, other = f"{one}-p", f"{other}-p"
    elif way == "degraded":
        degrade([other], tmp_path / "d", DegradeRequest(ops=("gb3",)), n_workers=1)
        other = str(tmp_path / "d")
    quick = ("--device", "cpu", "--max-iterations", 1, "--network", "meso4", "--set", "size=8")
    for order in ([one, other], [other, one]):
        data = [word for path in order for word in ("--data", path)]
        done = run("train", *data, *quick, "--out", tmp_path / "run")
        assert done.exit_code == 1
        assert re.search(r"Group '(real|fake)/\d.png' leaks across splits", done.stderr)
        with pytest.raises(ManifestError, match="occurs twice"):
            merge(order, tmp_path / "m")
    assert [corpus.prefix for corpus in open_corpora([one, other])] == ["", ""]


def test_groups_of_corpora_without_common_paths_are_the_same(tmp_path: Path) -> None:
    """Real faces and forgeries of them, which --group-by ties together, in two folders."""
    paths = [
        str(class_of(tmp_path, name, 9 * i, 6, kind=kind, group_by=r"(\d+)\.png", **how))
        for i, (name, kind, how) in enumerate(
            (("camera", "real", {}), ("swap", "fake", {"split_ratio": "0/0/1"}))
        )
    ]
    with pytest.raises(ManifestError, match="Group '0' leaks across splits"):
        merge(paths, tmp_path / "m")


def test_only_corpora_whose_names_are_alike_get_a_prefix(alike: list[str], tmp_path: Path) -> None:
    other = str(class_of(tmp_path / "third", "camera", 80))
    found = open_corpora([alike[1], other, alike[0]])
    assert [corpus.prefix for corpus in found] == [prefix_of(alike[1]), "", prefix_of(alike[0])]
    assert {s.key for s in found[1].samples()} == {f"camera/{i}.png" for i in range(3)}
    # Two editions of the first dataset are one of the three.
    write_image(tmp_path / "one/real/extra.png", 70)
    again = built(tmp_path / "one", tmp_path / "again.lmdb")
    prefixes = [corpus.prefix for corpus in open_corpora([*alike, again])]
    assert prefixes[0] == prefixes[2] == min(prefix_of(alike[0]), prefix_of(again))
    assert prefixes[1] == prefix_of(alike[1])


def test_names_of_faceforensics_are_the_same_in_all_its_copies(alike: list[str]) -> None:
    def named(found: list[dict[str, Any]]) -> None:
        for number, row in enumerate(found):
            row["group"], row["source"] = "000+003", f"c40/{number}.mp4"
            row["key"] = f"ff++/c40/Real/000/{number:04d}"

    for path in alike:
        change_manifest(Path(path), named)
    assert [corpus.prefix for corpus in open_corpora(alike)] == ["", ""]


def test_a_corpus_is_not_taken_twice(tmp_path: Path, run: Run) -> None:
    path = class_of(tmp_path / "all", "camera", 0)
    (tmp_path / "link").symlink_to(path)
    for other in (path, tmp_path / "link", path.parent):  # its folder holds it, too
        with pytest.raises(StorageError, match="is named twice"):
            open_corpora([str(path), str(other)])
    done = run("verify", path, path)
    assert (done.exit_code, "is named twice" in done.stderr) == (1, True)
