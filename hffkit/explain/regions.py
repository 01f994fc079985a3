"""Shares of a heat map on the parts of a face."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats32
from hffkit.errors import ExplainError
from hffkit.faces.detection import face_of
from hffkit.faces.landmarks import Predictor, landmarks_of
from hffkit.faces.outline import Points, outline
from hffkit.media.image import Image, grey

# Indices of the 68 landmarks of hffkit.faces.outline, from 0.
_OUTLINES: dict[str, tuple[range, ...]] = {
    "brows": (range(17, 22), range(22, 27)),
    "nose": (range(27, 36),),
    "eyes": (range(36, 42), range(42, 48)),
    "mouth": (range(48, 68),),
}
REGIONS = ("outside", "jaw", *_OUTLINES)
AREA = "area"  # shares of a uniform heat map, the baseline of the others
_MARGIN = 0.1  # of the distance between the eyes, round each part: landmarks lie on its edge

Shares = dict[str, float]
"""Share of the heat by region; they sum to 1."""


def region_map(points: Points, *, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the index in `REGIONS` of each pixel, (H, W), by landmarks (68, 2) int32."""
    found = np.zeros((height, width), np.uint8)
    cv2.fillPoly(found, [outline(points, width=width, height=height)], (1,))
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    margin = max(1, round(2 * _MARGIN * float(np.linalg.norm(eyes[0] - eyes[1]))))
    for number, name in enumerate(_OUTLINES, 2):
        for indices in _OUTLINES[name]:
            hull = cv2.convexHull(points[list(indices)])
            cv2.fillConvexPoly(found, hull, number)
            cv2.polylines(found, [hull], isClosed=True, color=number, thickness=margin)
    return found


def region_shares(heat: Floats32, points: Points) -> Shares:
    """Compute the share of the heat on each region of a face.

    Parameters
    ----------
    heat : (H, W) float32
        0 or more.
    points : (68, 2) int32
        Landmarks of the face, in pixels of the heat map.

    Returns
    -------
    dict
        By the names in `REGIONS`. Brows, nose, eyes and mouth are their outlines with a margin of
        a tenth of the distance between the eyes; "jaw" is the rest within jaw line and brows
        (chin and cheeks); "outside" is hair, neck and background.

    Raises
    ------
    ExplainError
        If the heat is 0 everywhere.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        raise ExplainError("The heat map is 0 everywhere; shares of it are not defined.")
    height, width = heat.shape
    regions = region_map(points, width=width, height=height)
    sums = np.bincount(regions.ravel(), weights=heat.ravel(), minlength=len(REGIONS))
    return {name: float(s / total) for name, s in zip(REGIONS, sums, strict=True)}


class MeanShares:
    """Mean shares of heat over many faces, by class and map."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._sums: dict[str, dict[str, Shares]] = defaultdict(
            lambda: defaultdict(lambda: dict.fromkeys(REGIONS, 0.0))
        )
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, cls: str, image: Image, heats: Mapping[str, Floats32]) -> None:
        """Add a face of class `cls`, which must fill `image` as the crops of `build` do."""
        points = landmarks_of(self._predictor, grey(image), face_of((0, 0, image.shape[0])))
        for name, heat in {**heats, AREA: np.ones(image.shape[:2], np.float32)}.items():
            if heat.any():
                for region, share in region_shares(heat, points).items():
                    self._sums[cls][name][region] += share
                self._counts[cls, name] += 1

    def means(self) -> dict[str, dict[str, Shares]]:
        """Return the mean shares by class and map."""
        return {
            cls: {
                name: {region: total / self._counts[cls, name] for region, total in sums.items()}
                for name, sums in by_map.items()
            }
            for cls, by_map in sorted(self._sums.items())
        }
