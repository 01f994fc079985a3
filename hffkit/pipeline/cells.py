"""Cells of a table: accuracies of one or several seeds, and their resamples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

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
_BLOCK = 50  # resamples at a time: few passes over the sums of many groups


@dataclass(frozen=True, slots=True)
class CellSums:
    """The sums of a cell by group and seed, or repeat: samples, and correct predictions."""

    n_seeds: int
    totals: Mapping[str, Floats64]  # (seeds,)
    right: Mapping[str, Floats64]  # (seeds,)


class Resampled(Protocol):
    """Cells with their resamples."""

    def values(self, weights: Mapping[Place, float]) -> tuple[Floats64, Floats64]:
        """Compute a weighted sum of cells, for each seed and for each resample."""


class SeedGrid:
    """Cells whose values were resampled over groups before, for one or several seeds.

    A resample draws seeds too, the same for all cells.
    """

    def __init__(self, found: Mapping[Place, Sequence[Floats64]], title: str) -> None:
        """Take for each cell the values (1 + R,) of each seed, the first over all groups."""
        self._by_seed = {place: np.array([one[0] for one in each]) for place, each in found.items()}
        self._resamples = {
            place: _drawn(np.array(each)[:, 1:], title) for place, each in found.items()
        }

    def values(self, weights: Mapping[Place, float]) -> tuple[Floats64, Floats64]:
        """Compute a weighted sum of cells, for each seed and for each resample."""
        n_seeds = min(len(self._by_seed[place]) for place in weights)
        by_seed = [w * self._by_seed[place][:n_seeds] for place, w in weights.items()]
        drawn = [w * self._resamples[place] for place, w in weights.items()]
        return np.sum(by_seed, axis=0), np.sum(drawn, axis=0)


def _drawn(resampled: Floats64, title: str) -> Floats64:
    """Return (R,) means over seeds drawn with replacement, of values (seeds, R)."""
    n_seeds, n = resampled.shape
    counts = np.array(list(resamples(n_seeds, n, rng_for(0, "table seeds", title))))
    return np.asarray((counts.reshape(n, n_seeds).T * resampled).sum(0) / n_seeds, np.float64)


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
        self._n_seeds = [each.n_seeds for each in sums.values()]
        shape = (max(self._n_seeds), len(sums), len(groups))
        totals, right = np.zeros(shape), np.zeros(shape)
        for row, each in enumerate(sums.values()):
            for group in each.totals:
                place = (slice(each.n_seeds), row, numbers[group])
                totals[place], right[place] = each.totals[group], each.right[group]
        with np.errstate(invalid="ignore"):
            # (seeds, cells); NaN where a cell has fewer seeds than others
            self.by_seed: Floats64 = 100 * right.sum(2) / totals.sum(2)
            self.resamples = self._resamples(right, totals, title)
        if len(groups) < 2:
            self.resamples[:] = np.nan

    def _resamples(self, right: Floats64, totals: Floats64, title: str) -> Floats64:
        """Compute cells (R, cells) from sums (seeds, cells, groups)."""
        drawn = resamples(right.shape[2], N_RESAMPLES, rng_for(0, "table", title))
        weights = np.zeros((N_RESAMPLES, *right.shape[:2]))  # how often each seed is drawn
        for n in set(self._n_seeds):
            of_seeds = resamples(n, N_RESAMPLES, rng_for(0, "table seeds", title))
            cells = np.equal(self._n_seeds, n)
            weights[:, :n, cells] = np.array(list(of_seeds))[:, :, None]
        found = []
        for begin in range(0, N_RESAMPLES, _BLOCK):
            counts = np.array(list(islice(drawn, _BLOCK)))  # (block, groups)
            block = weights[begin : begin + _BLOCK]
            n_right, n_all = (np.moveaxis(each @ counts.T, -1, 0) for each in (right, totals))
            shares = np.where(block > 0, block * n_right / n_all, 0)
            found.append(100 * shares.sum(1) / block.sum(1))
        return np.concatenate(found)

    def values(self, weights: Mapping[Place, float]) -> tuple[Floats64, Floats64]:
        """Compute a weighted sum of cells, for each seed and for each resample."""
        numbers = [self.places[place] for place in weights]
        factors = np.array(list(weights.values()))
        n_seeds = min(self._n_seeds[number] for number in numbers)
        return self.by_seed[:n_seeds, numbers] @ factors, self.resamples[:, numbers] @ factors


def interval(values: Floats64) -> tuple[float, float]:
    """Compute the 95 % percentile interval; NaN if no resample has a value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    return percentile_interval(known)


def sums_of(tables: Sequence[Sequence[Answer]], is_right: Callable[[Answer], bool]) -> CellSums:
    """Sum up one cell, from a table of samples for each seed or repeat."""
    n_seeds = len(tables)
    totals: dict[str, Floats64] = {}
    right: dict[str, Floats64] = {}
    for number, rows in enumerate(tables):
        for row in rows:
            totals.setdefault(row["group"], np.zeros(n_seeds))[number] += 1
            right.setdefault(row["group"], np.zeros(n_seeds))[number] += is_right(row)
    return CellSums(n_seeds, totals, right)
