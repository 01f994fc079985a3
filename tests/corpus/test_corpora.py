import hashlib
import io
import json
import os
import re
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from makers.mutations import saved, scan_damaged
from makers.programs import all_in_a_process
from makers.trees import (
    Pixels,
    about,
    all_files,
    build_corpus,
    change_manifest,
    change_records,
    encoded_data,
    face,
    raw_pixels,
    records,
    rows,
    write_image,
)
from PIL import Image

from hffkit.corpus.inspect import inspect
from hffkit.corpus.merge import merge
from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.verify import Problem, verify
from hffkit.errors import HffkitError, ManifestError, StorageError
from hffkit.media.image import pixels_sha256
from hffkit.media.image_files import decode_file

Run = Callable[..., Result]

COLOURS = {"gan": 0, "swap": 1, "photo": 2}  # red, green, blue
COUNTS = {
    ("gan", "train"): 3,
    ("swap", "train"): 2,
    ("photo", "train"): 4,
    ("gan", "val"): 1,
    ("photo", "val"): 2,
    ("swap", "test"): 3,
    ("photo", "test"): 1,
}
CLASSES: dict[str, Any] = {"real": ("photo",), "fake": ("gan", "swap")}  # ids: gan, swap, photo


def _image(path: Path, channel: int, number: int, size: tuple[int, int] = (24, 20)) -> None:
    """Write a PNG of noise in one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([channel, number])
    pixels = rng.integers(0, 40, (size[1], size[0], 3), np.uint8)
    pixels[..., channel] += 180
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in split folders, as COUNTS says; two of one video, one wider, one broken."""
    root = tmp_path_factory.mktemp("tree")
    for (name, split), n in COUNTS.items():
        for number in range(n):
            in_video = (name, split) == ("gan", "train") and number < 2
            folder = root / split / name / ("v1" if in_video else "")
            wide = (name, split, number) == ("photo", "train", 0)
            size = (60, 30) if wide else (24, 20)
            _image(folder / f"{number}.png", COLOURS[name], number + 10 * len(split), size)
    (root / "test/photo/broken.png").write_bytes(b"broken")
    return root


@pytest.fixture(scope="module")
def native(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `tree`."""
    return build_corpus("folder", tree, tmp_path_factory.mktemp("native") / "x.lmdb", **CLASSES)


@pytest.fixture(scope="module")
def packed(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `tree`, packed to 16 pixels."""
    out = tmp_path_factory.mktemp("packed") / "x.lmdb"
    pack([str(native)], out, PackRequest(size=16), n_workers=1)
    return out


@pytest.fixture(scope="module")
def pieces(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a folder of LMDBs of at most 9 records."""
    out = tmp_path_factory.mktemp("pieces") / "x"
    pack([str(native)], out, PackRequest(size=16, shard_size=9), n_workers=1)
    return out


@pytest.fixture
def copy(native: Path, tmp_path: Path) -> Path:
    """A corpus to damage."""
    return Path(shutil.copytree(native, tmp_path / "copy.lmdb"))


def _sample_key(key: bytes) -> str:
    return key.decode().partition("_")[2]


def _source_pixels(tree: Path, key: str) -> Pixels:
    with Image.open(tree / key) as image:
        return np.asarray(image.convert("RGB"))


# pack -------------------------------------------------------------------------------------------


def test_pack_writes_raw_datums_of_128_as_caffe_does(
    tree: Path, native: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "x.lmdb"
    result = run("pack", native, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    found = records(out)
    assert [_sample_key(key) for key, _ in found] == [_sample_key(k) for k, _ in records(native)]
    assert [int(key[:8]) for key, _ in found] == list(range(16))
    for key, value in found:
        assert len(value) == 49_168
        assert value[:12] == bytes.fromhex("08 03 10 80 01 18 80 01 22 80 80 03")
        pixels, label = raw_pixels(value, 128)
        source = _source_pixels(tree, _sample_key(key))
        expected = cv2.resize(source, (128, 128), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(pixels, expected)
        assert label == COLOURS[_sample_key(key).split("/")[1]]
    assert {"layout": "packed", "size": 128, "labels": "multi"}.items() <= about(out).items()


def test_packed_samples_keep_what_is_known_of_them(native: Path, packed: Path) -> None:
    changed = {"sha256", "pixels_sha256"}
    for before, after, (_, value) in zip(
        rows(native / "manifest.jsonl"),
        rows(packed / "manifest.jsonl"),
        records(packed),
        strict=True,
    ):
        assert {name for name in before if before[name] != after[name]} <= changed
        pixels, _ = raw_pixels(value, 16)
        bgr = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)).tobytes()
        assert after["sha256"] == hashlib.sha256(bgr).hexdigest()
        assert after["pixels_sha256"] == hashlib.sha256(bgr + b"16 16").hexdigest()


def test_digests_are_those_of_records_and_pixels(native: Path, packed: Path) -> None:
    for path in (native, packed):
        content, pixels = hashlib.sha256(), hashlib.sha256()
        for key, value in records(path):
            head = struct.pack(">I", len(key)) + key
            if path == native:
                data, label = encoded_data(value)
                with Image.open(io.BytesIO(data)) as image:
                    rgb = np.asarray(image.convert("RGB"))
                shape = f"0 0 0 {label} 1"
            else:
                rgb, label = raw_pixels(value, 16)
                data = rgb[:, :, ::-1].transpose(2, 0, 1).tobytes()
                shape = f"3 16 16 {label} 0"
            content.update(head + shape.encode() + hashlib.sha256(data).digest())
            planes = rgb[:, :, ::-1].transpose(2, 0, 1).tobytes()
            size = f"{rgb.shape[0]} {rgb.shape[1]}".encode()
            pixels.update(head + hashlib.sha256(planes + size).digest())
        assert about(path)["content_sha256"] == content.hexdigest()
        assert about(path)["pixels_sha256"] == pixels.hexdigest()


def test_per_split_makes_the_three_databases_of_the_prototxts(
    native: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "lmdb"
    result = run(
        "pack", native, "--out", out, "--size", 16, "--per-split", "--labels", "binary",
        "--workers", 1, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["test_lmdb", "train_lmdb", "val_lmdb"]
    assert set(json.loads(result.stdout)) == {str(path) for path in out.iterdir()}
    labels = {}
    for split in ("train", "val", "test"):
        for key, value in records(out / f"{split}_lmdb"):
            assert _sample_key(key).startswith(f"{split}/")
            labels[_sample_key(key)] = raw_pixels(value, 16)[1]
    assert labels == {
        row["key"]: int(row["cls"] == "photo") for row in rows(native / "manifest.jsonl")
    }  # fake 0, real 1, as in the authors' files
    assert list(verify([str(out)], n_workers=1)) == []


def test_a_split_that_is_empty_makes_no_database(tree: Path, tmp_path: Path) -> None:
    val = build_corpus("folder", tree, tmp_path / "val.lmdb", split="val", **CLASSES)
    pack([str(val)], tmp_path / "out", PackRequest(size=8, per_split=True), n_workers=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["val_lmdb"]
    assert len(records(tmp_path / "out/val_lmdb")) == 3


def test_shard_size_makes_databases_of_so_many_records(packed: Path, pieces: Path) -> None:
    shards = sorted(pieces.iterdir())
    assert [path.name for path in shards] == ["shard-00000", "shard-00001"]
    assert [len(records(path)) for path in shards] == [9, 7]
    joined = [(key[9:], value) for path in shards for key, value in records(path)]
    assert joined == [(key[9:], value) for key, value in records(packed)]


def test_shuffle_is_a_permutation_that_the_seed_decides(
    native: Path, packed: Path, tmp_path: Path
) -> None:
    def shuffled(name: str, seed: int) -> list[tuple[bytes, bytes]]:
        request = PackRequest(size=16, shuffle=True, seed=seed)
        pack([str(native)], tmp_path / name, request, n_workers=1)
        return records(tmp_path / name)

    one, same, other = shuffled("a", 1), shuffled("b", 1), shuffled("c", 2)
    assert one == same
    assert [key for key, _ in one] != [key for key, _ in other]
    for found in (one, other):
        assert [int(key[:8]) for key, _ in found] == list(range(16))
        strip = [(key[9:], value) for key, value in found]
        assert strip != [(key[9:], value) for key, value in records(packed)]
        assert sorted(strip) == sorted((key[9:], value) for key, value in records(packed))
    manifest = [row["key"].encode() for row in rows(tmp_path / "a/manifest.jsonl")]
    assert manifest == [key[9:] for key, _ in one]


def test_pieces_pack_to_what_the_whole_packs_to(packed: Path, pieces: Path, tmp_path: Path) -> None:
    whole = pack([str(packed)], tmp_path / "whole", PackRequest(size=8), n_workers=1)
    joined = pack([f"{pieces}/shard-*"], tmp_path / "joined", PackRequest(size=8), n_workers=1)
    for name in ("content_sha256", "pixels_sha256", "sources_sha256"):
        assert getattr(whole[0][1], name) == getattr(joined[0][1], name)


def test_two_workers_pack_the_same(native: Path, packed: Path, tmp_path: Path) -> None:
    pack([str(native)], tmp_path / "x", PackRequest(size=16), n_workers=2)
    assert all_files(tmp_path / "x") == all_files(packed)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 300 images, of which one record is no Datum and one is gone."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(300):
        write_image(folder / f"in/real/{number:04d}.png", number, size=(6, 5))
    out = build_corpus("folder", folder / "in", folder / "x.lmdb", real=("real",))
    change_records(out, lambda transaction: transaction.put(b"00000160_real/0160.png", b"oops"))
    change_records(out, lambda transaction: transaction.delete(b"00000290_real/0290.png"))
    return out


def test_many_samples_keep_their_order_whoever_packs_them(many: Path, tmp_path: Path) -> None:
    out, alone = tmp_path / "x.lmdb", tmp_path / "y.lmdb"
    pack([str(many)], out, PackRequest(size=4), n_workers=2)
    pack([str(many)], alone, PackRequest(size=4), n_workers=1)
    assert records(out) == records(alone)
    numbers = [number for number in range(300) if number not in (160, 290)]
    found = records(out)
    assert [key for key, _ in found] == [
        f"{index:08d}_real/{number:04d}.png".encode() for index, number in enumerate(numbers)
    ]
    for number, (_, value) in zip(numbers, found, strict=True):
        source = _source_pixels(many.parent / "in", f"real/{number:04d}.png")
        expected = cv2.resize(source, (4, 4), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(raw_pixels(value, 4)[0], expected)
    failures = [row["path"] for row in rows(out / "failures.jsonl") if row["kind"] != "duplicate"]
    assert failures == ["real/0160.png", "real/0290.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"x.lmdb", "y.lmdb"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\x22\x04oops\x28\x00\x38\x01", "sha256 of the stored bytes differs"),
        (b"\x08\x03\x10\x02\x18\x02\x22\x01x\x28\x00\x38\x00", "a raw Datum of shape (3, 2, 2)"),
        (b"\xff", "no protobuf message: it ends within a number"),
        (None, "no record '"),
    ],
)
def test_a_record_that_cannot_be_packed_is_recorded_and_the_rest_is_packed(
    native: Path, copy: Path, tmp_path: Path, run: Run, damage: bytes | None, reason: str
) -> None:
    key, _ = records(copy)[3]
    bad = _sample_key(key)
    change_records(copy, lambda txn: txn.delete(key) if damage is None else txn.put(key, damage))
    out = tmp_path / "x.lmdb"
    result = run("pack", copy, "--out", out, "--size", 16, "--workers", 1)
    assert result.exit_code == 3
    assert "inputs without a complete result: 1 unreadable (see" in result.output
    (failure,) = rows(out / "failures.jsonl")
    assert (failure["kind"], failure["path"], failure["frame"]) == ("unreadable", bad, None)
    assert reason in failure["reason"]
    stored = [_sample_key(k) for k, _ in records(native)]
    assert [_sample_key(k) for k, _ in records(out)] == [name for name in stored if name != bad]
    assert [int(k[:8]) for k, _ in records(out)] == list(range(15))
    assert about(out)["failures"] == {"unreadable": 1}
    assert list(verify([str(out)], n_workers=1)) == []


# inspect ----------------------------------------------------------------------------------------


def test_inspect_counts_right(native: Path) -> None:
    found = inspect([str(native)], None)
    samples = {(row.name, split): n for row in found.classes for split, n in row.samples.items()}
    assert {cell: n for cell, n in samples.items() if n} == COUNTS
    groups = {(row.name, split): n for row in found.classes for split, n in row.groups.items()}
    assert {cell: n for cell, n in groups.items() if n} == COUNTS | {("gan", "train"): 2}
    assert [(row.id, row.name, row.is_fake) for row in found.classes] == [
        (0, "gan", True),
        (1, "swap", True),
        (2, "photo", False),
    ]
    assert {row.name: row.n_sources for row in found.classes} == {"gan": 4, "swap": 5, "photo": 7}
    assert {row.name: row.sizes for row in found.classes} == {
        "gan": "24x20",
        "swap": "24x20",
        "photo": "24x20 to 60x30",
    }
    assert (found.n_samples, found.n_groups) == (16, 15)
    assert found.failures == {"unreadable": 1}
    assert [failure.path for failure in found.first_failures] == ["test/photo/broken.png"]
    assert found.content_sha256 == [about(native)["content_sha256"]]


def test_the_contact_sheet_has_a_row_for_each_class(native: Path, tmp_path: Path) -> None:
    inspect([str(native)], tmp_path / "sheet.png", columns=5)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        sheet = np.asarray(image.convert("RGB"), int)
    extents = []
    for channel in range(3):  # red, green, blue: the classes in the order of their ids
        rest = sheet[..., [c for c in range(3) if c != channel]].max(axis=-1)
        ys, xs = np.nonzero((sheet[..., channel] > 150) & (rest < 60))
        extents.append((ys.min(), ys.max()))
        assert xs.max() > 3 * xs.min()  # more than one image in a row
    tops, bottoms = zip(*extents, strict=True)
    assert bottoms[0] < tops[1]
    assert bottoms[1] < tops[2]
    heights = {bottom - top for top, bottom in extents}
    assert max(heights) - min(heights) <= 1  # aspect kept: all three hold one of 24x20
    titles = [sheet[start:stop] for start, stop in zip((0, *bottoms[:2]), tops, strict=True)]
    assert all((title.max(axis=-1) < 60).any() for title in titles)  # ink above each row


def test_inspect_prints_a_table_and_writes_the_sheet_where_told(
    native: Path, tmp_path: Path, run: Run
) -> None:
    result = run("inspect", native, "--out", tmp_path / "s.png")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["0", "gan", "fake", "3/2", "1/1", "0/0", "4", "24x20"] in lines
    assert ["1", "swap", "fake", "2/2", "0/0", "3/3", "5", "24x20"] in lines
    assert "test/photo/broken.png: no image" in result.output
    assert about(native)["content_sha256"] in result.output
    assert (tmp_path / "s.png").is_file()


def test_inspect_gives_json(
    native: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("inspect", native, "--no-sheet", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["n_samples"], found["n_groups"], found["layout"]) == (16, 15, "native")
    assert {row["name"]: row["samples"] for row in found["classes"]} == {
        name: {split: COUNTS.get((name, split), 0) for split in ("train", "val", "test")}
        for name in COLOURS
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.lmdb", "x.lmdb/", "*.lmdb", "."])
def test_the_sheet_is_called_after_the_corpus(
    native: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(native, tmp_path / "x.lmdb")
    monkeypatch.chdir(tmp_path)
    result = run("inspect", name)
    assert result.exit_code == 0, result.output
    (sheet,) = {path.name for path in tmp_path.iterdir()} - {"x.lmdb"}
    assert re.fullmatch(r"\w+-sheet\.png", sheet)


def test_a_sheet_that_cannot_be_written_is_an_error(native: Path, tmp_path: Path, run: Run) -> None:
    result = run("inspect", native, "--out", tmp_path / "nowhere/s.png")
    assert result.exit_code == 2
    assert "--out must be a file in an existing folder, got " in result.output


# several corpora as one -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["folder", "glob", "list"])
def test_pieces_are_taken_as_one(packed: Path, pieces: Path, tmp_path: Path, way: str) -> None:
    names = {
        "folder": [str(pieces)],
        "glob": [f"{pieces}/shard-*"],
        "list": [str(path) for path in sorted(pieces.iterdir())],
    }[way]
    whole, joined = inspect([str(packed)], None), inspect(names, None)
    assert joined.classes == whole.classes
    assert (joined.n_samples, joined.n_groups) == (whole.n_samples, whole.n_groups)
    assert len(joined.content_sha256) == 2
    assert list(verify(names, n_workers=1)) == []
    merge(names, tmp_path / "x.lmdb")
    assert records(tmp_path / "x.lmdb") == records(packed)
    for name in ("content_sha256", "pixels_sha256", "sources_sha256", "counts"):
        assert about(tmp_path / "x.lmdb")[name] == about(packed)[name]


def test_a_group_in_two_splits_is_found_across_corpora(pieces: Path, tmp_path: Path) -> None:
    shutil.copytree(pieces, tmp_path / "x")
    first = rows(tmp_path / "x/shard-00000/manifest.jsonl")[0]
    other = "test" if first["split"] == "train" else "train"

    def leak(found: list[dict[str, Any]]) -> None:
        found[0] |= {"group": first["group"], "split": other}

    change_manifest(tmp_path / "x/shard-00001", leak)
    (problem,) = verify([str(tmp_path / "x")], n_workers=1)
    assert problem.corpus == str(tmp_path / "x/shard-00001")
    assert f"Group {first['group']!r} leaks across splits" in problem.reason


def test_corpora_that_differ_cannot_be_taken_as_one(
    native: Path, packed: Path, tree: Path, tmp_path: Path, run: Run
) -> None:
    def refused(message: str, *names: Path) -> None:
        for command in (["inspect", "--no-sheet"], ["verify"], ["merge", "--out", tmp_path / "m"]):
            result = run(command[0], *names, *command[1:])
            assert result.exit_code == 1
            assert message in result.output
        assert not (tmp_path / "m").exists()

    pack([str(native)], tmp_path / "8", PackRequest(size=8), n_workers=1)
    pack([str(native)], tmp_path / "b", PackRequest(size=16, labels="binary"), n_workers=1)
    refused("cannot be taken as one: layout is 'packed' and 'native'", native, packed)
    refused("cannot be taken as one: size is 8 and 16", packed, tmp_path / "8")
    refused("cannot be taken as one: labels is 'binary' and 'multi'", packed, tmp_path / "b")
    build_corpus("folder", tree, tmp_path / "s", real=("photo", "swap"), fake=("gan",))
    refused("cannot be taken as one: class 'swap' is real in the first and", native, tmp_path / "s")


def test_what_is_no_corpus_is_told_apart(native: Path, tmp_path: Path) -> None:
    def opened(path: Path) -> None:
        list(verify([str(path)], n_workers=1))

    with pytest.raises(StorageError, match=r"nowhere: no such corpus\. Name"):
        opened(tmp_path / "nowhere")
    (tmp_path / "x.lmdb.partial").mkdir()
    with pytest.raises(StorageError, match=r"x\.lmdb\.partial is unfinished work: run the command"):
        opened(tmp_path / "x.lmdb")
    (tmp_path / "bare").mkdir()
    shutil.copy(native / "data.mdb", tmp_path / "bare")
    with pytest.raises(StorageError, match="bare: a bare LMDB, no corpus"):
        opened(tmp_path / "bare")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2}', "\N{SNOWMAN}"]
)
def test_a_corpus_json_of_another_kind_is_refused(copy: Path, text: str) -> None:
    (copy / "corpus.json").write_text(text, "utf-8")
    with pytest.raises(StorageError, match=r"copy\.lmdb"):
        list(verify([str(copy)], n_workers=1))


# verify -----------------------------------------------------------------------------------------


def _problems(path: Path) -> list[Problem]:
    return list(verify([str(path)], n_workers=2))


def _of_records(problems: Sequence[Problem]) -> dict[str, str]:
    """Return the problems of single records: reasons by key."""
    files = ("corpus.json", "manifest.jsonl")
    found: dict[str, str] = {}
    for problem in problems:
        if problem.key not in files:
            found[problem.key] = f"{found.get(problem.key, '')} {problem.reason}"
    return found


def _datum(data: bytes, label: int) -> bytes:
    n, length = len(data), bytearray()
    while n > 0x7F:
        length.append(n & 0x7F | 0x80)
        n >>= 7
    length.append(n)
    return b"\x22" + bytes(length) + data + b"\x28" + bytes([label]) + b"\x38\x01"


def test_a_good_corpus_has_no_problem(native: Path, packed: Path, run: Run) -> None:
    for path in (native, packed):
        result = run("verify", path, "--workers", 1)
        assert (result.exit_code, result.output) == (0, "all records match the manifest\n")
        assert json.loads(run("verify", path, "--json").stdout) == []


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_a_flipped_byte_is_found_wherever_it_is(copy: Path, run: Run, place: str) -> None:
    key, value = records(copy)[5]
    at = {"start": 8, "middle": len(value) // 2, "end": len(value) - 12}[place]
    flipped = value[:at] + bytes([value[at] ^ 0x10]) + value[at + 1 :]
    change_records(copy, lambda transaction: transaction.put(key, flipped))
    found = _of_records(_problems(copy))
    assert list(found) == [_sample_key(key)]
    assert "sha256 of the stored bytes differs" in found[_sample_key(key)]
    result = run("verify", copy, "--workers", 1)
    assert result.exit_code == 1
    assert f"{copy}: {_sample_key(key)}: sha256 of the stored bytes differs" in result.output
    assert any(
        row["key"] == _sample_key(key) for row in json.loads(run("verify", copy, "--json").stdout)
    )


def test_a_wrong_label_is_found(copy: Path) -> None:
    key, value = records(copy)[5]
    data, label = encoded_data(value)
    change_records(copy, lambda transaction: transaction.put(key, _datum(data, label + 1)))
    name = _sample_key(key).split("/")[1]
    assert _of_records(_problems(copy)) == {
        _sample_key(key): f" label is {label + 1}, class {name} has {label}"
    }


def test_only_the_record_that_is_gone_is_named(copy: Path) -> None:
    key, _ = records(copy)[5]
    change_records(copy, lambda transaction: transaction.delete(key))
    found = _of_records(_problems(copy))
    assert list(found) == [_sample_key(key)]
    assert "no record" in found[_sample_key(key)]


def test_only_the_record_that_nobody_knows_is_named(copy: Path) -> None:
    key, value = records(copy)[5]
    stranger = key[:8] + b"_zzz"
    change_records(copy, lambda transaction: transaction.put(stranger, value))
    found = _of_records(_problems(copy))
    assert list(found) == [stranger.decode()]
    assert "not in the manifest" in found[stranger.decode()]


def test_only_the_line_that_is_gone_is_named(copy: Path) -> None:
    key, _ = records(copy)[5]

    def remove(found: list[dict[str, Any]]) -> None:
        del found[5]

    change_manifest(copy, remove)
    problems = _problems(copy)
    assert list(_of_records(problems)) == [key.decode()]
    assert any(p.key == "corpus.json" and p.reason.startswith("counts ") for p in problems)


def test_a_group_in_another_split_is_found(copy: Path) -> None:
    def leak(found: list[dict[str, Any]]) -> None:
        one = next(row for row in found if row["group"] == "train/v1")
        one["split"] = "test"

    change_manifest(copy, leak)
    (problem,) = [p for p in _problems(copy) if p.key != "corpus.json"]
    assert problem.key.startswith("train/gan/v1/")
    assert "Group 'train/v1' leaks across splits" in problem.reason
    assert "Split by group, not by frame" in problem.reason


def test_a_split_that_changed_alone_is_seen_in_the_counts(copy: Path) -> None:
    def move(found: list[dict[str, Any]]) -> None:
        one = next(row for row in found if row["cls"] == "photo" and row["split"] == "test")
        one["split"] = "train"

    change_manifest(copy, move)
    assert _problems(copy) != []


def test_a_truncated_image_is_found_even_where_its_digest_was_made_to_fit(copy: Path) -> None:
    key, value = records(copy)[5]
    data, label = encoded_data(value)
    short = data[: len(data) // 2]
    change_records(copy, lambda transaction: transaction.put(key, _datum(short, label)))

    def fit(found: list[dict[str, Any]]) -> None:
        found[5]["sha256"] = hashlib.sha256(short).hexdigest()

    change_manifest(copy, fit)
    found = _of_records(_problems(copy))
    assert list(found) == [_sample_key(key)]
    assert found[_sample_key(key)].startswith(" cannot be decoded: cut short")


def test_a_damaged_image_of_an_older_corpus_is_named(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = scan_damaged(saved(Image.fromarray(face(3)), "JPEG"))
    key, value = records(copy)[5]
    label = encoded_data(value)[1]
    change_records(copy, lambda transaction: transaction.put(key, _datum(bad, label)))

    def fit(found: list[dict[str, Any]]) -> None:
        found[5]["sha256"] = hashlib.sha256(bad).hexdigest()
        found[5]["pixels_sha256"] = pixels_sha256(decode_file(bad).image)

    change_manifest(copy, fit)
    reason = " the stored image is damaged: Corrupt JPEG data: premature end of data segment"
    assert _of_records(_problems(copy)) == {_sample_key(key): reason}
    assert capfd.readouterr().err == ""


def test_another_image_in_the_place_of_one_is_found_by_the_digests(copy: Path) -> None:
    stored = records(copy)
    (key, value), (_, other) = stored[5], stored[6]
    assert encoded_data(value)[1] == encoded_data(other)[1]  # two of one class
    change_records(copy, lambda transaction: transaction.put(key, other))

    def fit(found: list[dict[str, Any]]) -> None:
        for name in ("sha256", "pixels_sha256"):
            found[5][name] = found[6][name]

    change_manifest(copy, fit)
    problems = _problems(copy)
    assert _of_records(problems) == {}
    assert [problem.reason.split()[0] for problem in problems] == [
        "content_sha256",
        "pixels_sha256",
    ]


def test_a_packed_image_of_another_size_is_found(packed: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(packed, tmp_path / "x.lmdb"))
    key, value = records(path)[0]
    half = value[:3] + b"\x08" + value[4:6] + value[6:]
    assert half[:9] == b"\x08\x03\x10\x08\x18\x10\x22\x80\x06"  # 8 rows of the 16 it has bytes for
    change_records(path, lambda transaction: transaction.put(key, half))
    found = _of_records(_problems(path))
    assert list(found) == [_sample_key(key)]
    assert "a raw Datum of shape (3, 8, 16) holds 768 bytes" in found[_sample_key(key)]


def _set(**values: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(found: list[dict[str, Any]]) -> None:
        found[5] |= values

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set(cls="nobody"),
        _set(split="tset"),
        _set(pixels_sha256="zz"),
        _set(index=None),
        _set(box=[1]),
        _set(colour="red"),
    ],
    ids=["class", "split", "digest", "index", "box", "field"],
)
def test_a_line_that_makes_no_sense_is_named(
    copy: Path, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    key, _ = records(copy)[5]
    change_manifest(copy, change)
    try:
        told = " ".join(f"{problem.key} {problem.reason}" for problem in _problems(copy))
    except HffkitError as error:
        told = str(error)
    assert _sample_key(key) in told or "manifest.jsonl:6:" in told


def test_a_manifest_that_is_cut_short_is_named(copy: Path) -> None:
    text = (copy / "manifest.jsonl").read_bytes()
    (copy / "manifest.jsonl").write_bytes(text[: len(text) - 20])
    with pytest.raises(ManifestError, match=r"manifest\.jsonl:16: no JSON"):
        _problems(copy)


def test_a_database_that_was_copied_in_part_is_an_error(copy: Path, tmp_path: Path) -> None:
    os.truncate(copy / "data.mdb", (copy / "data.mdb").stat().st_size // 2)
    outs = {command: tmp_path / f"{command}.lmdb" for command in ("pack", "merge")}
    commands = [("verify", copy), ("inspect", copy, "--no-sheet")]
    commands += [(command, copy, "--out", out) for command, out in outs.items()]
    for code, told in all_in_a_process(*commands):  # memory beyond a file's end is deadly
        assert code == 1, told
        (message,) = told.splitlines()
        assert message.startswith("Error: ")
        failures = tmp_path / "pack.lmdb.partial/corpus/failures.jsonl"
        if str(failures) in message:
            assert "no input gave a sample (16 unreadable)" in message
            (message,) = {row["reason"] for row in rows(failures)}
        assert f"{copy}/data.mdb: cut short: it needs" in message
        assert "Copy it again." in message
    assert not any(out.exists() for out in outs.values())


# merge ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two shares of one unit: the first holds nothing."""
    folder = tmp_path_factory.mktemp("shards")
    return [
        build_corpus("folder", tree, folder / f"{i}.lmdb", shard=(i, 2), **CLASSES)
        for i in range(2)
    ]


def test_an_empty_shard_is_a_shard(
    native: Path, shards: list[Path], tmp_path: Path, run: Run
) -> None:
    assert [len(records(shard)) for shard in shards] == [0, 16]
    out = tmp_path / "x.lmdb"
    result = run("merge", *shards, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == about(out)
    assert records(out) == records(native)
    assert about(out) == about(native)
    assert (out / "failures.jsonl").read_bytes() == (native / "failures.jsonl").read_bytes()


def test_shards_that_are_not_all_there_once_are_refused(
    tree: Path, native: Path, shards: list[Path], tmp_path: Path
) -> None:
    first, second = map(str, shards)
    out = tmp_path / "x.lmdb"
    message = r"Name each of the 2 shards once, got numbers \[1\]\."
    with pytest.raises(StorageError, match=message):
        merge([second], out)
    with pytest.raises(StorageError, match="is named twice"):
        merge([first, second, first], out)
    other = build_corpus("folder", tree, tmp_path / "o", shard=(0, 2), seed=7, **CLASSES)
    with pytest.raises(StorageError, match=r"are not shards of one command: they differ in seed\."):
        merge([second, str(other)], out)
    for names in ([first, str(native)], [str(native), first]):
        with pytest.raises(StorageError, match="are not shards of one command"):
            merge(names, out)
    assert not out.exists()


def test_corpora_of_different_sources_follow_one_another(native: Path, tmp_path: Path) -> None:
    _image(tmp_path / "in/val/gan/9.png", 0, 90)
    out = tmp_path / "x.lmdb"
    again = build_corpus(
        "folder", tmp_path / "in", tmp_path / "again.lmdb", fake=("gan",), split="val"
    )
    merge([str(native), str(again)], out)
    expected = [(key[9:], value) for path in (native, again) for key, value in records(path)]
    assert [(key[9:], value) for key, value in records(out)] == expected
    assert [int(key[:8]) for key, _ in records(out)] == list(range(17))
    assert Counter((row["cls"], row["split"]) for row in rows(out / "manifest.jsonl")) == (
        COUNTS | {("gan", "val"): 2}
    )
    assert about(out)["verb"] == "merge"
    assert list(verify([str(out)], n_workers=1)) == []


def test_the_same_corpus_twice_is_refused(native: Path, tmp_path: Path) -> None:
    with pytest.raises(HffkitError, match="twice"):
        merge([str(native), str(native)], tmp_path / "x.lmdb")
    assert not (tmp_path / "x.lmdb").exists()


def test_corpora_whose_groups_cross_splits_do_not_merge(native: Path, tmp_path: Path) -> None:
    _image(tmp_path / "in/gan/pretrain/v1/new.png", 0, 99)
    other = build_corpus(
        "folder",
        tmp_path / "in",
        tmp_path / "o.lmdb",
        fake=("gan",),
        split_ratio="0/0/1",
        group_by="train/v1",
    )
    with pytest.raises(ManifestError, match="Group 'train/v1' leaks across splits"):
        merge([str(native), str(other)], tmp_path / "x.lmdb")
    assert not (tmp_path / "x.lmdb").exists()


def test_an_output_that_exists_is_left_alone(native: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "x.lmdb").mkdir()
    (tmp_path / "x.lmdb/precious").write_text("kept")
    for command in ("pack", "merge"):
        result = run(command, native, "--out", tmp_path / "x.lmdb")
        assert result.exit_code == 1
        assert "x.lmdb already exists. Delete it or choose another --out." in result.output
    assert all_files(tmp_path) == {"x.lmdb/precious": b"kept"}


def test_what_was_packed_while_building_merges_with_what_was_packed_after(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        write_image(tmp_path / f"{number}/real/{name}.png", number)
    built, native = (
        build_corpus("folder", tmp_path / str(n), tmp_path / f"{n}.lmdb", real=("real",), size=size)
        for n, size in ((0, 16), (1, None))
    )
    pack([str(native)], tmp_path / "packed", PackRequest(size=16), n_workers=1)
    merge([str(built), str(tmp_path / "packed")], tmp_path / "both")
    assert about(tmp_path / "both")["versions"] == about(built)["versions"]
