"""The outline of a face through the 68 landmarks of iBUG 300-W."""

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.media.image import Image

Points = npt.NDArray[np.int32]
"""(N, 2): x and y in pixels of the image; points may lie outside of it."""

N_LANDMARKS = 68
# Points 0 to 16 are the jaw from ear to ear, 26 to 17 the brows back to the first ear.
_OUTLINE = (*range(17), *range(26, 16, -1))


def outline(points: Points, *, width: int, height: int) -> Points:
    """Return the polygon (27, 2) of jaw and brows, its points moved into an image of that size.

    The program of the facial parts study moves points into 0..255 for images of every size, which
    is correct only for 256 px.
    """
    return np.clip(points[list(_OUTLINE)], 0, (width - 1, height - 1)).astype(np.int32)


def black_outside(image: Image, points: Points) -> Image:
    """Blacken the pixels outside the outline of a face.

    Parameters
    ----------
    image : (H, W, 3) uint8
        Left unchanged.
    points : (68, 2) int32
        Landmarks of the face.
    """
    height, width = image.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [outline(points, width=width, height=height)], (1,))
    return image * inside[..., None]
