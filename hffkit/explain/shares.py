"""How much of the heat lies on which part of the faces, over many faces."""

import numpy as np

from hffkit.explain.explainer import Explained
from hffkit.explain.regions import region_shares
from hffkit.faces.detection import face_of
from hffkit.faces.landmarks import Predictor, landmarks_of
from hffkit.media.image import grey

AREA = "area"  # the share of even heat, which others must be compared with


class Shares:
    """Adds up shares of heat by class, kind of map and region."""

    def __init__(self, predictor: Predictor) -> None:
        """Begin with no face."""
        self._predictor = predictor
        self._sums: dict[str, dict[str, dict[str, float]]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, name: str, one: Explained) -> None:
        """Take in a face of the class `name`; it must fill its image as crops of `build` do."""
        image = one.subject.image
        face = face_of((0, 0, image.shape[0]))
        points = landmarks_of(self._predictor, grey(image), face)
        even = np.ones(image.shape[:2], np.float32)
        for key, heat in {**one.heats, AREA: even}.items():
            if not heat.any():  # of which there are no shares
                continue
            sums = self._sums.setdefault(name, {}).setdefault(key, {})
            for region, share in region_shares(heat, points).items():
                sums[region] = sums.get(region, 0.0) + share
            counts = self._counts.setdefault(name, {})
            counts[key] = counts.get(key, 0) + 1

    def means(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the mean share by class, kind of map and region."""
        return {
            name: {
                key: {region: total / self._counts[name][key] for region, total in sums.items()}
                for key, sums in kinds.items()
            }
            for name, kinds in sorted(self._sums.items())
        }
