"""Landmarks of a face, the 68 points of the iBUG 300-W scheme, and the outline they draw."""

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.media.image import Image

Points = npt.NDArray[np.int32]
"""(N, 2): x and y of each point, in pixels of the image; they may lie outside of it."""

N_LANDMARKS = 68
# 0 to 16: the jaw from ear to ear; 17 to 26: the brows, which lead back.
_OUTLINE = (*range(17), *range(26, 16, -1))


def outline(points: Points, *, width: int, height: int) -> Points:
    """Return the polygon (27, 2) of a face's jaw and brows, moved into an image of that size.

    The program of the facial parts study moves points into 0..255 whatever the size of an image,
    which is right for 256 px alone.
    """
    return np.clip(points[list(_OUTLINE)], 0, (width - 1, height - 1)).astype(np.int32)


def black_outside(image: Image, points: Points) -> Image:
    """Return an (H, W, 3) image with all that lies outside of a face's outline black.

    Parameters
    ----------
    image : (H, W, 3) uint8
    points : (68, 2) int32
        The face's landmarks.
    """
    height, width = image.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [outline(points, width=width, height=height)], (1,))
    return image * inside[..., None]
