"""Face detection and the square crop of the FaceForensics++ authors."""

import functools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import dlib
import numpy as np

from hffkit.errors import CorpusError
from hffkit.fields import shown
from hffkit.input_files import MAX_TEXT_BYTES, read_json
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, thumbnail

MARGIN_RATIO = 1.3  # side of the crop over the larger side of the detection
# Largest area in which faces are searched, after doublings, and at least before them. dlib needs 17
# bytes for each of these pixels.
MAX_SEARCHED = 1 << 23
MAX_SEARCHED_NATIVE = 1 << 21  # 1080p is just below
_SCORE_DIGITS = 4  # more would differ between processors
_MAX_SIDE = 1 << 20  # px of an image, and so of a box


class FaceBox(NamedTuple):
    """The crop around a face, and the score of its detection; None if nobody recorded one."""

    box: Box
    score: float | None


@dataclass(frozen=True, slots=True)
class FaceRule:
    """Rule that chooses the face of an image among the detections in its luma.

    `first` takes the first detection, as the code of the FaceForensics++ authors does; otherwise
    the largest one is taken, as the comment in their code says.
    """

    upsample: int = 1
    first: bool = False

    def __str__(self) -> str:
        which = "first" if self.first else "largest"
        return f"dlib-frontal grey upsample={self.upsample} {which} margin={MARGIN_RATIO}"

    def find(self, grey_image: Image) -> FaceBox | None:
        """Return the square crop around the face of an (H, W) uint8 image, or None without one."""
        chosen = self.face(grey_image)
        if chosen is None:
            return None
        height, width = grey_image.shape
        return FaceBox(square_crop(chosen, width=width, height=height), chosen.score)

    def face(self, grey_image: Image) -> "Face | None":
        """Detect the face of an (H, W) uint8 image; None without one."""
        faces = detect(grey_image, upsample=self.upsample)
        if not faces:
            return None
        return faces[0] if self.first else max(faces, key=lambda face: face.side)


@dataclass(frozen=True, slots=True)
class Face:
    """A detection: edges in pixels, as dlib returns them; they may lie outside the image.

    Detections with the same edges are equal, whatever their scores.
    """

    left: int
    top: int
    right: int
    bottom: int
    score: float | None = field(default=None, compare=False)  # dlib's; the more, the surer

    @property
    def side(self) -> int:
        """The larger side in pixels."""
        return max(self.right - self.left, self.bottom - self.top)


@functools.cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()  # takes .25 s to create, so once in each process


def detect(image: Image, *, upsample: int) -> list[Face]:
    """Detect faces with dlib's frontal detector; the best score comes first.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB; the two give slightly different boxes.
    upsample : int
        Number of times the image is doubled first: 0 finds faces from 80 px, 1 from 40 px.

    Images whose doubled area exceeds `MAX_SEARCHED`, and their own `MAX_SEARCHED_NATIVE`, are
    reduced to the larger of these areas; the faces are scaled back.
    """
    height, width = image.shape[:2]
    area = max(MAX_SEARCHED >> 2 * upsample, MAX_SEARCHED_NATIVE)
    searched = image
    if height * width > area:
        searched = thumbnail(image, max(1, round(math.sqrt(area * width / height))))
    x, y = width / searched.shape[1], height / searched.shape[0]
    boxes, scores, _ = _detector().run(np.ascontiguousarray(searched), upsample)
    return [
        Face(
            round(x * box.left()), round(y * box.top()), round(x * box.right()),
            round(y * box.bottom()), round(score, _SCORE_DIGITS),
        )
        for box, score in zip(boxes, scores, strict=True)
    ]  # fmt: skip


def square_crop(face: Face, *, width: int, height: int) -> Box:
    """Return the square around a face, 1.3 times its larger side, inside an image of that size.

    It shrinks at the right and lower border and shifts at the left and upper one, as in
    detect_from_video of the FaceForensics++ authors.
    """
    size = int(face.side * MARGIN_RATIO)
    x = max((face.left + face.right) // 2 - size // 2, 0)
    y = max((face.top + face.bottom) // 2 - size // 2, 0)
    size = min(width - x, size)
    return x, y, min(height - y, size)


def face_of(box: Box) -> Face:
    """Invert `square_crop`: exact to one pixel if the box touches no border of the image."""
    x, y, size = box
    side = round(size / MARGIN_RATIO)
    left, top = x + (size - side) // 2, y + (size - side) // 2
    return Face(left, top, left + side, top + side)


def crop(image: Image, box: Box) -> Image:
    """Return a view of the pixels inside `box`."""
    x, y, size = box
    return image[y : y + size, x : x + size]


def fits(box: Box, image: Image) -> bool:
    """Test that `box` lies inside the image and is not empty."""
    x, y, size = box
    height, width = image.shape[:2]
    return min(x, y) >= 0 and size > 0 and x + size <= width and y + size <= height


def overlap(a: Box, b: Box) -> float:
    """Compute the intersection over union of two squares, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] ** 2 + b[2] ** 2 - shared)


Boxes = dict[str, dict[int, Box]]
"""Boxes by video and frame, {video: {frame: (x, y, size)}}, as in the files of Cao et al."""


def read_boxes(path: Path) -> Boxes:
    """Read the boxes of a JSON file, {video: {frame: [x, y, size]}}.

    Raises
    ------
    CorpusError
        If the file cannot be read or has another structure.
    """
    rows = read_json(path, CorpusError, MAX_TEXT_BYTES)
    try:
        return {
            video: {_frame(frame): _box(values, f"frame {frame} of {video}")
                    for frame, values in _object(frames, video).items()}
            for video, frames in _object(rows, "the file").items()
        }  # fmt: skip
    except (ValueError, TypeError) as error:
        raise CorpusError(
            f'{path}: must be {{"video": {{"frame": [x, y, size]}}}}: {error}.'
        ) from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{where} is {shown(value)}")
    return value


def _frame(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"a frame is {shown(text)}")
    return int(text)


def _box(values: Any, where: str) -> Box:
    is_box = type(values) is list and len(values) == 3
    if not is_box or any(type(value) not in (int, float) for value in values):
        raise ValueError(f"the box of {where} is {shown(values)}")
    x, y, size = map(int, values)
    if max(map(abs, (x, y, size))) > _MAX_SIDE:
        raise ValueError(f"the box of {where} is {shown(values)}")
    return x, y, size
