import base64
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Run as Invoke
from makers.runs import THREE, caffe_softmax, write_run
from makers.trees import (
    SMALL_BOX,
    Pixels,
    build_corpus,
    build_two_classes,
    face,
    portrait,
    small_portrait,
    write_clip,
    write_image,
)
from PIL import Image

from hffkit.errors import ArgumentError
from hffkit.faces.search import FaceSearch
from hffkit.inference.intake import PixelIntake
from hffkit.inference.predict import FacePrediction, FilePrediction, PredictRequest, predict
from hffkit.inference.reading import FaceReader, read_files
from hffkit.interop.convert import convert
from hffkit.media.video import open_clip
from hffkit.networks.table import NETWORKS, build
from hffkit.runs.run import read_run
from hffkit.runs.training_samples import write_training_samples
from hffkit.runs.weights import read_weights, write_weights
from hffkit.storage.corpus import Corpus

SIZE = 64
BOX = [162, 63, 117]  # of the portrait's face, 1.3 times what dlib finds


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "three", THREE, seed=1, size=SIZE)


def save(path: Path, pixels: npt.NDArray[Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


@pytest.mark.parametrize("hashes", [False, True])
def test_files_are_hashed_only_to_compare_them_with_training_samples(
    tmp_path: Path, *, hashes: bool
) -> None:
    path = write_image(tmp_path / "a.png")
    intake = PixelIntake(SIZE, NETWORKS["meso4"].input)
    (read,) = read_files([path], FaceReader(FaceSearch(1, whole=True), intake, hashes=hashes))
    assert len(read.faces) == 1
    assert read.sha256 == (hashlib.sha256(path.read_bytes()).hexdigest() if hashes else "")


def predicted(run: Path, *paths: Path, **how: Any) -> dict[str, Any]:
    found = predict(PredictRequest(run, paths, device="cpu", **how)).to_json()
    return dict(json.loads(json.dumps(found)))


def by_hand(run: Path, crops: Sequence[Pixels]) -> list[float]:
    """The probability of fake of RGB crops, by Pillow and Meso-4 alone: Keras's filter."""
    about = read_run(run)
    net = build(about.network, len(about.classes.names), about.size)
    net.load_state_dict(read_weights(run))
    nearest = Image.Resampling.NEAREST
    small = [np.asarray(Image.fromarray(crop).resize((SIZE, SIZE), nearest)) for crop in crops]
    images = torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with torch.inference_mode():
        softmax = net.eval()(images).softmax(1).numpy()
    return [float(row[0]) + float(row[1]) for row in softmax]


def overlap(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection over union of two (x, y, size)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] ** 2 + b[2] ** 2 - shared)


def around(edges: Sequence[int], size: tuple[int, int]) -> list[int]:
    """The crop of a detection, as the FaceForensics++ authors' code has it."""
    left, top, right, bottom = edges
    side = int(max(right - left, bottom - top) * 1.3)
    x = max((left + right) // 2 - side // 2, 0)
    y = max((top + bottom) // 2 - side // 2, 0)
    return [x, y, min(size[0] - x, size[1] - y, side)]


# Faces in images


def test_published_faces_are_found(data: Path, three: Path) -> None:
    photos = data / "data" / "images" / "real-photo"
    file = data / "data" / "reference" / "face_recognition_expected.json"
    published = json.loads(file.read_text("utf-8"))["boxes_top_right_bottom_left"]
    names = {"fr_obama.jpg": "obama.jpg", "frtest_obama_partial_face.jpg": "obama_partial_face.jpg"}
    found = predicted(three, *(photos / name for name in names), upsample=0)
    assert [Path(row["path"]).name for row in found["files"]] == list(names)
    assert [row["n_faces"] for row in found["files"]] == [1, 1]
    for row in found["faces"]:
        with Image.open(row["path"]) as image:
            size = image.size
        top, right, bottom, left = published[names[Path(row["path"]).name]]
        # The published boxes are clipped to the image and come from colour.
        assert overlap(row["box"], around((left, top, right, bottom), size)) > 0.75
        assert min(row["box"][:2]) >= 0


def test_every_face_is_scored_the_largest_first(data: Path, three: Path) -> None:
    path = data / "data" / "images" / "real-photo" / "faceapi_bbt1.jpg"
    file = data / "data" / "reference" / "dlib_hog_boxes.jsonl"
    known = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    (row,) = [row for row in known if row["path"] == "images/real-photo/faceapi_bbt1.jpg"]
    found = predicted(three, path, upsample=0)
    size = (row["width"], row["height"])
    expected = [around(box[:4], size) for box in row["boxes_ltrb_score"]]
    boxes = [row["box"] for row in found["faces"]]
    assert len(boxes) == len(expected) == found["files"][0]["n_faces"]
    assert all(max(overlap(box, other) for other in boxes) > 0.7 for box in expected)
    assert [box[2] for box in boxes] == sorted((box[2] for box in boxes), reverse=True)
    assert found["files"][0]["score"] == found["faces"][0]["score"]


def test_images_without_a_face_are_no_error(data: Path, three: Path, run: Invoke) -> None:
    folder = data / "data" / "images" / "noface-photo"
    paths = [folder / name for name in ("aura_real_0.jpg", "aura_real_1.jpg", "dlib_dogs.jpg")]
    shown = run("predict", three, *paths, "--upsample", 0)
    assert shown.exit_code == 0
    assert shown.stdout.count("no face found") == 3
    found = predicted(three, *paths, upsample=0)
    assert found["faces"] == []
    for row in found["files"]:
        assert (row["n_frames"], row["n_faces"]) == (1, 0)
        assert row["score"] is None
        assert row["fake_share"] is None


def test_a_face_is_scored_as_its_crop(three: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "portrait.png", portrait())
    found = predicted(three, path)
    assert [row["box"] for row in found["faces"]] == [BOX]
    x, y, size = BOX
    (expected,) = by_hand(three, [portrait()[y : y + size, x : x + size]])
    assert found["files"][0]["score"] == pytest.approx(expected, abs=1e-5)


def test_an_image_is_scored_by_its_largest_face(three: Path, tmp_path: Path) -> None:
    half = cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)
    both = np.full((512, 768, 3), 128, np.uint8)
    both[:256, :256], both[:, 256:] = half, portrait()
    found = predicted(three, save(tmp_path / "both.png", both))
    large, little = found["faces"]
    assert large["box"][2] > 1.5 * little["box"][2]
    assert large["box"][0] > 256 > little["box"][0]
    crops = [both[y : y + s, x : x + s] for x, y, s in (large["box"], little["box"])]
    expected = by_hand(three, crops)
    assert [large["score"], little["score"]] == pytest.approx(expected, abs=1e-5)
    assert abs(expected[0] - expected[1]) > 0.01  # else this shows nothing
    (file,) = found["files"]
    assert (file["n_faces"], file["score"]) == (2, large["score"])
    assert file["fake_share"] == float(large["score"] >= 0.5)


# Whole images


@pytest.mark.golden
def test_whole_images_score_as_in_caffe(data: Path, tmp_path: Path) -> None:
    caffe = data / "golden" / "caffe-amtennet"
    convert([caffe / "snap_iter_120.caffemodel"], tmp_path / "run")
    names = [line[:-2] for line in (caffe / "val.txt").read_text("utf-8").splitlines()[:12]]
    found = predicted(
        tmp_path / "run", *(data / "data" / "images" / name for name in names), whole=True
    )
    softmax = caffe_softmax(data)[:12]
    scores = np.array([row["score"] for row in found["files"]])
    assert np.abs(scores - softmax[:, 0]).max() < 1e-5
    assert [row["cls"] for row in found["faces"]] == [
        ("fake", "real")[place] for place in softmax.argmax(axis=1)
    ]


def test_whole_images_score_as_in_eval(three: Path, tmp_path: Path, run: Invoke) -> None:
    for number, name in enumerate(THREE.names):
        for i in range(3):
            path = tmp_path / "src" / name / f"{i}.{'png' if i else 'jpg'}"
            write_image(path, 30 * number + 7 * i, size=(80, 80))
    corpus = build_corpus(
        "folder", tmp_path / "src", tmp_path / "c.lmdb", fake=THREE.names[:2], real=THREE.names[2:]
    )
    out = tmp_path / "s.csv"
    evaluated = run("eval", three, "--data", corpus, "--split", "all", "--csv", out,
                    "--resamples", 0)  # fmt: skip
    assert evaluated.exit_code == 0
    with out.open(encoding="utf-8", newline="") as lines:
        scores = {row["key"]: float(row["score"]) for row in csv.DictReader(lines)}
    found = predicted(three, tmp_path / "src", whole=True)
    assert len(found["files"]) == len(scores) == 9
    for row in found["files"]:
        key = Path(row["path"]).relative_to(tmp_path / "src").as_posix()
        assert row["score"] == pytest.approx(scores[key], abs=1e-5)
    assert all(row["box"] is None and row["frame"] is None for row in found["faces"])


def test_files_that_the_run_was_trained_on_are_counted(tmp_path: Path, run: Invoke) -> None:
    corpus = build_two_classes(tmp_path, 2)
    write_training_samples(write_run(tmp_path / "run"), Corpus(corpus).samples(), None)
    known = next((tmp_path / "in").rglob("*.png"))
    (tmp_path / "copy.png").write_bytes(known.read_bytes())
    write_image(tmp_path / "new.png", 99)
    page, paths = tmp_path / "page.html", (tmp_path / "copy.png", tmp_path / "new.png")
    found = run("predict", tmp_path / "run", *paths, "--whole", "--html", page)
    note = "The run was trained on 1 of these 2 files: their scores do not show how it does on new"
    assert note in found.stdout
    assert note in page.read_text()
    assert "Whole images were scored, as face crops." in page.read_text()


# Videos


def assert_mean_of_largest(found: dict[str, Any], path: Path) -> None:
    """The video's score is the mean over its frames of the score of the largest face."""
    frames: dict[int, list[dict[str, Any]]] = {}
    for row in found["faces"]:
        if row["path"] == str(path):
            frames.setdefault(row["frame"], []).append(row)
    largest = [max(rows, key=lambda row: int(row["box"][2]))["score"] for rows in frames.values()]
    (file,) = [row for row in found["files"] if row["path"] == str(path)]
    assert file["score"] == pytest.approx(float(np.mean(largest)))
    assert file["fake_share"] == np.mean(np.array(largest) >= 0.5)
    assert file["n_faces"] == sum(map(len, frames.values()))


def test_a_video_is_scored_by_its_frames(data: Path, three: Path) -> None:
    clips = data / "data" / "ffpp"
    path = clips / "manipulated_sequences" / "FaceSwap" / "c23" / "videos" / "634_660.mp4"
    found = predicted(three, path, frames=2, upsample=0)
    # Of 338 frames the middles of two halves.
    assert [row["frame"] for row in found["faces"]] == [84, 253]
    assert found["files"][0]["n_frames"] == 2
    assert_mean_of_largest(found, path)


def test_frames_with_several_faces_count_once(data: Path, three: Path) -> None:
    path = data / "data" / "videos" / "real-web" / "facenet_video.mp4"
    found = predicted(three, path, frames=2, upsample=0)
    assert found["files"][0]["n_faces"] > found["files"][0]["n_frames"] == 2
    assert_mean_of_largest(found, path)


def test_a_video_without_faces_is_no_error(data: Path, three: Path) -> None:
    path = data / "data" / "videos" / "real-noface" / "bottle-detection.mp4"
    (file,) = predicted(three, path, frames=2, upsample=0)["files"]
    assert (file["n_frames"], file["n_faces"], file["score"]) == (2, 0, None)
    assert file["problem"] == "no face found"


def test_all_frames_are_read_where_there_are_fewer(three: Path, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", n_frames=4)
    found = predicted(three, path)
    assert [row["frame"] for row in found["faces"]] == [0, 1, 2, 3]
    assert_mean_of_largest(found, path)
    whole = predicted(three, path, frames=2, whole=True)
    assert [(row["frame"], row["box"]) for row in whole["faces"]] == [(1, None), (3, None)]
    assert_mean_of_whole(whole)


def assert_mean_of_whole(found: dict[str, Any]) -> None:
    scores = [row["score"] for row in found["faces"]]
    assert found["files"][0]["score"] == pytest.approx(np.mean(scores))


def test_batches_change_nothing(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", n_frames=5)
    usual = predicted(three, path, whole=True)
    monkeypatch.setattr("hffkit.inference.network._BATCH", 2)
    other = predicted(three, path, whole=True)
    assert [row["frame"] for row in other["faces"]] == [row["frame"] for row in usual["faces"]]
    for a, b in zip(usual["faces"], other["faces"], strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=1e-5)


# Folders


def test_folders_are_walked_in_sorted_order(three: Path, tmp_path: Path) -> None:
    names = ("b.png", "a/z.jpg", "a/B.PNG", "a/b/c.png", "10.png", "9.png", "c.mp4")
    for number, name in enumerate(names):
        if name.endswith("mp4"):
            write_clip(tmp_path / "in" / name, n_frames=2)
        else:
            write_image(tmp_path / "in" / name, number)
    (tmp_path / "in" / "notes.txt").write_text("none of ours", "utf-8")
    (tmp_path / "in" / ".DS_Store").write_bytes(b"\0")
    last = write_image(tmp_path / "0.png", 9)
    found = predicted(three, tmp_path / "in", last, whole=True)
    paths = [Path(row["path"]) for row in found["files"]]
    assert paths == [*(tmp_path / "in" / name for name in sorted(names)), last]
    assert list(dict.fromkeys(row["path"] for row in found["faces"])) == list(map(str, paths))


def test_a_link_back_up_the_tree_ends(three: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "up").symlink_to(tmp_path / "in")
    assert len(predicted(three, tmp_path / "in", whole=True)["files"]) == 1


@pytest.mark.parametrize("what", ["missing", "empty", "others"])
def test_paths_without_images_are_a_wrong_argument(
    three: Path, tmp_path: Path, run: Invoke, what: str
) -> None:
    folder = tmp_path / what
    if what != "missing":
        folder.mkdir()
    if what == "others":
        (folder / "notes.txt").write_text("none of ours", "utf-8")
    found = run("predict", three, folder)
    assert found.exit_code == 2
    expected = f"{folder}: no such file or folder." if what == "missing" else "no image or video"
    assert expected in found.stderr
    assert found.stdout == ""


def test_the_run_is_read_before_the_images(tmp_path: Path, run: Invoke) -> None:
    path = write_image(tmp_path / "a.png")
    found = run("predict", tmp_path / "no", path)
    assert found.exit_code == 1
    assert "no such run." in found.stderr
    assert found.stderr.count("\n") == 1


# Files that are not what they should be


def test_unreadable_files_are_reported_and_skipped(
    three: Path, tmp_path: Path, run: Invoke
) -> None:
    folder = tmp_path / "in"
    good = save(folder / "m.png", face())
    encoded = good.read_bytes()
    (folder / "a.jpg").write_text("text under another name", "utf-8")
    (folder / "b.png").write_bytes(b"")
    (folder / "c.png").write_bytes(encoded[: len(encoded) // 2])
    (folder / "d.mp4").write_text("no video", "utf-8")
    (folder / "e.png").symlink_to(folder / "gone.png")
    clip = write_clip(tmp_path / "clip.mp4", n_frames=4).read_bytes()
    (folder / "f.mp4").write_bytes(clip[: len(clip) // 2])
    last = save(folder / "z.png", face(1))
    found = run("predict", three, folder, "--whole", "--json")
    assert found.exit_code == 3
    about = json.loads(found.stdout)
    problems = {Path(row["path"]).name: row["problem"] for row in about["files"]}
    assert list(problems) == [
        "a.jpg",
        "b.png",
        "c.png",
        "d.mp4",
        "e.png",
        "f.mp4",
        "m.png",
        "z.png",
    ]
    assert problems.pop("m.png") is None
    assert problems.pop("z.png") is None
    assert all(problem.startswith("unreadable: ") for problem in problems.values())
    expected = by_hand(three, [face(), face(1)])
    assert [row["path"] for row in about["faces"]] == [str(good), str(last)]
    assert [row["score"] for row in about["faces"]] == pytest.approx(expected, abs=1e-5)
    shown = run("predict", three, folder, "--whole")
    assert shown.exit_code == 3
    assert shown.stdout.count("unreadable: ") == 6


@pytest.mark.slow
@pytest.mark.usefixtures("own_workers")
def test_a_file_that_is_not_read_in_time_is_named_and_skipped(
    three: Path, tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "in/a.png", face())
    write_clip(tmp_path / "in/b.mp4", n_frames=300)
    save(tmp_path / "in/c.png", face(1))
    monkeypatch.setattr(
        "hffkit.inference.reading.limit_of_file", lambda file: 0.01 if file.name == "b.mp4" else 60
    )
    found = run("predict", three, tmp_path / "in", "--whole", "--json")
    assert found.exit_code == 3
    problems = {Path(row["path"]).name: row["problem"] for row in json.loads(found.stdout)["files"]}
    assert problems == {
        "a.png": None,
        "b.mp4": "unreadable: not finished in 0 s: its decoder hangs, or its disk does not answer",
        "c.png": None,
    }


def test_a_file_of_another_kind_named_itself_is_unreadable(
    three: Path, tmp_path: Path, run: Invoke
) -> None:
    (tmp_path / "notes.txt").write_text("none of ours", "utf-8")
    found = run("predict", three, tmp_path / "notes.txt")
    assert found.exit_code == 3
    assert "unreadable: no image" in found.stdout


def test_a_video_that_is_damaged_behind_a_good_frame_keeps_its_predictions(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim of eight frames, of which five can be decoded."""
    path = write_clip(tmp_path / "clip.mp4", n_frames=5)
    clip = open_clip(path)
    clip.numbers = range(8)
    monkeypatch.setattr("hffkit.faces.search.open_clip", lambda _: clip)
    (file,) = predicted(three, path, whole=True)["files"]
    assert file["n_frames"] == 5
    assert file["score"] is not None


# Formats


def odd_images(folder: Path) -> list[Path]:
    grey = np.asarray(Image.fromarray(small_portrait()).convert("L"))
    colour = Image.fromarray(small_portrait())
    paths = [
        save(folder / "grey.png", grey),
        save(folder / "grey.jpg", grey, quality=95),
        save(folder / "grey16.png", grey.astype(np.uint16) * 257),
        save(folder / "colour.webp", small_portrait(), lossless=True),
        save(folder / "colour.bmp", small_portrait()),
        save(folder / "Ünïcödé 脸 😀 [1].png", small_portrait()),
    ]
    for mode, name in (("RGBA", "alpha.png"), ("P", "palette.png"), ("CMYK", "cmyk.jpg")):
        colour.convert(mode).save(folder / name)
        paths.append(folder / name)
    return paths


def test_odd_formats_are_read_and_their_faces_found(
    three: Path, tmp_path: Path, run: Invoke
) -> None:
    paths = odd_images(tmp_path)
    found = predicted(three, *paths)
    assert [row["path"] for row in found["files"]] == list(map(str, paths))
    largest = {Path(row["path"]).name: row["box"] for row in reversed(found["faces"])}
    assert list(largest) == [path.name for path in reversed(paths)]
    assert all(overlap(box, SMALL_BOX) > 0.8 for box in largest.values())
    grey = np.dstack([np.asarray(Image.fromarray(small_portrait()).convert("L"))] * 3)
    exact = dict.fromkeys(
        ("colour.webp", "colour.bmp", "Ünïcödé 脸 😀 [1].png", "alpha.png"), small_portrait()
    ) | dict.fromkeys(("grey.png", "grey16.png"), grey)
    crops = [
        pixels[y : y + size, x : x + size]
        for name, pixels in exact.items()
        for x, y, size in [largest[name]]
    ]
    scores = {Path(row["path"]).name: row["score"] for row in found["files"]}
    assert [scores[name] for name in exact] == pytest.approx(by_hand(three, crops), abs=1e-5)
    shown = run("predict", three, tmp_path / "Ünïcödé 脸 😀 [1].png")
    assert shown.exit_code == 0
    assert "Ünïcödé 脸 😀 [1].png" in shown.stdout


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_tiny_images_have_no_face_and_a_score_when_whole(
    three: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = save(tmp_path / "tiny.png", np.full((*size, 3), 99, np.uint8))
    (file,) = predicted(three, path)["files"]
    assert file["problem"] == "no face found"
    (file,) = predicted(three, path, whole=True)["files"]
    (expected,) = by_hand(three, [np.full((SIZE, SIZE, 3), 99, np.uint8)])
    assert file["score"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_names_that_are_no_utf8_are_shown_as_escapes(
    three: Path, tmp_path: Path, run: Invoke, form: tuple[str, ...]
) -> None:
    good = save(tmp_path / "in" / "good.png", face())
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/bad\xff.png")).write_bytes(
            good.read_bytes()
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = run("predict", three, tmp_path / "in", "--whole", *form)
    assert found.exit_code == 0
    assert "good.png" in found.stdout
    assert "udcff.png" in found.stdout


# What is printed


def test_json_has_the_documented_shape(three: Path, tmp_path: Path, run: Invoke) -> None:
    path = save(tmp_path / "portrait.png", portrait())
    found = run("predict", three, path, "--json")
    assert found.exit_code == 0
    about = json.loads(found.stdout)
    assert set(about) == {"score", "files", "faces", "notes", "decision", "n_trained_on"}
    assert about["notes"] == []
    assert about["score"] == "probability of fake"
    (file,), (one,) = about["files"], about["faces"]
    assert set(file) == set(FilePrediction.__slots__)
    assert set(one) == set(FacePrediction.__slots__)
    probabilities = one["probabilities"]
    assert list(probabilities) == list(THREE.names)
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert one["score"] == pytest.approx(probabilities["GAN"] + probabilities["Glow"], abs=1e-6)
    assert one["cls"] == max(probabilities, key=lambda name: float(probabilities[name]))
    assert one["frame"] is None
    assert one["box"] == BOX
    assert 0 <= one["score"] <= 1


def test_the_table_shows_the_values_of_the_json(three: Path, tmp_path: Path, run: Invoke) -> None:
    path = save(tmp_path / "a b.png", portrait())
    found = predicted(three, path)["files"][0]
    shown = run("predict", three, path, "--device", "cpu")
    assert shown.exit_code == 0
    head, row, blank, basis, counts = shown.stdout.splitlines()
    assert basis.startswith("No threshold is known for this run: the prediction is the side of 0.5")
    assert head.split() == ["file", "prediction", "score", "faces", "frames", "fake"]
    name = "fake" if found["score"] >= 0.5 else "real"
    assert row.startswith(str(path))
    assert row.removeprefix(str(path)).split() == [name, f"{found['score']:.4f}", "1", "-"]
    assert blank == ""
    assert f"1 {name}" in counts


def test_every_face_is_in_the_csv_and_every_file_listed_once(
    three: Path, tmp_path: Path, run: Invoke
) -> None:
    two = np.concatenate([portrait(), portrait()], axis=1)
    paths = [save(tmp_path / "two.png", two), save(tmp_path / "none.png", two[:64, :64])]
    found = predicted(three, *paths, upsample=0)
    assert len(found["faces"]) >= 2
    arguments = ("--all-faces", "--csv", tmp_path / "faces.csv", "--device", "cpu", "--upsample", 0)
    shown = run("predict", three, *paths, *arguments)
    assert shown.exit_code == 0
    assert shown.stdout.count("none.png") == shown.stdout.count("no face found") == 1
    lines = [line.split() for line in shown.stdout.splitlines()]
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for one, row in zip(found["faces"], rows, strict=True):
        box = [str(value) for value in one["box"]]
        assert [str(paths[0]), "-", *box, one["cls"], f"{one['score']:.4f}"] in lines
        assert [row["path"], row["frame"], row["x"], row["y"], row["size"]] == [
            one["path"],
            "",
            *box,
        ]
        assert float(row["score"]) == one["score"]
        for name, value in one["probabilities"].items():
            assert float(row[f"p_{name}"]) == value


def test_the_page_boxes_faces_and_plots_a_video(
    data: Path, three: Path, tmp_path: Path, run: Invoke
) -> None:
    image = write_image(tmp_path / "face.png", 0, size=(16, 16))
    save(image, portrait())
    empty = save(tmp_path / "empty.png", np.full((64, 64, 3), 90, np.uint8))
    clip = data / "data/ffpp/original_sequences/youtube/c23/videos/004.mp4"
    page = tmp_path / "page.html"
    result = run("predict", three, image, empty, clip, "--frames", 3, "--upsample", 0,
                 "--html", page, "--json")  # fmt: skip
    found = json.loads(result.stdout)
    html = page.read_text("utf-8")
    for file in found["files"]:
        assert f">{file['path']}<" in html
        if file["score"] is not None:
            kind = "fake" if file["score"] >= 0.5 else "real"
            assert f"{kind}, score {file['score']:.4f}" in html
    assert "no face found" in html
    assert html.count("image/svg+xml") == 1  # the video's scores over time
    first: dict[int, float] = {}
    for face_ in found["faces"]:
        if face_["path"] == str(clip):
            first.setdefault(face_["frame"], face_["score"])
    for number in (max(first, key=first.__getitem__), min(first, key=first.__getitem__)):
        assert f"frame {number}: {first[number]:.4f}" in html

    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(pictures) == 1 + 2  # no image of the file without a face
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    scale = 320 / max(portrait().shape[:2])
    (box,) = (face_["box"] for face_ in found["faces"] if face_["path"] == str(image))
    colour = (213, 94, 0) if found["files"][0]["score"] >= 0.5 else (0, 114, 178)
    ys, xs = np.nonzero((shown == colour).all(2))
    edges = [xs.min(), ys.min(), xs.max() - xs.min()]
    assert edges == pytest.approx([value * scale for value in box], abs=3)


def test_weights_that_are_no_numbers_give_no_prediction(tmp_path: Path, run: Invoke) -> None:
    path = write_run(tmp_path / "run", THREE, size=SIZE)
    state = {
        name: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor
        for name, tensor in read_weights(path).items()
    }
    write_weights(path, state, {})
    found = run("predict", path, save(tmp_path / "a.png", face()), "--whole", "--json")
    assert found.exit_code == 1
    assert "Training diverged" in found.stderr


def test_wrong_arguments_are_refused(three: Path, tmp_path: Path, run: Invoke) -> None:
    path = write_image(tmp_path / "a.png")
    for arguments in (("--frames", 0), ("--upsample", 5), ("--device", "tpu")):
        found = run("predict", three, path, *arguments)
        assert found.exit_code == 2
        assert str(arguments[0]) in found.stderr
    assert run("predict", three).exit_code == 2
    with pytest.raises(ArgumentError):
        predicted(three, tmp_path / "no.png")
