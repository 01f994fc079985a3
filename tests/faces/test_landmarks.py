"""Outlines of faces, by predictors that dlib trains here on its own published examples."""

import xml.etree.ElementTree as Xml
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from makers.landmarks import annotated, frontal_detector, trained
from makers.trees import Pixels, about, encoded_data, portrait, records, rows, write_clip
from PIL import Image as Pillow
from PIL import ImageDraw

from hffkit.errors import CorpusError
from hffkit.faces.detection import Face, face_of, square_crop
from hffkit.faces.landmarks import landmarks_of, predictor_of
from hffkit.faces.outline import Points, black_outside, outline
from hffkit.media.image import decode

Run = Callable[..., Result]


def drawn(points: Points, width: int, height: int) -> tuple[Pixels, Pixels]:
    """Return which pixels lie inside a face's outline, and which on it, as Pillow draws them."""
    corners = [*points[:17].tolist(), *points[17:27][::-1].tolist()]
    corners = [(min(max(x, 0), width - 1), min(max(y, 0), height - 1)) for x, y in corners]
    inside, edge = Pillow.new("L", (width, height)), Pillow.new("L", (width, height))
    ImageDraw.Draw(inside).polygon(corners, fill=1)
    ImageDraw.Draw(edge).line([*corners, corners[0]], fill=1, width=3)
    return np.asarray(inside), np.asarray(edge)


def check_outlined(stored: Pixels, whole: Pixels, points: Points) -> None:
    """Check that pixels are whole inside and black outside; on the line itself either will do."""
    inside, edge = drawn(points, whole.shape[1], whole.shape[0])
    sure = edge == 0
    assert (sure & (inside == 1)).sum() > 100
    wanted = whole * inside[..., None]
    assert np.array_equal(stored[sure], wanted[sure])


@given(st.integers(0, 2**32 - 1))
def test_all_outside_of_jaw_and_brows_is_black(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(60, 500, 2))
    whole = rng.integers(1, 256, (height, width, 3), dtype=np.uint8)
    angles = np.linspace(np.pi, 0, 17), np.linspace(np.pi, 2 * np.pi, 12)[1:-1]
    centre, radii = (width / 2, height / 2), rng.uniform(20, 300, 2)  # some reach outside
    points = np.full((68, 2), 9999, np.int32)  # eyes, nose and mouth do not matter
    for start, part in ((0, angles[0]), (17, angles[1])):
        ring = np.stack((np.cos(part), np.sin(part)), 1) * radii + centre
        points[start : start + len(part)] = ring + rng.uniform(-3, 3, ring.shape)
    before = whole.copy()
    check_outlined(black_outside(whole, points), whole, points)
    assert np.array_equal(whole, before)


def test_an_outline_runs_along_the_jaw_and_back_over_the_brows() -> None:
    points = np.stack((np.arange(68), 400 - np.arange(68)), 1).astype(np.int32)
    found = outline(points, width=1000, height=390)
    assert found[:, 0].tolist() == [*range(17), 26, 25, 24, 23, 22, 21, 20, 19, 18, 17]
    assert found[0].tolist() == [0, 389]  # into the image, not into 0..255
    assert found[16].tolist() == [16, 384]


@given(st.integers(30, 300), st.integers(30, 300), st.integers(-2, 2), st.integers(20, 200))
def test_a_face_is_found_again_from_its_crop(x: int, y: int, more: int, side: int) -> None:
    face = Face(x, y, x + side, y + side + more)
    found = face_of(square_crop(face, width=10_000, height=10_000))
    larger = max(side, side + more)
    assert abs(found.side - larger) <= 1
    assert abs((found.left + found.right) - (face.left + face.right)) <= 3
    assert abs((found.top + found.bottom) - (face.top + face.bottom)) <= 3


def test_landmarks_are_near_those_that_are_published(
    data: Path, predictor: Path, tmp_path: Path
) -> None:
    root = Xml.parse(annotated(data, "testing", tmp_path)).getroot()
    loaded, errors = predictor_of(predictor), []
    for picture in root.iter("image"):
        image = decode(Path(picture.attrib["file"]).read_bytes())
        for box in picture.iter("box"):
            left, top, width, height = (
                int(box.attrib[k]) for k in ("left", "top", "width", "height")
            )
            face = Face(left, top, left + width - 1, top + height - 1)
            wanted = [(int(p.attrib["x"]), int(p.attrib["y"])) for p in box.findall("part")]
            found = landmarks_of(loaded, image, face)
            assert found.shape == (68, 2)
            errors.append(np.hypot(*(found - wanted).T).mean() / width)
    assert len(errors) > 20
    assert np.mean(errors) < 0.06  # of the face's width, 37 px and more


def test_a_file_that_became_another_is_not_used_under_its_old_digest(
    predictor: Path, tmp_path: Path
) -> None:
    path, face, image = tmp_path / "sp68.dat", Face(8, 8, 56, 56), np.zeros((64, 64), np.uint8)
    path.write_bytes(predictor.read_bytes())
    before = predictor_of(path)
    points = landmarks_of(before, image, face)
    path.write_bytes(predictor.read_bytes() + b"more")
    after = predictor_of(path)
    assert after.sha256 != before.sha256
    assert np.array_equal(landmarks_of(after, image, face), points)
    with pytest.raises(CorpusError, match="not the file that the command began with"):
        landmarks_of(before, image, face)
    path.unlink()
    with pytest.raises(CorpusError, match=r"sp68\.dat: cannot be read: No such file"):
        landmarks_of(before, image, face)


@pytest.fixture
def faces(data: Path, tmp_path: Path) -> Path:
    """Four faces and an image without one, of other sizes than 256 px."""
    root = tmp_path / "in"
    for name in ("real", "fake"):
        (root / name).mkdir(parents=True)
    for n, path in enumerate(sorted((data / "data/images/real-ffhq256").iterdir())[:2]):
        picture = Pillow.open(path)
        picture.resize((300, 290)).save(root / f"real/{n}.png")
        picture.resize((150, 160)).save(root / f"fake/{n}.png")
    Pillow.fromarray(portrait()[300:460, :120]).save(root / "real/none.png")
    return root


def found_by_dlib(predictor: Path, image: Pixels) -> Points:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    face = max(frontal_detector()(grey, 1), key=lambda box: box.width())
    parts = dlib.shape_predictor(str(predictor))(grey, face).parts()
    return np.array([(p.x, p.y) for p in parts], np.int32)


def stored(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    for row, (_, value) in zip(rows(path / "manifest.jsonl"), records(path), strict=True):
        yield row, encoded_data(value)[0]


def build(run: Run, root: Path, out: Path, *words: Any) -> Path:
    classes = ("--real", "real", "--fake", "fake", "--workers", 1)
    done = run("build", "folder", "--src", root, "--out", out, *classes, *words)
    assert done.exit_code == 0, done.output
    return out


def test_whole_images_are_outlined_and_those_without_a_face_kept(
    run: Run, faces: Path, predictor: Path, tmp_path: Path
) -> None:
    out = build(run, faces, tmp_path / "x.lmdb", "--landmarks", predictor)
    digest = about(out)["options"]["landmarks"]
    n_whole = 0
    for row, data in stored(out):
        original = (faces / row["source"]).read_bytes()
        assert row["box"] is None
        if row["source"] == "real/none.png":
            assert (data, row["detector"]) == (original, None)
            n_whole += 1
            continue
        assert row["detector"] == (
            "dlib-frontal grey upsample=1 largest margin=1.3; "
            f"outline by sp68.dat {digest[:16]}"
        )  # fmt: skip
        whole = decode(original)
        check_outlined(decode(data), whole, found_by_dlib(predictor, whole))
    assert n_whole == 1
    assert rows(out / "failures.jsonl") == [
        {"kind": "no-face", "path": "real/none.png", "frame": None,
         "reason": "no face to outline; kept whole"},
    ]  # fmt: skip
    plain = build(run, faces, tmp_path / "plain.lmdb")
    assert about(plain)["options"]["landmarks"] is None
    assert about(plain)["content_sha256"] != about(out)["content_sha256"]
    assert {row["detector"] for row in rows(plain / "manifest.jsonl")} == {None}


def test_crops_are_outlined_as_the_images_they_are_from(
    run: Run, faces: Path, predictor: Path, tmp_path: Path
) -> None:
    out = build(run, faces, tmp_path / "x.lmdb", "--crop", "face", "--landmarks", predictor)
    found = list(stored(out))
    assert len(found) == 4
    for row, data in found:
        x, y, size = row["box"]
        assert row["detector"].count("; outline by sp68.dat") == 1
        whole, crop = decode((faces / row["source"]).read_bytes()), decode(data)
        assert crop.shape == (size, size, 3)
        points = found_by_dlib(predictor, whole)
        pixels = whole[y : y + size, x : x + size]
        kept = (crop == pixels).all(2)
        assert (kept | (crop == 0).all(2)).all()
        # The face is known from its box to a pixel, so the outline is where dlib puts it, nearly.
        inside = drawn(points, whole.shape[1], whole.shape[0])[0]
        wanted = inside[y : y + size, x : x + size] == 1
        n_other = (wanted != (crop > 0).any(2)).sum()
        assert n_other < 0.08 * wanted.sum(), row["source"]


def test_frames_of_videos_are_outlined(run: Run, predictor: Path, tmp_path: Path) -> None:
    for first, name in enumerate(("real", "fake")):
        write_clip(tmp_path / f"in/{name}/a.mp4", n_frames=4, first=first)
    words = ("--frames", 2, "--landmarks", predictor)
    out = build(run, tmp_path / "in", tmp_path / "x.lmdb", *words)
    plain = build(run, tmp_path / "in", tmp_path / "plain.lmdb", "--frames", 2)
    pairs = list(zip(stored(out), stored(plain), strict=True))
    assert len(pairs) == 4
    for (row, data), (before, whole) in pairs:
        assert row["detector"].startswith(f"{before['detector']}; outline by sp68.dat ")
        assert (row["box"], row["key"]) == (before["box"], before["key"])
        ours, theirs = decode(data), decode(whole)
        is_black = (ours == 0).all(2)
        assert 0.2 < is_black.mean() < 0.8
        assert np.array_equal(ours[~is_black], theirs[~is_black])
        assert not is_black[len(is_black) // 2, len(is_black) // 2]  # the nose is there
        assert is_black[0].all()


def test_what_is_no_predictor_of_68_points_is_one_line(
    run: Run, data: Path, predictor: Path, tmp_path: Path
) -> None:
    trained(annotated(data, "training", tmp_path, 5), tmp_path / "five.dat")
    (tmp_path / "text.dat").write_text("no predictor at all")
    (tmp_path / "short.dat").write_bytes(predictor.read_bytes()[:-1000])
    (tmp_path / "empty.dat").touch()
    for name, message in (
        ("absent.dat", "absent.dat: cannot be read: No such file"),
        (".", "cannot be read: it is a folder"),
        ("text.dat", "text.dat: no dlib shape predictor"),
        ("short.dat", "short.dat: no dlib shape predictor"),
        ("empty.dat", "empty.dat: no dlib shape predictor"),
        ("five.dat", "five.dat: must predict the 68 points of iBUG 300-W, got 5"),
    ):
        words = ("--src", data / "data/images", "--real", "real-photo")
        done = run("build", "folder", *words, "--landmarks", tmp_path / name,
                   "--out", tmp_path / "x.lmdb")  # fmt: skip
        assert (done.exit_code, message in done.stderr) == (1, True), done.output
        assert done.stderr.count("\n") == 1
        with pytest.raises(CorpusError):
            predictor_of(tmp_path / name)
    assert not list(tmp_path.glob("x.lmdb*"))
