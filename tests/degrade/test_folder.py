"""`hffkit degrade` on folders of images and of videos, --preview and --list."""

import hashlib
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType
from click.testing import Result
from makers.trees import (
    Pixels,
    all_files,
    build_corpus,
    face,
    ffpp_paths,
    portrait,
    records,
    rows,
    touch,
    write_clip,
    write_image,
)
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from hffkit.corpus.verify import verify
from hffkit.degrade.chain import chain
from hffkit.degrade.preview import psnr_db
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import StorageError
from hffkit.media.h264 import Encoding, at_rate, transcode, write_video
from hffkit.storage.staging import Partial

Run = Callable[..., Result]

ODD_NAMES = ("with space.jpg", "sub/\u00fcn\u00ef.png", "sub/deep/UPPER.JPG", "x.y.z.png", "';.bmp")
NUMBERED = tuple(f"n/{number:02}.png" for number in range(70))  # with the others, two units


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of images, and a text among them."""
    root = tmp_path_factory.mktemp("pictures") / "in"
    for number, name in enumerate((*ODD_NAMES, *NUMBERED)):
        write_image(root / name, number, size=(30 + number % 7, 25))
    return touch(root, "sub/notes.txt")


def error_of(result: Result, code: int) -> str:
    """Return the one line with which a command failed."""
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("Error: ")


def degraded(run: Run, source: Path, out: Path, *more: object) -> Path:
    result = run("degrade", source, "--out", out, "--workers", 1, *more)
    assert result.exit_code == 0, result.output
    return out


def opened(path: Path) -> Pixels:
    """Return the pixels of a PNG by Pillow."""
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def read(path: Path) -> Pixels:
    """Return the pixels of an image by cv2."""
    bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.ascontiguousarray(bgr[:, :, ::-1], np.uint8)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames_of(path: Path) -> list[Pixels]:
    """Return the frames of a video by the plainest loop that cv2 has."""
    capture = cv2.VideoCapture(str(path))
    frames: list[Pixels] = []
    while True:
        ok, bgr = capture.read()
        if not ok:
            return frames
        frames.append(np.asarray(bgr[:, :, ::-1], np.uint8))


def test_names_of_any_bytes_are_kept(tmp_path: Path, run: Run) -> None:
    name = os.fsdecode(b"\xff\xe9 x")
    image = write_image(tmp_path / f"images/{name}.png", 1)
    write_clip(tmp_path / f"videos/{name}.mp4", n_frames=3)
    done = degraded(run, tmp_path / "images", tmp_path / "i", "--op", "jp-mix")
    (row,) = rows(done / "manifest.jsonl")
    assert row["path"] == row["source"] == f"{name}.png"
    expected = chain("jp-mix")(read(image), seed=0, key=f"{name}.png")
    assert np.array_equal(opened(done / row["path"]), expected.image)
    assert row["sha256"] == sha256(done / row["path"])
    done = degraded(run, tmp_path / "videos", tmp_path / "v", "--op", "gb-mix", "--op", "h264:30")
    (row,) = rows(done / "manifest.jsonl")
    assert row["path"] == row["source"] == f"{name}.mp4"
    assert row["sha256"] == sha256(done / row["path"])


def test_a_tree_of_images_gives_the_same_tree_of_what_the_chain_makes(
    images: Path, tmp_path: Path, run: Run
) -> None:
    op = ("--op", "sc-mix", "--op", "jp-mix", "--seed", 3)
    result = run("degrade", images, *op, "--out", tmp_path / "out", "--workers", 2)
    assert result.stdout == f"{tmp_path}/out: 75 files after sc-mix, jp-mix\n"
    assert "1 file neither image nor video (1 .txt): sub/notes.txt" in result.stderr
    out, ops = tmp_path / "out", chain("sc-mix", "jp-mix")
    found = rows(out / "manifest.jsonl")
    assert [row["source"] for row in found] == sorted((*ODD_NAMES, *NUMBERED))
    for row in found:
        source, made = images / row["source"], out / row["path"]
        done = ops(read(source), seed=3, key=row["source"])
        np.testing.assert_array_equal(opened(made), done.image)
        bgr = np.ascontiguousarray(done.image[:, :, ::-1].transpose(2, 0, 1)).tobytes()
        size = " ".join(map(str, done.image.shape[:2])).encode()
        assert row == {
            "path": str(Path(row["source"]).with_suffix(".png")),
            "source": row["source"],
            "source_sha256": sha256(source),
            "sha256": sha256(made),
            "pixels_sha256": hashlib.sha256(bgr + size).hexdigest(),
            "operations": [{**step, "stage": "native"} for step in done.operations],
        }
    texts = {"manifest.jsonl", "failures.jsonl", "degrade.json"}
    assert set(all_files(out)) == {row["path"] for row in found} | texts
    about = json.loads((out / "degrade.json").read_text("utf-8"))
    assert (about["n_files"], about["failures"], about["seed"]) == (75, {}, 3)
    assert (about["ops"], about["stage"]) == (["sc-mix", "jp-mix"], "native")
    assert about["versions"]["opencv"] == cv2.__version__
    again = degraded(run, images, tmp_path / "again", *op)
    assert all_files(again) == all_files(out)


@pytest.mark.parametrize("stage", ["native", "input"])
def test_size_makes_images_of_that_size(images: Path, tmp_path: Path, run: Run, stage: str) -> None:
    more = ("--size", 16, "--stage", stage, "--limit", 3)
    out = degraded(run, images, tmp_path / "out", "--op", "sc:-45", *more)
    for row in rows(out / "manifest.jsonl"):
        image = read(images / row["source"])
        if stage == "input":
            image = np.asarray(cv2.resize(image, (16, 16)), np.uint8)
        image = np.asarray(cv2.resize(image, None, fx=0.55, fy=0.55), np.uint8)
        np.testing.assert_array_equal(opened(out / row["path"]), cv2.resize(image, (16, 16)))
        assert row["operations"][0]["stage"] == stage


def test_limit_draws_files_by_the_seed(images: Path, tmp_path: Path, run: Run) -> None:
    def drawn(name: str, *more: object) -> list[str]:
        out = degraded(run, images, tmp_path / name, "--op", "me3", "--limit", 9, *more)
        return [row["source"] for row in rows(out / "manifest.jsonl")]

    few = drawn("1")
    assert len(few) == 9
    assert few == sorted(few) == drawn("2", "--workers", 2)
    assert few != drawn("3", "--seed", 1)


def test_a_image_that_cannot_be_read_is_told_and_the_others_survive(
    tmp_path: Path, run: Run
) -> None:
    root, out = tmp_path / "faces", tmp_path / "faces-me3"
    whole = write_image(root / "a.jpg", size=(90, 90)).read_bytes()
    (root / "sub").mkdir()
    (root / "sub/cut.jpg").write_bytes(whole[: len(whole) // 2])
    result = run("degrade", root, "--op", "me3", "--workers", 1, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == json.loads((out / "degrade.json").read_text("utf-8"))
    (failure,) = rows(out / "failures.jsonl")
    assert (failure["kind"], failure["path"]) == ("unreadable", "sub/cut.jpg")
    assert failure["reason"] == "cut short: the JPEG's end is missing"
    assert {path.name for path in out.rglob("*") if path.suffix == ".png"} == {"a.png"}
    allowed = ("--max-failures", 1, "--out", tmp_path / "x")
    assert run("degrade", root, "--op", "me3", *allowed).exit_code == 0
    (root / "a.jpg").write_bytes(b"")
    message = error_of(run("degrade", root, "--op", "me3", "--out", tmp_path / "y"), 1)
    assert message == (
        f"{tmp_path}/y: no file could be degraded; {tmp_path}/y.partial/corpus/failures.jsonl has "
        "the reason for each input."
    )


FOLDERS = "--split, --class and --shard are for corpora: a folder has no splits and classes."
VIDEOS = (
    "operations on whole videos must end in one h264:CRF, such as h264:40; those before it are "
    "applied to each frame."
)
TWICE = "Select a --quality of videos, rename one, or name a folder that holds only one."
REFUSED = [
    ("empty --op me3", 1, "empty is no corpus, and holds no image or video."),
    ("twins --op me3", 1, f"twins: a.jpg and a.png would both become a.png. {TWICE}"),
    (
        "c2340 --op h264:40",
        1,
        "c2340: c23/videos/0.mp4 and c40/videos/0.mp4 would both become c40/videos/0.mp4. " + TWICE,
    ),
    ("both --op h264:40", 1, "both holds 1 video and 1 image. Name a folder of one kind."),
    ("one --op me3 --split train", 2, FOLDERS),
    ("one --op me3 --class real", 2, FOLDERS),
    ("one --op me3 --shard 0/2", 2, FOLDERS),
    (
        "one --op me3 --stage input",
        2,
        "--stage input resizes first: give a --size, such as 128.",
    ),
    ("clips --op jp:60", 2, VIDEOS),
    ("clips --op h264-mix", 2, VIDEOS),
    ("clips --op h264:23 --op h264:40", 2, VIDEOS),
    ("clips --op h264:23 --op jp:60", 2, VIDEOS),
    ("clips --suite deeperforensics:1", 2, VIDEOS),
    ("clips --op h264:40 --size 9", 2, "--size is for images: whole videos keep their size."),
    ("clips --op h264:52", 2, "'h264:52': crf must be a whole number from 0 to 51, got 52."),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_what_cannot_be_done_with_a_folder_is_told_in_a_line_and_nothing_is_written(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "twins/a.jpg", "twins/a.png", "both/a.jpg", "both/a.mp4", "one/a.png")
    touch(tmp_path, "clips/a.mp4", "c2340/c23/videos/0.mp4", "c2340/c40/videos/0.mp4")
    before = set(tmp_path.rglob("*"))
    assert error_of(run("degrade", *arguments.split()), code) == message
    assert set(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def clips(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The middle of the first frames of two clips of FaceForensics++ in its layout, c23."""
    root = tmp_path_factory.mktemp("clips") / "ff++"
    for name, n_frames in (
        ("original_sequences/youtube/c23/videos/004.mp4", 14),
        ("manipulated_sequences/NeuralTextures/c23/videos/004_982.mp4", 9),
    ):
        (root / name).parent.mkdir(parents=True)
        capture = cv2.VideoCapture(str(data / "data/ffpp" / name))
        frames = [capture.read()[1][200:440, 384:896, ::-1] for _ in range(n_frames)]
        write_video(root / name, [np.ascontiguousarray(f, np.uint8) for f in frames], crf=10)
    return root


def mean_psnr(frames: list[Pixels], others: list[Pixels]) -> float:
    pairs = zip(frames, others, strict=True)
    return float(np.mean([peak_signal_noise_ratio(one, other) for one, other in pairs]))  # type: ignore[no-untyped-call]


def test_videos_of_ffpp_are_compressed_as_wholes_and_take_the_place_of_their_quality(
    clips: Path, tmp_path: Path, run: Run
) -> None:
    found = {}
    for crf in (23, 40):
        out = degraded(run, clips, tmp_path / str(crf), "--op", f"h264:{crf}", "--workers", 2)
        found[crf] = rows(out / "manifest.jsonl")
        videos = {str(path.relative_to(out)) for path in out.rglob("*.mp4")}
        assert sorted(videos) == [row["path"] for row in found[crf]]
    for mild, harsh in zip(found[23], found[40], strict=True):
        source = clips / harsh["source"]
        assert harsh["path"] == harsh["source"].replace("/c23/", "/c40/")
        assert mild["path"] == mild["source"]
        before = frames_of(source)
        after = {crf: frames_of(tmp_path / f"{crf}/{row['path']}") for crf, row in
                 ((23, mild), (40, harsh))}  # fmt: skip
        assert len(before) == harsh["n_frames"] == harsh["n_claimed"] > 8
        assert mean_psnr(before, after[40]) + 3 < mean_psnr(before, after[23])
        assert mean_psnr(before, after[40]) > 25
        assert harsh["source_sha256"] == sha256(source)
        assert harsh["sha256"] == sha256(tmp_path / "40" / harsh["path"])
        assert harsh["operations"] == [{"op": "h264:40", "crf": 40, "in_table_ix": False}]
        with av.open(str(tmp_path / "40" / harsh["path"])) as video:
            kinds = [PictureType(frame.pict_type).name for frame in video.decode(video=0)]
            assert video.streams.video[0].codec_context.name == "h264"
        assert kinds[0] == "I"
        assert set(kinds[1:]) <= {"P", "B"}
    again = degraded(run, clips, tmp_path / "again", "--op", "h264:40")
    assert all_files(again) == all_files(tmp_path / "40")


def test_what_was_made_of_a_tree_is_built_as_that_quality(tmp_path: Path, run: Run) -> None:
    for first, name in enumerate(ffpp_paths("000", "000_003", quality="raw")):
        write_clip(tmp_path / "in" / name, n_frames=4, first=first, crf=0)
    made = tmp_path / "made"
    degraded(run, tmp_path / "in", made, "--op", "h264:40")
    assert {str(path.relative_to(made)) for path in made.rglob("*.mp4")} == set(
        ffpp_paths("000", "000_003", quality="c40")
    )
    out = tmp_path / "x.lmdb"
    how = ("--quality", "c40", "--frames", 2, "--workers", 1)
    result = run("build", "ff++", "--src", made, *how, "--out", out)
    assert result.exit_code == 0, result.output
    assert len(records(out)) == 2 * 5  # the paper's classes: not FaceShifter
    assert {key.decode().split("/")[1] for key, _ in records(out)} == {"c40"}
    assert list(verify([str(out)], n_workers=1)) == []
    again = degraded(run, tmp_path / "in", tmp_path / "mild", "--op", "h264:23")
    assert {row["path"] for row in rows(again / "manifest.jsonl")} == set(
        ffpp_paths("000", "000_003")
    )


def write(path: Path, n_frames: int, **stream: Any) -> Path:
    """Write a video of the portrait by PyAV, its index in front."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as file:
        video: Any = file.add_stream("libx264", rate=25, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for name, value in stream.items():
            setattr(video, name, value)
        for number in range(n_frames):
            image = np.ascontiguousarray(face(number)[: video.height, : video.width])
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(video.encode(None))
    return path


def packet_starts(path: Path) -> list[int]:
    """Return the bytes at which the packets of a video begin, in the file's order."""
    with av.open(str(path)) as video:
        return sorted(packet.pos for packet in video.demux(video=0) if packet.pos)


def test_sides_that_are_odd_are_padded_by_a_repeated_pixel(tmp_path: Path, run: Run) -> None:
    source = write(tmp_path / "in/a.mkv", 5, width=87, height=65, pix_fmt="yuv444p")
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:0")  # lossless
    before, after = frames_of(source), frames_of(out / "a.mp4")
    assert (before[0].shape, after[0].shape) == ((65, 87, 3), (66, 88, 3))
    for image, frame in zip(before, after, strict=True):
        np.testing.assert_array_equal(frame[:65, :87], image)
        np.testing.assert_array_equal(frame[:, 86], frame[:, 87])
        np.testing.assert_array_equal(frame[64], frame[65])


def test_operations_before_h264_are_applied_to_each_frame(tmp_path: Path, run: Run) -> None:
    source = write(tmp_path / "in/a.mp4", 4)
    names = ("fit:100", "noise:5", "jp-mix")
    arguments = [part for name in (*names, "h264:0") for part in ("--op", name)]
    out = degraded(run, tmp_path / "in", tmp_path / "out", *arguments)
    (row,) = rows(out / "manifest.jsonl")
    resized, noisy, compressed, encoded = row["operations"]
    assert (row["path"], row["n_frames"]) == ("a.mp4", 4)
    assert resized == {"op": "fit:100", "long_side": 100, "in_table_ix": False}
    assert noisy == {"op": "noise:5.0", "sigma": 5.0, "in_table_ix": False}
    quality = compressed["quality"]  # one for the whole video
    assert compressed == {"op": "jp-mix", "quality": quality, "in_table_ix": True}
    assert encoded == {"op": "h264:0", "crf": 0, "in_table_ix": False}
    chained = chain("fit:100", "noise:5", f"jp:{quality}")
    expected = [chained(frame, seed=0, key="").image for frame in frames_of(source)]
    found = frames_of(out / "a.mp4")  # h264:0 is lossless
    assert [frame.shape for frame in found] == [(60, 100, 3)] * 4
    np.testing.assert_array_equal(found, expected)
    again = degraded(run, tmp_path / "in", tmp_path / "again", *arguments, "--workers", 2)
    assert all_files(again) == all_files(out)


def key_frames(path: Path) -> list[int]:
    """Return the numbers of the key frames, in the order of decoding."""
    with av.open(str(path)) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
    return [number for number, packet in enumerate(packets) if packet.is_keyframe]


def test_key_frames_are_at_most_as_far_apart_as_asked_for(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in/a.mp4", 24)
    plain = degraded(run, tmp_path / "in", tmp_path / "plain", "--op", "h264:23")
    assert key_frames(plain / "a.mp4") == [0]
    for gap in (1, 5):
        more = ("--op", f"gop:{gap}", "--op", "h264:23")
        out = degraded(run, tmp_path / "in", tmp_path / str(gap), *more)
        numbers = [*key_frames(out / "a.mp4"), 24]
        assert max(np.diff(numbers)) == gap
        (row,) = rows(out / "manifest.jsonl")
        assert row["operations"] == [
            {"op": f"gop:{gap}", "frames": gap, "in_table_ix": False},
            {"op": "h264:23", "crf": 23, "in_table_ix": False},
        ]


def test_frame_rate_is_changed(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in/a.mp4", 25)
    ops = ("--op", "fps:10", "--op", "h264:18")
    out = degraded(run, tmp_path / "in", tmp_path / "out", *ops)
    (row,) = rows(out / "manifest.jsonl")
    assert (row["n_frames"], row["n_read"], row["n_claimed"]) == (10, 25, 25)
    assert row["operations"] == [
        {"op": "fps:10", "frames_per_second": 10, "in_table_ix": False},
        {"op": "h264:18", "crf": 18, "in_table_ix": False},
    ]
    assert rows(out / "failures.jsonl") == []
    with av.open(str(out / "a.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([place / 10 for place in range(10)])


FRAME_TIMES: list[tuple[list[int], Fraction, int]] = [
    (list(range(30)), Fraction(1, 30), 15),
    (list(range(25)), Fraction(1, 25), 15),
    (list(range(10)), Fraction(1, 25), 60),
    (list(range(5, 20)), Fraction(1, 25), 10),
    ([0, 1, 2, 9, 10, 11], Fraction(1, 25), 25),
    ([0, 4, 8, 12, 20], Fraction(1, 100), 24),
]


@pytest.mark.parametrize(("times", "base", "rate"), FRAME_TIMES)
def test_frames_are_dropped_and_repeated_as_ffmpegs_filter_does(
    times: list[int], base: Fraction, rate: int
) -> None:
    def given() -> Iterator[Any]:
        for number, time in enumerate(times):
            grey = np.full((16, 16, 3), number, np.uint8)
            frame: Any = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base, frame.duration = time, base, 1
            yield frame

    def seen(frame: Any) -> tuple[int, int]:
        return frame.pts, int(frame.to_ndarray(format="rgb24")[0, 0, 0])

    graph: Any = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format="rgb24", time_base=base)
    change, sink = graph.add("fps", f"fps={rate}"), graph.add("buffersink")
    source.link_to(change)
    change.link_to(sink)
    graph.configure()
    for frame in (*given(), None):
        source.push(frame)
    expected = []
    with suppress(EOFError):
        while True:
            expected.append(seen(sink.pull()))
    assert [seen(frame) for frame in at_rate(given(), 1 / base, rate)] == expected


def test_operations_for_videos_are_refused_on_a_folder_of_images(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "in/a.png")
    for words in (("--op", "gop:5"), ("--suite", "dfdc-preview:1")):
        result = run("degrade", tmp_path / "in", *words, "--out", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert "for whole videos only, and these are images" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_severity_of_a_suite_is_drawn_for_each_video(tmp_path: Path, run: Run) -> None:
    videos = "original_sequences/youtube/c23/videos"
    for number in range(8):
        write(tmp_path / f"in/{videos}/{number:03}.mp4", 2)
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--suite", "social-video:1")
    made = rows(out / "manifest.jsonl")
    # Not divided by the rate factor, or real videos and their forgeries would be apart.
    assert {row["path"] for row in made} == {f"{videos}/{number:03}.mp4" for number in range(8)}
    drawn = {tuple(done["op"] for done in row["operations"]) for row in made}
    assert len(drawn) > 1
    assert drawn <= {("h264:18",), ("fit:1280", "h264:23"), ("fit:854", "h264:23")}
    assert {done["suite"] for row in made for done in row["operations"]} == {"social-video:1"}


def test_a_video_too_small_for_an_operation_is_told(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in/a.mp4", 2)
    write(tmp_path / "in/b.mp4", 2, width=16, height=8)
    out = tmp_path / "out"
    result = run("degrade", tmp_path / "in", "--op", "blocks:4", "--op", "h264:23", "--out", out)
    assert result.exit_code == 3, result.output
    (failure,) = rows(out / "failures.jsonl")
    assert (failure["path"], failure["reason"]) == (
        "b.mp4",
        "16x8 pixels are too few for blocks of 8 px",
    )
    assert [path.name for path in out.glob("*.mp4")] == ["a.mp4"]


def test_a_video_that_says_it_is_turned_is_written_upright(tmp_path: Path, run: Run) -> None:
    source = write(tmp_path / "in/a.mp4", 4)
    content = source.read_bytes()
    matrix = content.index(b"tkhd") + 44  # of the track: version, times, id, ..., then nine words
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 96 << 16, 0, 1 << 30)
    source.write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:10")
    before, after = frames_of(source), frames_of(out / "a.mp4")
    assert before[0].shape == after[0].shape == (160, 96, 3)
    assert mean_psnr(before, after) > 35


@pytest.mark.parametrize("into_packet", [0, 9])
def test_a_video_that_was_cut_short_is_compressed_as_far_as_it_goes(
    tmp_path: Path, run: Run, into_packet: int
) -> None:
    source = write(tmp_path / "in/a.mp4", 30)
    whole, starts = source.read_bytes(), packet_starts(source)
    source.write_bytes(whole[: starts[20] + into_packet])
    n_left = len(frames_of(source))
    assert 10 < n_left < 30
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:40")
    n_made = len(frames_of(out / "a.mp4"))
    assert n_left <= n_made <= 20  # OpenCV gives up the frames that the decoder still holds
    assert rows(out / "failures.jsonl") == [
        {"frame": n_made, "kind": "short-read", "path": "a.mp4",
         "reason": f"{n_made} of the 30 frames that its header claims"}
    ]  # fmt: skip


def test_damaged_videos_are_told_and_leave_no_file(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "in"
    whole = write(root / "good.mp4", 80).read_bytes()
    at = packet_starts(root / "good.mp4")[70]  # by then something has been written
    (root / "damaged.mp4").write_bytes(whole[: at + 4] + b"\xff" * 60 + whole[at + 64 :])
    (root / "empty.mp4").write_bytes(b"")
    (root / "text.avi").write_text("404: not found\n")
    (root / "half.mp4").write_bytes(whole[: whole.index(b"mdat") + 8])
    out = tmp_path / "out"
    result = run("degrade", root, "--op", "h264:40", "--out", out, "--workers", 1)
    assert result.exit_code == 3
    failures = {row["path"]: row for row in rows(out / "failures.jsonl")}
    assert {row["kind"] for row in failures.values()} == {"unreadable"}
    assert set(failures) == {"damaged.mp4", "empty.mp4", "half.mp4", "text.avi"}
    assert failures["damaged.mp4"]["reason"] == "a frame in the middle of it is damaged"
    assert [row["path"] for row in rows(out / "manifest.jsonl")] == ["good.mp4"]
    assert {path.name for path in out.rglob("*") if not path.name.endswith(("jsonl", "json"))} == {
        "good.mp4"
    }


BT709 = {"colorspace": 1, "color_primaries": 1, "color_trc": 1}


@pytest.mark.parametrize(
    ("how", "crf"),
    [
        ({"pix_fmt": "yuvj420p"}, 10),
        ({"pix_fmt": "yuvj420p"}, 0),
        (BT709, 10),
        (BT709, 0),
    ],
)
def test_colours_stay_whatever_their_coding(
    tmp_path: Path, run: Run, how: dict[str, Any], crf: int
) -> None:
    source = write(tmp_path / "in/a.mp4", 4, **how)
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", f"h264:{crf}")
    before, after = (np.array(frames_of(path), float) for path in (source, out / "a.mp4"))
    np.testing.assert_allclose(after.mean((0, 1, 2)), before.mean((0, 1, 2)), atol=0.7)


def test_whole_videos_do_not_depend_on_what_memory_held_before(tmp_path: Path) -> None:
    source, usual = write_clip(tmp_path / "a.mp4", n_frames=12), tmp_path / "b.mp4"
    transcode(source, usual, Encoding(40))
    program = (
        "import sys; from pathlib import Path; from hffkit.media.h264 import Encoding, transcode;"
        "transcode(Path(sys.argv[1]), Path(sys.argv[2]), Encoding(40))"
    )
    found = {sha256(usual)}
    for fill in ("77", "200"):  # what glibc fills memory with
        out = tmp_path / f"{fill}.mp4"
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        arguments = [sys.executable, "-c", program, str(source), str(out)]
        subprocess.run(arguments, check=True, env=environment)
        found.add(sha256(out))
    assert len(found) == 1


def test_a_link_that_leads_nowhere_is_recorded(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").symlink_to("nowhere.png")
    result = run("degrade", tmp_path / "in", "--op", "me3", "--workers", 1)
    assert result.exit_code == 3
    assert [row["path"] for row in rows(tmp_path / "in-me3/failures.jsonl")] == ["b.png"]


def test_a_name_that_is_not_utf8_is_no_bug(tmp_path: Path, run: Run) -> None:
    good = write_image(tmp_path / "in/a.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/\xff.png")).write_bytes(good.read_bytes())
    result = run("degrade", tmp_path / "in", "--op", "jp-mix", "--workers", 1)
    assert result.exit_code in (0, 3)


def test_an_output_inside_the_source_is_refused(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "in/a.png")
    out = tmp_path / "in/me3"
    result = run("degrade", tmp_path / "in", "--op", "me3", "--out", out)
    assert result.exit_code == 2
    assert "would be read as well. Move it." in result.output
    assert not out.exists()


def test_list_shows_every_operation(run: Run) -> None:
    result = run("degrade", "--list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()[2:]
    assert [line.split("`")[3] for line in lines] == [f"{code}-mix" for code in OPERATIONS]
    assert all(op.title in line for op, line in zip(OPERATIONS.values(), lines, strict=True))
    others = [
        code for code, line in zip(OPERATIONS, lines, strict=True) if "(not in Table IX)" in line
    ]
    assert others == [code for code in OPERATIONS if code not in TABLE_IX]


@pytest.mark.parametrize("op", ["me:3", "jp:60", "jp2:8.0", "sc:-45", "sc:+90", "gc:2.0"])
def test_psnr_is_that_of_scikit_image(op: str) -> None:
    image = portrait()[40:201, 140:301]
    other = chain(op)(image, seed=0, key="").image
    back = other
    if other.shape != image.shape:
        back = np.asarray(cv2.resize(other, (161, 161), interpolation=cv2.INTER_LINEAR), np.uint8)
    expected = peak_signal_noise_ratio(image, back)  # type: ignore[no-untyped-call]
    assert psnr_db(image, other) == pytest.approx(expected, abs=1e-9)
    assert math.isinf(psnr_db(image, image.copy()))


def test_a_preview_of_what_is_no_image_is_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "text.jpg").write_text("404")
    result = run("degrade", "--preview", tmp_path / "text.jpg", "--out", tmp_path / "x.png")
    assert error_of(result, 1).endswith("no image: starts with '404'")
    assert not (tmp_path / "x.png").exists()


def test_a_preview_never_overwrites_its_image(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hffkit.degrade.preview.contact_sheet", lambda *_: pytest.fail("drawn"))
    picture = write_image(tmp_path / "a.png")
    before = picture.read_bytes()
    result = run("degrade", "--preview", picture, "--out", picture)
    assert (result.exit_code, picture.read_bytes()) == (2, before)
    result = run("degrade", "--preview", picture, "--out", tmp_path / "sheet.txt")
    assert result.output == (
        f"Error: {tmp_path}/sheet.txt: a contact sheet is a PNG file. Name one ending in .png.\n"
    )
    result = run("degrade", "--preview", tmp_path / "b.png")
    assert result.output == f"Error: {tmp_path}/b.png: cannot be read: No such file or directory\n"


def test_a_single_image_is_no_source(tmp_path: Path, run: Run) -> None:
    result = run("degrade", write_image(tmp_path / "a.png"), "--op", "me3")
    assert result.exit_code == 2
    assert "a.png is a file. Name a corpus or a folder, or --preview it." in result.output


def test_what_a_vanished_source_left_is_not_published(tmp_path: Path, run: Run) -> None:
    for name in "ab":
        write_image(tmp_path / f"in/{name}.png")
    out = tmp_path / "out"
    command = ("degrade", tmp_path / "in", "--op", "me3", "--out", out)

    def fail(*_: object) -> None:
        raise StorageError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hffkit.degrade.folder._describe", fail)
        assert run(*command).exit_code == 1
    (tmp_path / "out.partial/corpus/c.png").write_bytes(b"of a run that was killed")
    assert run(*command).exit_code == 0
    assert {path.name for path in out.glob("*.png")} == {"a.png", "b.png"}


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_finished_file_that_was_damaged_meanwhile_is_made_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    for name in "ab":
        write_image(tmp_path / f"in/{name}.png")
    words = ("degrade", tmp_path / "in", "--op", "me3", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Partial, "publish", stop)
        assert run(*words).exit_code == 130
    made = tmp_path / "out.partial/corpus/a.png"
    whole = made.read_bytes()
    damage(made)
    assert run(*words).exit_code == 0
    assert (tmp_path / "out/a.png").read_bytes() == whole


def stop(_: Partial) -> None:
    raise KeyboardInterrupt


def test_a_quality_of_a_tree_with_several_is_read_and_masks_are_left_out(
    tmp_path: Path, run: Run
) -> None:
    for place in ("raw/videos/0.mp4", "c23/videos/0.mp4", "masks/videos/0.mp4"):
        write(tmp_path / "in/Deepfakes" / place, 3)
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:23", "--quality", "raw")
    (row,) = rows(out / "manifest.jsonl")
    assert row["source"] == "Deepfakes/raw/videos/0.mp4"
    assert row["path"] == "Deepfakes/c23/videos/0.mp4"
    (note,) = json.loads((out / "degrade.json").read_text())["notes"]
    assert note.startswith(
        "not read: 2 files of another kind or folder than this command reads: Deepfakes/c23/vi"
    )
    words = ("--op", "h264:23", "--quality", "c40", "--out", tmp_path / "none")
    result = run("degrade", tmp_path / "in", *words)
    assert result.exit_code == 1
    assert "holds no video of the --quality c40; found: c23, none, raw." in result.output


def test_files_beside_the_trees_of_the_dataset_are_counted(tmp_path: Path, run: Run) -> None:
    for place in (*ffpp_paths("000", "000_003")[:2], "other/a.mp4", "b.mp4"):
        write(tmp_path / "in" / place, 3)
    out = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:23")
    assert len(rows(out / "manifest.jsonl")) == 2
    assert json.loads((out / "degrade.json").read_text())["notes"] == [
        "not read: 2 files of another kind or folder than this command reads: b.mp4, other/a.mp4."
    ]


def test_raw_may_be_called_c0(tmp_path: Path, run: Run) -> None:
    for place in ("c0/videos/0.mp4", "c05/videos/1.mp4"):
        write(tmp_path / "in/Deepfakes" / place, 3)
    for name in ("raw", "c0"):
        out = degraded(run, tmp_path / "in", tmp_path / name, "--op", "h264:23", "--quality", name)
        (row,) = rows(out / "manifest.jsonl")
        assert (row["source"], row["path"]) == (
            "Deepfakes/c0/videos/0.mp4", "Deepfakes/c23/videos/0.mp4"
        )  # fmt: skip


def test_a_frame_damaged_in_the_middle_is_told(tmp_path: Path, run: Run) -> None:
    source = write(tmp_path / "in/a.mp4", 30)
    starts, content = packet_starts(source), bytearray(source.read_bytes())
    end = max(range(2, 28), key=lambda n: starts[n] - starts[n - 1])  # of a packet worth damaging
    half = (starts[end - 1] + starts[end]) // 2
    content[half : starts[end]] = bytes(starts[end] - half)
    source.write_bytes(content)
    write(tmp_path / "in/b.mp4", 3)
    out = tmp_path / "out"
    result = run("degrade", tmp_path / "in", "--op", "h264:40", "--out", out, "--workers", 1)
    assert result.exit_code == 3
    assert [row["path"] for row in rows(out / "failures.jsonl")] == ["a.mp4"]
    assert not (out / "a.mp4").exists()


def test_avi_keeps_its_frames_in_order(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in/b.avi", 20)  # with B-frames
    made = degraded(run, tmp_path / "in", tmp_path / "out", "--op", "h264:10") / "b.mp4"
    before, after = frames_of(tmp_path / "in/b.avi"), frames_of(made)
    assert len(before) == len(after) == 20
    assert mean_psnr(before, after) > 35


def test_a_full_disk_is_no_fault_of_the_source(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", 30)
    with pytest.raises(StorageError, match=r"^/dev/full: cannot be written: No space left"):
        transcode(source, Path("/dev/full"), Encoding(10))


def test_corpora_and_sheets_in_a_dataset_are_none_of_its_files(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "ff++"
    for path in ffpp_paths("004", "004_982")[:2]:
        write_clip(root / path, n_frames=2)
    write_image(root / "data-sheet.png")
    write_image(root / "in/a/1.png")
    write_image(root / "in/b/2.png")
    build_corpus("folder", root / "in", root / "data.lmdb", real=("a",), fake=("b",))
    out = degraded(run, root, tmp_path / "out", "--op", "h264:40")
    made = {row["path"] for row in rows(out / "manifest.jsonl")}
    assert made == {path.replace("c23", "c40") for path in ffpp_paths("004", "004_982")[:2]}
    # In a folder of corpora sheets are no dataset, and where images may be one nothing is guessed.
    (root / "data.lmdb").rename(root / "in/data.lmdb")
    result = run("degrade", root / "in", "--op", "me3", "--out", tmp_path / "x")
    assert error_of(result, 1) == (
        f"{root}/in holds the corpus data.lmdb and folders of images. Name the corpus, or move it "
        "out of the dataset."
    )
    (tmp_path / "work").mkdir()
    (root / "in/data.lmdb").rename(tmp_path / "work/data.lmdb")
    write_image(tmp_path / "work/data-sheet.png")
    assert len(records(degraded(run, tmp_path / "work", tmp_path / "y", "--op", "me3"))) == 2
