"""Large images are searched on a reduced copy and cropped from their own pixels."""

import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers.landmarks import frontal_detector
from makers.trees import portrait
from PIL import Image as PillowImage

from hffkit.faces import detection
from hffkit.faces.detection import (
    MAX_SEARCHED,
    MAX_SEARCHED_NATIVE,
    Face,
    FaceRule,
    crop,
    detect,
    overlap,
    square_crop,
)
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, decode, grey, read_bytes, thumbnail

ONE = FaceSearch(1)


@pytest.fixture
def low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search a sixteenth of the usual area at most, so that images of 0.5 megapixels are large."""
    for name in ("MAX_SEARCHED", "MAX_SEARCHED_NATIVE"):
        monkeypatch.setattr(detection, name, vars(detection)[name] >> 4)


def resized(image: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def by_dlib(image: Image, upsample: int) -> list[Face]:
    """Faces in the image as it is, by dlib itself."""
    found = frontal_detector()(image, upsample)
    return [Face(box.left(), box.top(), box.right(), box.bottom()) for box in found]


@pytest.mark.usefixtures("low_bounds")
@pytest.mark.parametrize(
    ("width", "height", "upsample"),
    [(1088, 1920, 1), (1280, 720, 2), (3000, 2796, 0)],
)
def test_images_up_to_the_bound_are_searched_as_they_are(
    width: int, height: int, upsample: int
) -> None:
    assert width * height <= max(MAX_SEARCHED >> 2 * upsample, MAX_SEARCHED_NATIVE)
    width, height = width // 4, height // 4
    luma, side = np.zeros((height, width), np.uint8), min(width, height)
    luma[:side, :side] = grey(resized(portrait(), side, side))
    found = detect(luma, upsample=upsample)
    assert found == by_dlib(luma, upsample)
    assert found


@pytest.mark.usefixtures("low_bounds")
@pytest.mark.parametrize(("times", "size"), [(2, 362), (5, 255)])
def test_boxes_of_a_large_copy_are_those_of_the_small_one(times: int, size: int) -> None:
    small = resized(portrait()[:256, 96:352], size, size)
    large = resized(small, times * size, times * size)
    assert large.shape[0] * large.shape[1] > detection.MAX_SEARCHED_NATIVE
    expected = [scaled_box(face, size, times) for face in by_dlib(grey(small), 1)]
    found = [scaled_box(face, times * size, 1) for face in detect(grey(large), upsample=1)]
    assert max(overlap(box, other) for box in found for other in expected) > 0.85


def scaled_box(face: Face, size: int, times: int) -> Box:
    x, y, side = square_crop(face, width=size, height=size)
    return times * x, times * y, times * side


@pytest.mark.usefixtures("low_bounds")
def test_real_faces_are_found_alike_in_a_large_copy(data: Path) -> None:
    n_found = 0
    for path in sorted((data / "data/images/real-celebahq1024").iterdir())[:3]:
        small = thumbnail(decode(read_bytes(path)), 256)
        expected = FaceRule().find(grey(small))
        found = FaceRule().find(grey(resized(small, 768, 768)))
        if expected is None or found is None:
            assert expected == found
            continue
        x, y, side = expected.box
        assert overlap(found.box, (3 * x, 3 * y, 3 * side)) > 0.8, path
        n_found += 1
    assert n_found == 3


@pytest.mark.usefixtures("low_bounds")
def test_crops_are_the_images_own_pixels(tmp_path: Path) -> None:
    large = resized(portrait(), 750, 750)
    path = tmp_path / "large.png"
    PillowImage.fromarray(large).save(path, compress_level=1)
    found = list(faces_in(path, ONE, FrameCounts()))
    assert found
    for face in found:
        assert face.box is not None
        assert face.box[2] > 40 * 750 / detection.MAX_SEARCHED_NATIVE**0.5
        assert np.array_equal(face.image, crop(large, face.box))


@pytest.mark.usefixtures("low_bounds")
@pytest.mark.parametrize(("width", "height"), [(40_000, 60), (60, 40_000), (3_000_000, 1)])
def test_odd_shapes_are_searched(width: int, height: int) -> None:
    assert detect(np.zeros((height, width), np.uint8), upsample=1) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_twelve_megapixels_are_searched_in_less_than_300_mb(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "large"
    file = io.BytesIO()
    PillowImage.fromarray(resized(portrait(), 4000, 3000)).save(file, kind)
    path.write_bytes(file.getvalue())
    program = (
        "import re, sys, pathlib, numpy\n"
        "from hffkit.faces.detection import detect\n"
        "from hffkit.faces.search import FaceSearch, FrameCounts, faces_in\n"
        "def memory(name):\n"
        "    text = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(re.search(name + r':\\s+(\\d+)', text).group(1))\n"
        "detect(numpy.zeros((64, 64), numpy.uint8), upsample=1)\n"
        "before = memory('VmRSS')\n"
        "boxes = [face.box for face in faces_in(pathlib.Path(sys.argv[1]), FaceSearch(1), "
        "FrameCounts())]\n"
        "print(len(boxes), (memory('VmHWM') - before) >> 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
    n_faces, n_mib = map(int, done.stdout.split())
    assert n_faces >= 1
    assert n_mib < 250
