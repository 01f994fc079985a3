"""AUC within strata: pairs of a fake and a real sample count only if both are of one stratum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.errors import MetricError
from hffkit.evaluation.bootstrap import percentile_interval, resamples
from hffkit.evaluation.roc import Ranking

_N_RESAMPLES = 300
_N_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Auc:
    """An AUC with its 95 % interval over groups."""

    auc: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"AUC {self.auc:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Stratum:
    """Samples that share all controlled facts."""

    number: int
    title: str
    n_real: int
    n_fake: int
    accuracy: float
    auc: float | None  # None: it holds only fake or only real samples


def strata_of(
    keys: tuple[Floats64, Ints],
    is_fake: Bools,
    ranking: Floats64,
    is_right: Bools,
    titles: Sequence[str],
) -> tuple[Stratum, ...]:
    """Return the strata with the most samples, the largest first; those of both kinds all."""
    found = []
    for number, title in enumerate(titles):
        chosen = keys[1] == number
        n_fake = int(is_fake[chosen].sum())
        n_real = int(chosen.sum()) - n_fake
        auc = None
        if n_fake and n_real:
            auc = Ranking(is_fake[chosen], ranking[chosen]).curve().auc()
        found.append(Stratum(number, title, n_real, n_fake, float(is_right[chosen].mean()), auc))
    found.sort(key=lambda each: (each.auc is None, -each.n_real - each.n_fake, each.number))
    both = sum(each.auc is not None for each in found)
    return tuple(found[: max(both, _N_SHOWN)])


class PairAuc:
    """AUC over the pairs of a positive and a negative sample of one part, such as a stratum.

    Scores of different parts are not compared. Each part counts by its pairs.
    """

    def __init__(self, parts: Sequence[tuple[Ints, Ranking]]) -> None:
        """Take the places of the samples of each part, and their ranking."""
        self._parts = parts

    def mean(self, weights: Floats64 | None = None) -> float:
        """Compute the mean of samples that count `weights` times, (N,); NaN without a pair."""
        total = n_pairs = 0.0
        for at, ranking in self._parts:
            curve = ranking.curve(None if weights is None else weights[at])
            n = float(curve.true_positives[-1] * curve.false_positives[-1])
            total += curve.auc() * n if n else 0.0
            n_pairs += n
        return total / n_pairs if n_pairs else math.nan

    def estimate(self, groups: Ints, rng: np.random.Generator) -> Auc:
        """Compute the mean and its interval, from a bootstrap over groups (N,), numbers from 0.

        Raises
        ------
        MetricError
            If no part holds positive and negative samples.
        """
        n_groups = int(groups.max()) + 1
        drawn = [self.mean(counts[groups]) for counts in resamples(n_groups, _N_RESAMPLES, rng)]
        whole, values = self.mean(), [value for value in drawn if not math.isnan(value)]
        if math.isnan(whole) or not values:
            raise MetricError("no stratum holds fake and real samples")
        return Auc(whole, *percentile_interval(values))


def grouped_auc(
    is_fake: Bools, ranking: Floats64, groups: Ints, strata: Ints, rng: np.random.Generator
) -> Auc:
    """Compute the AUC within strata (N,), weighted by pairs, with a bootstrap over groups (N,).

    Raises
    ------
    MetricError
        If no stratum holds fake and real samples.
    """
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    members = (np.flatnonzero(strata == stratum) for stratum in np.unique(strata))
    parts = [(at, Ranking(is_fake[at], ranking[at])) for at in members]
    return PairAuc(parts).estimate(numbers, rng)
