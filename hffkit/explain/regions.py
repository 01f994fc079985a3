"""How much of a heat map lies on which part of a face."""

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.errors import ExplainError
from hffkit.faces.outline import Points, outline

# Of the 68 landmarks of hffkit.faces.outline, counted from 0.
_OUTLINES: dict[str, tuple[range, ...]] = {
    "brows": (range(17, 22), range(22, 27)),
    "nose": (range(27, 36),),
    "eyes": (range(36, 42), range(42, 48)),
    "mouth": (range(48, 68),),
}
REGIONS = ("outside", "jaw", *_OUTLINES)
_MARGIN = 0.1  # of the distance between the eyes, round each part: landmarks lie on its edge


def region_map(points: Points, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return for each pixel (H, W) the number of its region in `REGIONS`.

    Parameters
    ----------
    points : (68, 2) int32
        The face's landmarks.
    width, height
        Of the map, px.
    """
    found = np.zeros((height, width), np.uint8)
    cv2.fillPoly(found, [outline(points, width=width, height=height)], (1,))
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    margin = max(1, round(2 * _MARGIN * float(np.linalg.norm(eyes[0] - eyes[1]))))
    for number, name in enumerate(_OUTLINES, 2):
        for places in _OUTLINES[name]:
            hull = cv2.convexHull(points[list(places)])
            cv2.fillConvexPoly(found, hull, number)
            cv2.polylines(found, [hull], isClosed=True, color=number, thickness=margin)
    return found


def region_shares(heat: npt.NDArray[np.float32], points: Points) -> dict[str, float]:
    """Return the share of the heat on each region of a face; all together are 1.

    Parameters
    ----------
    heat : (H, W) float
        0 or more.
    points : (68, 2) int32
        The face's landmarks, in pixels of the heat map.

    Returns
    -------
    dict
        By names of `REGIONS`: brows, nose, eyes and mouth are their outlines with a margin of a
        tenth of the distance between the eyes; "jaw" is the rest inside the jaw line and the
        brows, chin and cheeks; "outside" is hair, neck and background.

    Raises
    ------
    ExplainError
        If there is no heat at all.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        raise ExplainError("There is no heat on this image, so no shares of it.")
    height, width = heat.shape
    regions = region_map(points, width=width, height=height)
    sums = np.bincount(regions.ravel(), weights=heat.ravel(), minlength=len(REGIONS))
    return {name: float(s / total) for name, s in zip(REGIONS, sums, strict=True)}
