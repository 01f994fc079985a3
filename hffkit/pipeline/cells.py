"""Cells of a table: accuracies of one or several seeds, and their resamples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.evaluation.bootstrap import N_RESAMPLES, percentile_interval, resamples
from hffkit.manifest.seeds import rng_for

Place = tuple[str, str]
"""Titles of the row and the column of a cell."""
OVERALL: Place = ("all images", "accuracy")
"""The cell beside a confusion matrix: the share of all images that are predicted rightly."""
Answer = Mapping[str, str]
"""One line of the samples.csv of an eval step."""


@dataclass(frozen=True, slots=True)
class CellSums:
    """The sums of a cell by group: samples, and correct predictions for each seed."""

    totals: Mapping[str, int]
    right: Mapping[str, Floats64]  # (seeds,)


class Grid:
    """Cells and their resamples, of the same groups and seeds for all cells.

    So differences are between the same images, and a resample draws seeds as well as groups: its
    spread contains what other test images and what other trainings would change. With one seed
    it contains the images alone.
    """

    def __init__(self, sums: Mapping[Place, CellSums], title: str) -> None:
        self.places = {place: number for number, place in enumerate(sums)}
        groups = sorted({group for each in sums.values() for group in each.totals})
        numbers = {group: number for number, group in enumerate(groups)}
        n_seeds = max(len(next(iter(each.right.values()))) for each in sums.values())
        self._totals = np.zeros((len(sums), len(groups)))
        self._right = np.zeros((n_seeds, len(sums), len(groups)))
        for row, each in enumerate(sums.values()):
            for group, total in each.totals.items():
                self._totals[row, numbers[group]] = total
                self._right[:, row, numbers[group]] = each.right[group]
        of_groups = resamples(len(groups), N_RESAMPLES, rng_for(0, "table", title))
        of_seeds = resamples(n_seeds, N_RESAMPLES, rng_for(0, "table seeds", title))
        with np.errstate(invalid="ignore"):
            self.resamples: Floats64 = np.array(
                [
                    100 * (seeds / n_seeds @ (self._right @ counts)) / (self._totals @ counts)
                    for counts, seeds in zip(of_groups, of_seeds, strict=True)
                ]
            )  # (R, cells)
        self.by_seed: Floats64 = 100 * self._right.sum(2) / self._totals.sum(1)  # (seeds, cells)
        if len(groups) < 2:
            self.resamples[:] = np.nan

    def values(self, weights: Mapping[Place, float]) -> tuple[Floats64, Floats64]:
        """Compute a weighted sum of cells, for each seed and for each resample."""
        numbers = [self.places[place] for place in weights]
        factors = np.array(list(weights.values()))
        return self.by_seed[:, numbers] @ factors, self.resamples[:, numbers] @ factors


def interval(values: Floats64) -> tuple[float, float]:
    """Compute the 95 % percentile interval; NaN if no resample has a value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    return percentile_interval(known)


def sums_of(tables: Sequence[Sequence[Answer]], is_right: Callable[[Answer], bool]) -> CellSums:
    """Sum up one cell, from tables of the same samples by several seeds."""
    totals: dict[str, int] = {}
    right: dict[str, Floats64] = {}
    for row in tables[0]:
        totals[row["group"]] = totals.get(row["group"], 0) + 1
    for number, rows in enumerate(tables):
        for row in rows:
            counts = right.setdefault(row["group"], np.zeros(len(tables)))
            counts[number] += is_right(row)
    return CellSums(totals, right)
