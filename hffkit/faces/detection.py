"""Face detection and the square crop of the FaceForensics++ authors."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from hffkit.errors import CorpusError
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, grey

MARGIN_RATIO = 1.3  # side of the crop over the larger side of the detection


@dataclass(frozen=True, slots=True)
class FaceRule:
    """How a face is found and which one is taken.

    The detector looks at the grey image, as the FaceForensics++ authors' does. `first` takes the
    first detection, as their code does; otherwise the largest, as its comment says.
    """

    upsample: int = 1
    first: bool = False

    def __str__(self) -> str:
        which = "first" if self.first else "largest"
        return f"dlib-frontal grey upsample={self.upsample} {which} margin={MARGIN_RATIO}"

    def find(self, grey_image: Image) -> Box | None:
        """Return the crop around the face of an (H, W) uint8 image, or None without a face."""
        chosen = self.face(grey_image)
        if chosen is None:
            return None
        height, width = grey_image.shape
        return square_crop(chosen, width=width, height=height)

    def face(self, grey_image: Image) -> "Face | None":
        """Return the face of an (H, W) uint8 image, or None without one."""
        faces = detect(grey_image, upsample=self.upsample)
        if not faces:
            return None
        return faces[0] if self.first else max(faces, key=lambda face: face.side)


@dataclass(frozen=True, slots=True)
class Face:
    """A detection: edges in pixels as dlib gives them; they may lie outside the image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def side(self) -> int:
        """The larger side."""
        return max(self.right - self.left, self.bottom - self.top)


@functools.cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()  # a quarter of a second to make: one a process


def detect(image: Image, *, upsample: int) -> list[Face]:
    """Return the faces that dlib's frontal detector finds, in its order (best score first).

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB; the two give slightly different boxes.
    upsample : int
        How often the image is doubled first; 1 finds faces from 40 px, 0 from 80 px.
    """
    return [
        Face(box.left(), box.top(), box.right(), box.bottom())
        for box in _detector()(np.ascontiguousarray(image), upsample)
    ]


def square_crop(face: Face, *, width: int, height: int) -> Box:
    """Return the square of 1.3 times the face's larger side around it, kept inside the image.

    At the right and lower border the square shrinks, at the left and upper one it shifts: the
    rule of the FaceForensics++ authors' detect_from_video.
    """
    size = int(face.side * MARGIN_RATIO)
    x = max((face.left + face.right) // 2 - size // 2, 0)
    y = max((face.top + face.bottom) // 2 - size // 2, 0)
    size = min(width - x, size)
    return x, y, min(height - y, size)


def face_of(box: Box) -> Face:
    """Return the face that `square_crop` cut a box around: to a pixel, where no border was near."""
    x, y, size = box
    side = round(size / MARGIN_RATIO)
    left, top = x + (size - side) // 2, y + (size - side) // 2
    return Face(left, top, left + side, top + side)


def crop(image: Image, box: Box) -> Image:
    """Return the pixels inside `box`; a view."""
    x, y, size = box
    return image[y : y + size, x : x + size]


def fits(box: Box, image: Image) -> bool:
    """Tell whether `box` lies inside the image and holds a pixel."""
    x, y, size = box
    height, width = image.shape[:2]
    return min(x, y) >= 0 and size > 0 and x + size <= width and y + size <= height


def find_in_image(rule: FaceRule, image: Image) -> Box | None:
    """Return the crop around the face of an RGB image, or None without a face."""
    return rule.find(grey(image))


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two squares."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] ** 2 + b[2] ** 2 - shared)


Boxes = dict[str, dict[int, Box]]
"""{video: {frame: (x, y, size)}}: the location files of Cao et al."""


def read_boxes(path: Path) -> Boxes:
    """Return the boxes of a JSON file {video: {frame: [x, y, size]}}.

    Raises
    ------
    CorpusError
        If it cannot be read or has another shape.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
        return {
            video: {int(frame): _box(values) for frame, values in frames.items()}
            for video, frames in rows.items()
        }
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CorpusError(
            f'{path}: must be {{"video": {{"frame": [x, y, size]}}}}: {error}.'
        ) from None


def _box(values: list[int]) -> Box:
    x, y, size = values
    return int(x), int(y), int(size)
