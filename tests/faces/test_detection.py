import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.landmarks import frontal_detector

from hffkit.errors import CorpusError
from hffkit.faces.detection import (
    Face,
    FaceRule,
    crop,
    detect,
    fits,
    overlap,
    read_boxes,
    square_crop,
)
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, decode, grey, read_bytes


def read(path: Path) -> Image:
    return decode(read_bytes(path))


@pytest.fixture(scope="session")
def published(data: Path) -> dict[str, dict[str, list[int]]]:
    """Boxes (top, right, bottom, left) of face_recognition's tests: RGB, upsample 1, clipped."""
    path = data / "data" / "reference" / "face_recognition_expected.json"
    rows: dict[str, dict[str, list[int]]] = json.loads(path.read_text())
    return rows


@pytest.mark.parametrize("name", ["obama.jpg", "obama_partial_face.jpg", "obama_partial_face2.jpg"])
def test_detection_finds_the_published_box(
    data: Path, published: dict[str, dict[str, list[int]]], name: str
) -> None:
    image = read(data / "data" / "reference" / "face_recognition" / name)
    [face] = detect(image, upsample=1)
    height, width = image.shape[:2]
    clipped = [
        max(face.top, 0),
        min(face.right, width),
        min(face.bottom, height),
        max(face.left, 0),
    ]
    assert clipped == published["boxes_top_right_bottom_left"][name]


def test_detection_finds_the_published_edges_in_a_png_with_alpha(
    data: Path, published: dict[str, dict[str, list[int]]]
) -> None:
    image = read(data / "data" / "reference" / "face_recognition" / "32bit.png")
    [face] = detect(image, upsample=1)
    assert [face.top, face.bottom] == published["top_bottom_only"]["32bit.png"]


def test_no_face_is_found_where_there_is_none(data: Path) -> None:
    images = sorted((data / "data" / "images" / "noface-photo").iterdir())
    assert len(images) == 51
    for path in images:
        assert FaceRule().find(grey(read(path))) is None, path.name


@pytest.fixture(scope="module")
def two_faces(data: Path) -> Image:
    """One portrait beside a smaller copy of itself, the small one on the left."""
    image = read(data / "data" / "reference" / "face_recognition" / "obama.jpg")[60:480, 270:690]
    canvas = np.full((420, 680, 3), 128, np.uint8)
    canvas[:, 260:] = image
    canvas[100:310, 20:230] = image[::2, ::2]
    return canvas


def test_largest_face_is_taken_and_the_first_on_demand(two_faces: Image) -> None:
    faces = detect(grey(two_faces), upsample=1)
    sides = sorted(face.side for face in faces)
    assert sides == [129, 268]
    [largest] = [face for face in faces if face.side == 268]
    assert largest is not faces[0]
    size = {"width": 680, "height": 420}
    found = FaceRule().find(grey(two_faces))
    assert found == (square_crop(largest, **size), largest.score)
    compatible = FaceRule(first=True).find(grey(two_faces))
    assert compatible == (square_crop(faces[0], **size), faces[0].score)
    scores = frontal_detector().run(grey(two_faces), 1)[1]
    assert [face.score for face in faces] == [round(score, 4) for score in scores]
    assert min(scores) > 0


def test_small_face_needs_upsampling(two_faces: Image) -> None:
    small = two_faces[::5, 260::5]  # a face of 52 px, and not contiguous
    assert detect(small, upsample=0) == []
    assert len(detect(small, upsample=1)) == 1
    assert FaceRule(upsample=0).find(grey(small)) is None
    assert FaceRule(upsample=1).find(grey(small)) is not None


def test_rule_says_how_it_looks() -> None:
    assert str(FaceRule()) == "dlib-frontal grey upsample=1 largest margin=1.3"
    assert str(FaceRule(0, first=True)) == "dlib-frontal grey upsample=0 first margin=1.3"


def test_side_is_the_larger_one() -> None:
    assert Face(10, 20, 110, 90).side == 100
    assert Face(10, 20, 80, 120).side == 100


# In 640x480; faces are (left, top, right, bottom). 100 px become 130, 65 on either side.
@pytest.mark.parametrize(
    ("face", "box"),
    [
        pytest.param(Face(200, 200, 300, 300), (185, 185, 130), id="inside"),
        pytest.param(Face(200, 210, 300, 290), (185, 185, 130), id="wide"),
        pytest.param(Face(210, 200, 290, 300), (185, 185, 130), id="tall"),
        pytest.param(Face(200, 200, 301, 301), (185, 185, 131), id="odd"),
        pytest.param(Face(0, 200, 100, 300), (0, 185, 130), id="left: shifts"),
        pytest.param(Face(-56, 200, 44, 300), (0, 185, 130), id="beyond the left: shifts"),
        pytest.param(Face(200, 5, 300, 105), (185, 0, 130), id="top: shifts"),
        pytest.param(Face(560, 200, 660, 300), (545, 185, 95), id="right: shrinks"),
        pytest.param(Face(200, 400, 300, 500), (185, 385, 95), id="bottom: shrinks"),
        pytest.param(Face(-10, -10, 90, 90), (0, 0, 130), id="top left"),
        pytest.param(Face(560, 400, 660, 500), (545, 385, 95), id="bottom right"),
        pytest.param(Face(580, 400, 680, 500), (565, 385, 75), id="more right than bottom"),
        pytest.param(Face(0, 0, 600, 600), (0, 0, 480), id="larger than the image"),
    ],
)
def test_crop_shifts_at_the_left_and_top_and_shrinks_at_the_right_and_bottom(
    face: Face, box: Box
) -> None:
    assert square_crop(face, width=640, height=480) == box


FACES = st.builds(
    lambda left, top, width, height: Face(left, top, left + width, top + height),
    st.integers(-300, 700),
    st.integers(-300, 700),
    st.integers(1, 600),
    st.integers(1, 600),
)
SIZES = st.integers(1, 700)


def crop_of_the_authors(face: Face, width: int, height: int) -> Box:
    """Return get_boundingbox of detect_from_video, by its words and in exact numbers."""
    wanted = max(face.right - face.left, face.bottom - face.top) * Fraction(13, 10)
    side = wanted.numerator // wanted.denominator
    centre = [(face.left + face.right) // 2, (face.top + face.bottom) // 2]
    corner = [place - side // 2 for place in centre]
    corner = [0 if place < 0 else place for place in corner]
    while corner[0] + side > width:
        side -= 1
    while corner[1] + side > height:
        side -= 1
    return corner[0], corner[1], side


@given(FACES, SIZES, SIZES)
def test_crop_is_that_of_the_authors(face: Face, width: int, height: int) -> None:
    assert square_crop(face, width=width, height=height) == crop_of_the_authors(face, width, height)


@given(SIZES, SIZES, st.integers(2, 900), st.data())
def test_crop_of_a_face_whose_centre_is_in_the_image_lies_inside(
    width: int, height: int, side: int, data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, width - 1))
    y = data.draw(st.integers(0, height - 1))
    face = Face(x - side // 2, y - side // 2, x - side // 2 + side, y - side // 2 + side)
    box = square_crop(face, width=width, height=height)
    image = np.zeros((height, width, 3), np.uint8)
    assert fits(box, image)
    assert crop(image, box).shape == (box[2], box[2], 3)
    if box[2] == int(side * 1.3):  # where it did not have to shrink
        assert box[0] <= x < box[0] + box[2]
        assert box[1] <= y < box[1] + box[2]


def test_crop_is_a_view_of_these_pixels() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    part = crop(image, (5, 2, 3))
    assert [row[0].tolist() for row in part[:, :1]] == [[63, 64, 65], [87, 88, 89], [111, 112, 113]]
    assert part.shape == (3, 3, 3)
    assert np.shares_memory(part, image)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 6), True),
        ((2, 0, 6), True),
        ((7, 5, 1), True),
        ((3, 0, 6), False),
        ((0, 1, 6), False),
        ((-1, 0, 3), False),
        ((0, -1, 3), False),
        ((0, 0, 0), False),
        ((9, 0, -1), False),
    ],
)
def test_box_fits_if_it_lies_inside_and_holds_a_pixel(box: Box, expected: bool) -> None:  # noqa: FBT001
    assert fits(box, np.zeros((6, 8, 3), np.uint8)) is expected


BOXES = st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))


@given(BOXES, BOXES)
def test_overlap_is_that_of_counted_pixels(a: Box, b: Box) -> None:
    one, other = (
        {(x + i, y + j) for i in range(size) for j in range(size)} for x, y, size in (a, b)
    )
    assert overlap(a, b) == pytest.approx(len(one & other) / len(one | other))
    assert overlap(a, b) == overlap(b, a)


def test_boxes_are_read_as_cao_et_al_write_them(tmp_path: Path) -> None:
    path = tmp_path / "locations.json"
    path.write_text('{"000": {"0": [1, 2, 3], "17": [4, 5, 6]}, "000_003": {}}')
    assert read_boxes(path) == {"000": {0: (1, 2, 3), 17: (4, 5, 6)}, "000_003": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"000": []}',
        '{"000": {"0": 5}}',
        '{"000": {"0": [1, 2]}}',
        '{"000": {"0": [1, 2, 3, 4]}}',
        '{"000": {"first": [1, 2, 3]}}',
        '{"000": {"0": [1, 2, null]}}',
        '{"000": {"0": [1, 2, NaN]}}',
        '{"000": {"0": [1, 2, Infinity]}}',
    ],
)
def test_boxes_of_another_shape_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "locations.json"
    path.write_text(text)
    wanted = re.escape('must be {"video": {"frame": [x, y, size]}}: ')
    message = f"^{re.escape(str(path))}: ({wanted}|no JSON: )"
    with pytest.raises(CorpusError, match=message):
        read_boxes(path)


def test_a_wrong_box_is_named_by_video_and_frame(tmp_path: Path) -> None:
    path = tmp_path / "locations.json"
    path.write_text('{"000": {"0": [1, 2, 3]}, "001": {"7": [1, 2]}}')
    with pytest.raises(CorpusError, match=r": the box of frame 7 of 001 is \[1, 2\]\.$"):
        read_boxes(path)
    path.write_text('{"000": null}')
    with pytest.raises(CorpusError, match=r": 000 is null\.$"):
        read_boxes(path)


def test_boxes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "locations.json").write_bytes(b'{"\xff": {}}')
    with pytest.raises(CorpusError, match="must be"):
        read_boxes(tmp_path / "locations.json")


def test_missing_boxes_are_named(tmp_path: Path) -> None:
    message = re.escape(f"{tmp_path / 'gone.json'}: cannot be read: No such file or directory.")
    with pytest.raises(CorpusError, match=message):
        read_boxes(tmp_path / "gone.json")
