"""`hffkit degrade` on corpora."""

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from click.testing import Result
from makers.programs import HFFKIT, workers_of
from makers.trees import (
    Pixels,
    about,
    all_files,
    build_corpus,
    build_two_classes,
    change_records,
    encoded_data,
    make_older,
    raw_pixels,
    records,
    rows,
    write_image,
)
from PIL import Image

from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.verify import verify
from hffkit.degrade.chain import chain

Run = Callable[..., Result]
Degraded = Callable[..., Path]

IMAGES = (  # the first two are one group
    *("train/gan/v1/0.png", "train/gan/v1/1.png", "train/gan/2.jpg", "train/swap/3.png"),
    *("train/photo/4.jpg", "train/photo/5.png", "val/swap/6.png", "val/photo/7.jpg"),
    *("test/gan/8.png", "test/photo/9.png"),
)
CLASSES: dict[str, Any] = {"real": ("photo",), "fake": ("gan", "swap")}
PACKED_AT = 40  # px


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in split folders, no two of one size."""
    root = tmp_path_factory.mktemp("tree")
    for number, name in enumerate(IMAGES):
        write_image(root / name, 9 * number, size=(49 - 3 * number, 48 - 2 * number))
    return root


@pytest.fixture(scope="module")
def native(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of `tree`."""
    return build_corpus("folder", tree, tmp_path_factory.mktemp("native") / "x.lmdb", **CLASSES)


@pytest.fixture(scope="module")
def packed(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed."""
    out = tmp_path_factory.mktemp("packed") / "x.lmdb"
    pack([str(native)], out, PackRequest(size=PACKED_AT), n_workers=1)
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 1000 small images: 40 units of work."""
    return build_two_classes(tmp_path_factory.mktemp("many"), 1000, size=(48, 48))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 160 small images: ten units of work."""
    return build_two_classes(tmp_path_factory.mktemp("few"), 160, size=(48, 48))


@pytest.fixture
def degraded(run: Run, tmp_path: Path) -> Degraded:
    """Degrade a corpus with one worker and return what was written."""

    def invoke(source: Path, *more: object) -> Path:
        out = tmp_path / f"degraded-{len(list(tmp_path.iterdir()))}.lmdb"
        result = run("degrade", source, "--out", out, "--workers", 1, *more)
        assert result.exit_code == 0, result.output
        return out

    return invoke


def key_of(record: tuple[bytes, bytes]) -> str:
    return record[0].decode()[9:]


def source_pixels(tree: Path, key: str) -> Pixels:
    """Return the pixels of a source file by cv2 alone."""
    bgr = cv2.imread(str(tree / key))
    assert bgr is not None
    return np.ascontiguousarray(bgr[:, :, ::-1], np.uint8)


def stored_pixels(value: bytes, size: int | None) -> Pixels:
    """Return the pixels of a PNG by Pillow, or those of a raw Datum of known size."""
    if size is not None:
        return raw_pixels(value, size)[0]
    with Image.open(io.BytesIO(encoded_data(value)[0])) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def linear(image: Pixels, size: int) -> Pixels:
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def error_of(result: Result, code: int) -> str:
    """Return the one line with which a command failed."""
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    "case",
    [
        ("native", "native", None, []),
        ("native", "native", 24, ["--size", 24, "--stage", "native"]),
        ("native", "input", 24, ["--size", 24, "--stage", "input"]),
        ("packed", "input", PACKED_AT, []),
        ("packed", "input", 24, ["--size", 24, "--stage", "input"]),
        ("packed", "input", None, ["--size", "native"]),
    ],
    ids=lambda case: " ".join(map(str, [*case[:1], *case[3]])),
)
def test_stored_pixels_are_what_the_chain_makes_of_the_source(
    tree: Path,
    native: Path,
    packed: Path,
    degraded: Degraded,
    case: tuple[str, str, int | None, list[object]],
) -> None:
    layout, stage, size, more = case
    source = packed if layout == "packed" else native
    ops = chain("sc-mix", "jp-mix")
    out = degraded(source, "--op", "sc-mix", "--op", "jp-mix", "--seed", 5, *more)
    before, after = rows(source / "manifest.jsonl"), rows(out / "manifest.jsonl")
    stored = records(out)
    assert [key_of(record) for record in stored] == [key_of(r) for r in records(source)]
    for record, was, now in zip(stored, before, after, strict=True):
        image = source_pixels(tree, was["key"])
        if layout == "packed":
            image = linear(image, PACKED_AT)
        if stage == "input" and size is not None:
            image = linear(image, size)
        done = ops(image, seed=5, key=was["key"])
        expected = done.image if size is None else linear(done.image, size)
        np.testing.assert_array_equal(stored_pixels(record[1], size), expected)
        assert now["operations"] == [{**row, "stage": stage} for row in done.operations]
        changed = {name for name in was if was[name] != now[name]}
        assert changed == {"operations", "sha256", "pixels_sha256"}
        bgr = np.ascontiguousarray(expected[:, :, ::-1].transpose(2, 0, 1)).tobytes()
        data = bgr if size is not None else encoded_data(record[1])[0]
        assert now["sha256"] == hashlib.sha256(data).hexdigest()
    found, given = about(out), about(source)
    for name in ("classes", "counts", "labels", "sources_sha256"):
        assert found[name] == given[name]
    layout = "native" if size is None else "packed"
    assert (found["size"], found["layout"], found["verb"]) == (size, layout, "degrade")
    assert found["options"] == {
        "content_sha256": [given["content_sha256"]],
        "manifest_sha256": [hashlib.sha256((source / "manifest.jsonl").read_bytes()).hexdigest()],
        "ops": ["sc-mix", "jp-mix"],
        "operations": None,
        "stage": stage,
        "limit": None,
        "seed": 5,
        "splits": ["train", "val", "test"],
        "classes": [],
    }
    assert list(verify([str(out)], n_workers=1)) == []


def test_native_scaling_comes_before_resizing_and_input_scaling_after_it(
    tree: Path, native: Path, degraded: Degraded
) -> None:
    def scaled(image: Pixels) -> Pixels:
        return np.asarray(cv2.resize(image, None, fx=1.5, fy=1.5), np.uint8)

    kept = records(degraded(native, "--op", "sc:+50"))
    first = records(degraded(native, "--op", "sc:+50", "--size", 32))
    last = records(degraded(native, "--op", "sc:+50", "--size", 32, "--stage", "input"))
    for i, record in enumerate(kept):
        image = source_pixels(tree, key_of(record))
        np.testing.assert_array_equal(stored_pixels(record[1], None), scaled(image))
        assert scaled(image).shape == (*(round(1.5 * n) for n in image.shape[:2]), 3)
        before, after = linear(scaled(image), 32), linear(scaled(linear(image, 32)), 32)
        np.testing.assert_array_equal(stored_pixels(first[i][1], 32), before)
        np.testing.assert_array_equal(stored_pixels(last[i][1], 32), after)
        assert (before != after).any()


def test_a_codec_records_its_quality_and_the_ratio_it_achieved(
    tree: Path, native: Path, degraded: Degraded
) -> None:
    out = degraded(native, "--op", "jp75")
    how = [cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111]  # 4:2:0
    for record, sample in zip(records(out), rows(out / "manifest.jsonl"), strict=True):
        bgr = np.ascontiguousarray(source_pixels(tree, sample["key"])[:, :, ::-1])
        _, encoded = cv2.imencode(".jpg", bgr, how)
        with Image.open(io.BytesIO(encoded.tobytes())) as image:
            np.testing.assert_array_equal(stored_pixels(record[1], None), np.asarray(image))
        (row,) = sample["operations"]
        assert row.pop("achieved_ratio") == pytest.approx(bgr.size / len(encoded), abs=1e-4)
        assert row == {"op": "jp:75", "quality": 75, "in_table_ix": True, "stage": "native"}


def test_operations_follow_one_another_and_draw_for_themselves(
    tree: Path, native: Path, degraded: Degraded
) -> None:
    def kernels(path: Path) -> list[list[int]]:
        found = [sample["operations"] for sample in rows(path / "manifest.jsonl")]
        return [[row["kernel"] for row in done if "kernel" in row] for done in found]

    out = degraded(native, "--op", "me-mix", "--op", "sc-mix", "--op", "me-mix")
    for record, sample in zip(records(out), rows(out / "manifest.jsonl"), strict=True):
        first, scale, second = sample["operations"]
        image = cv2.blur(source_pixels(tree, sample["key"]), (first["kernel"],) * 2)
        factor = (100 + scale["percent"]) / 100
        image = cv2.resize(image, None, fx=factor, fy=factor)
        image = cv2.blur(image, (second["kernel"],) * 2)
        np.testing.assert_array_equal(stored_pixels(record[1], None), image)
    assert any(first != second for first, second in kernels(out))
    alone = kernels(degraded(native, "--op", "me-mix"))
    assert alone == [[first] for first, _ in kernels(out)]
    assert alone != kernels(degraded(native, "--op", "me-mix", "--seed", 1))


def test_what_was_done_before_stays_in_the_record(native: Path, degraded: Degraded) -> None:
    twice = degraded(degraded(native, "--op", "gb:3"), "--op", "gc:0.6", "--limit", 1)
    (sample,) = rows(twice / "manifest.jsonl")
    assert [row["op"] for row in sample["operations"]] == ["gb:3", "gc:0.6"]


def test_two_commands_draw_as_one_with_both_operations(native: Path, degraded: Degraded) -> None:
    once = degraded(native, "--op", "jp-mix", "--op", "jp-mix", "--op", "sc-mix")
    twice = degraded(degraded(native, "--op", "jp-mix"), "--op", "jp-mix", "--op", "sc-mix")
    assert records(once) == records(twice)
    assert (once / "manifest.jsonl").read_bytes() == (twice / "manifest.jsonl").read_bytes()


def test_corpora_say_which_compressor_wrote_their_png(native: Path, degraded: Degraded) -> None:
    version = imagecodecs.deflate_version().removeprefix("libdeflate ")
    for corpus in (native, degraded(native, "--op", "me3", "--limit", 1)):
        assert about(corpus)["versions"]["libdeflate"] == version


def test_workers_and_shards_make_the_same_corpus(
    few: Path, tmp_path: Path, degraded: Degraded, run: Run
) -> None:
    op = ("--op", "sc-mix", "--op", "me-mix")
    one, two = (degraded(few, *op, "--workers", n) for n in (1, 2))
    whole = degraded(few, *op, "--limit", 100)
    shards = [degraded(few, *op, "--shard", f"{i}/3", "--limit", 100) for i in (2, 0, 1)]
    merged = run("merge", *shards, "--accept-duplicates", "--out", tmp_path / "m")
    assert merged.exit_code == 0
    assert [len(records(shard)) for shard in shards] == [34, 33, 33]
    for expected, found in ((one, two), (whole, tmp_path / "m")):
        assert records(found) == records(expected)
        files = all_files(found)
        # LMDB's own pages may lie in another order.
        assert {**files, "data.mdb": b""} == {**all_files(expected), "data.mdb": b""}


def test_limit_draws_by_seed_and_key_and_keeps_the_order(few: Path, degraded: Degraded) -> None:
    def keys(*more: object) -> list[str]:
        return [row["key"] for row in rows(degraded(few, "--op", "me3", *more) / "manifest.jsonl")]

    all_keys = [row["key"] for row in rows(few / "manifest.jsonl")]
    found = keys("--limit", 70)
    assert len(found) == 70
    assert found == [key for key in all_keys if key in set(found)]
    assert found == keys("--limit", 70, "--workers", 2)
    fewer = keys("--limit", 20)
    assert set(fewer) < set(found)
    assert fewer != all_keys[:20]
    assert fewer != keys("--limit", 20, "--seed", 1)


def test_split_and_class_choose_samples_and_keep_their_ids(
    native: Path, degraded: Degraded
) -> None:
    splits = ("--split", "train", "--split", "val")
    out = degraded(native, "--op", "me3", "--class", "photo, swap", *splits)
    assert {row["key"] for row in rows(out / "manifest.jsonl")} == {
        key for key in IMAGES if not re.search("test|gan", key)
    }
    ids = {"swap": 1, "photo": 2}
    assert {row["name"]: row["id"] for row in about(out)["classes"]} == ids
    for record in records(out):
        assert encoded_data(record[1])[1] == ids[key_of(record).split("/")[1]]
    assert list(verify([str(out)], n_workers=1)) == []


def test_several_corpora_are_taken_as_one(
    tree: Path, native: Path, tmp_path: Path, degraded: Degraded
) -> None:
    parts = [tmp_path / f"in/{split}.lmdb" for split in ("val", "train", "test")]
    for part in parts:
        build_corpus("folder", tree, part, split=part.stem, **CLASSES)
    op = ("--op", "jp-mix")
    expected = {key_of(record): record[1] for record in records(degraded(native, *op))}
    named = records(degraded(parts[0], *op, *parts[1:]))
    assert [key_of(r).split("/")[0] for r in named] == ["val"] * 2 + ["train"] * 6 + ["test"] * 2
    for found in (named, records(degraded(tmp_path / "in", *op))):
        assert {key_of(record): record[1] for record in found} == expected
    globbed = records(degraded(tmp_path / "in/t*.lmdb", *op))
    assert {key_of(record).split("/")[0] for record in globbed} == {"train", "test"}


def test_a_record_that_cannot_be_read_is_told_and_the_others_survive(
    native: Path, tmp_path: Path, degraded: Degraded, run: Run
) -> None:
    copy = Path(shutil.copytree(native, tmp_path / "in.lmdb"))
    bad = next(record for record in records(copy) if key_of(record) == "train/gan/v1/1.png")
    half = len(bad[1]) // 2
    value = bad[1][:half] + bytes(len(bad[1]) - half - 4) + bad[1][-4:]
    change_records(copy, lambda transaction: transaction.put(bad[0], value))
    out = tmp_path / "x"
    result = run("degrade", copy, "--op", "gb3", "--workers", 1, "--out", out)
    assert result.exit_code == 3
    assert (
        f"inputs without a complete result: 1 unreadable (see {out}/failures.jsonl)"
        in result.output
    )
    (failure,) = rows(out / "failures.jsonl")
    assert (failure["kind"], failure["path"]) == ("unreadable", "train/gan/v1/1.png")
    assert "train/gan/v1/1.png: sha256 of the stored bytes differs" in failure["reason"]
    assert about(out)["failures"] == {"unreadable": 1}
    left = [key_of(record) for record in records(native) if record[0] != bad[0]]
    assert [key_of(record) for record in records(out)] == left
    assert [row["index"] for row in rows(out / "manifest.jsonl")] == list(range(9))
    assert list(verify([str(out)], n_workers=1)) == []
    tolerant = degraded(copy, "--op", "gb3", "--max-failures", 1)  # exits with 0
    assert records(tolerant) == records(out)


def test_the_output_is_named_after_source_and_operations(
    native: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(native, tmp_path / "data.lmdb")
    monkeypatch.chdir(tmp_path)
    more = ("--limit", 2, "--workers", 1)
    result = run("degrade", "--op", "jp-mix", *more, "--json")
    assert json.loads(result.stdout) == about(tmp_path / "data-jp-mix.lmdb")
    assert run("degrade", "--op", "gb3", "--op", "sc:+50", *more).exit_code == 0
    assert run("degrade", "data.lmdb", "--op", "me5", "--shard", "1/2", *more).exit_code == 0
    names = ("data", "data-jp-mix", "data-gb3+sc+50", "data-me5-1of2")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.lmdb" for name in names}


REFUSED = [
    ("", 2, "Name at least one operation in --op, such as jp-mix, or a --suite."),
    ("--op jpg:60", 1, "No operation named 'jpg'. Did you mean 'jp'?"),
    ("--op jpg-mix", 1, "No operation named 'jpg'. Did you mean 'jp'?"),
    ("--op jp", 2, "'jp' lacks a value: jp:60 or jp-mix."),
    ("--op jp24", 2, "'jp24' is ambiguous: write jp:24 or jp2:4."),
    ("--op jp:x", 2, "'jp:x': quality must be a whole number from 1 to 100, got 'x'."),
    ("--op me:4", 2, "'me:4': kernel must be an odd whole number from 1 to 99, got 4."),
    ("--op me3 --class swop", 1, "No class named 'swop'. Did you mean 'swap'?"),
    ("--op me3 --limit 0", 2, "--limit must be at least 1, got 0."),
    ("--op me3 --size 0", 2, "--size must be native or 1 to 4096 px, got 0."),
    ("--op me3 --stage input", 2, "--stage input resizes first: give a --size, such as 128."),
    (
        "--op me3 --class swap --split test",
        1,
        "x.lmdb: no sample is selected; `hffkit inspect` counts them.",
    ),
    ("--op me3 other.lmdb", 2, "Name the output of several sources with --out."),
    (
        "--op me3 nowhere --out y",
        1,
        "nowhere: no such corpus. Name the folder that `hffkit build` wrote.",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_what_cannot_be_done_is_told_in_a_line_and_nothing_is_written(
    native: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.chdir(native.parent)
    assert error_of(run("degrade", "x.lmdb", *arguments.split()), code) == message
    assert [path.name for path in native.parent.iterdir()] == ["x.lmdb"]


def test_a_seed_below_zero_is_no_seed(native: Path, tmp_path: Path, run: Run) -> None:
    result = run("degrade", native, "--op", "jp-mix", "--seed", -1, "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert "-1 is not in the range x>=0" in result.output
    assert not list(tmp_path.glob("x*"))


def test_a_manifest_that_was_cut_is_told(native: Path, tmp_path: Path, run: Run) -> None:
    copy = shutil.copytree(native, tmp_path / "copy.lmdb")
    manifest = copy / "manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    for command in ("degrade", "pack"):
        more = ("--op", "me3") if command == "degrade" else ()
        told = error_of(run(command, copy, *more, "--out", tmp_path / "x"), 1)
        assert told.startswith(f"{manifest}: was altered after the corpus was made: its SHA-256 is")
    make_older(copy)
    told = error_of(run("pack", copy, "--out", tmp_path / "x"), 1)
    assert told == f"{manifest}: 9 lines for 10 samples. Copy the corpus again."
    manifest.unlink()
    told = error_of(run("degrade", copy, "--op", "me3", "--out", tmp_path / "x"), 1)
    assert told == f"{manifest}: cannot be read: No such file or directory."


def test_packed_corpora_have_no_native_pixels(
    native: Path, packed: Path, tmp_path: Path, run: Run
) -> None:
    more = ("--op", "me3", "--out", tmp_path / "x")
    message = error_of(run("degrade", packed, "--stage", "native", *more), 2)
    assert message == "--stage native is impossible: a packed corpus has no native pixels."
    message = error_of(run("degrade", native, packed, *more), 1)
    assert message.endswith("cannot be taken as one: layout is 'packed' and 'native'.")


def test_what_is_there_is_left_alone(native: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "x").write_text("precious")
    message = error_of(run("degrade", native, "--op", "me3", "--out", tmp_path / "x"), 1)
    assert message == f"{tmp_path}/x already exists. Delete it or choose another --out."
    out = tmp_path / "y"
    result = run("degrade", native, "--out", out, "--op", "sc:-99", "--workers", 1)
    assert error_of(result, 1) == (
        f"{out}: no input gave a sample (10 unreadable). The reasons are in "
        f"{out}.partial/corpus/failures.jsonl. Correct the inputs, delete {out}.partial and run "
        "the command again."
    )
    assert error_of(run("degrade", native, "--op", "me5", "--out", out), 1) == (
        f"{out}.partial was begun by another command: options.ops was ['sc:-99'], is now "
        "['me:5']. Run the command that began it, delete it, or choose another --out."
    )
    assert all_files(tmp_path)["x"] == b"precious"


@dataclass(frozen=True)
class Augmented:
    """A data set as torch's loaders take it: images, degraded when they are asked for."""

    tree: Path
    keys: tuple[str, ...]

    def __getitem__(self, place: int) -> Pixels:
        key = self.keys[place]
        image = source_pixels(self.tree, key)
        return chain("sc-mix", "jp-mix")(image, seed=3, key=key).image


def test_augmentation_in_any_order_and_process_draws_what_the_corpus_has(
    tree: Path, native: Path, degraded: Degraded
) -> None:
    stored = records(degraded(native, "--op", "sc-mix", "--op", "jp-mix", "--seed", 3))
    images = Augmented(tree, tuple(map(key_of, stored)))
    order = random.Random(1).sample(range(len(stored)), len(stored))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        loaded = dict(zip(order, pool.map(images.__getitem__, order), strict=True))
    for place, (_, value) in enumerate(stored):
        np.testing.assert_array_equal(loaded[place], stored_pixels(value, None))


def command(source: Path, out: Path, *more: str) -> list[str]:
    arguments = ["degrade", str(source), "--op", "jp2-mix", "--out", str(out), "--workers", "2"]
    return [*HFFKIT, *arguments, *more]


@contextmanager
def under_way(
    arguments: list[str], out: Path, n_bytes: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a command; go on when it has more bytes of units in its manifest."""
    manifest = out.with_name(out.name + ".partial") / "corpus/manifest.jsonl"
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (
            manifest.exists() and manifest.stat().st_size > n_bytes
        ):
            time.sleep(0.01)
        yield process, manifest


def same(out: Path, whole: Path) -> None:
    assert records(out) == records(whole)
    for name in ("corpus.json", "manifest.jsonl", "failures.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert not out.with_name(out.name + ".partial").exists()


@pytest.mark.slow
def test_degrading_that_was_stopped_goes_on_where_it_was(
    many: Path, tmp_path: Path, degraded: Degraded
) -> None:
    out, n_bytes = tmp_path / "x", 0
    for stop, returncode in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with under_way(command(many, out), out, n_bytes) as (process, manifest):
            process.send_signal(stop)
            _, errors = process.communicate()
        n_bytes = manifest.stat().st_size
        assert process.returncode == returncode
        assert b"Traceback" not in errors
        told = b"Interrupted. Finished work is kept: run the same command again to resume."
        assert (told in errors) == (stop == signal.SIGINT)
        assert not out.exists()
    subprocess.run(command(many, out), check=True, capture_output=True)
    same(out, degraded(many, "--op", "jp2-mix", "--workers", 2))


@pytest.mark.slow
def test_degrading_whose_worker_is_killed_gives_the_same_corpus(
    data: Path, tmp_path: Path, degraded: Degraded
) -> None:
    classes: dict[str, Any] = {
        "real": ("real-celeba-stargan128",),
        "fake": ("fake-stargan128", "fake-dcgan128"),
    }
    for name in (*classes["real"], *classes["fake"]):
        (tmp_path / "in" / name).mkdir(parents=True)
        for path in sorted((data / "data/images" / name).iterdir())[:100]:
            (tmp_path / "in" / name / path.name).symlink_to(path)
    source, out = build_corpus("folder", tmp_path / "in", tmp_path / "y", **classes), tmp_path / "x"
    part = ("--size", "128", "--limit", "280")
    with under_way(command(source, out, *part), out, 0) as (process, _):
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        process.communicate()
    assert process.returncode == 0
    same(out, degraded(source, "--op", "jp2-mix", *part))
