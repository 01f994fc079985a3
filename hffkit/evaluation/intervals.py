"""Bootstrap intervals over groups: frames of one video, images of one person, stay together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import MetricError
from hffkit.evaluation.roc import Ranking
from hffkit.runs.scores import Decisions

N_RESAMPLES = 1_000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A 95 % percentile interval."""

    low: float
    high: float
    n_left_out: int  # resamples in which the metric was not defined


class GroupMetrics:
    """Metrics of samples whose groups occur any number of times; sorts and sums only once.

    Parameters
    ----------
    decisions : Decisions
    n_classes : int
    scores : (N,) float or None
        Without them there are no metrics of a ranking.
    """

    def __init__(self, decisions: Decisions, n_classes: int, scores: Floats64 | None) -> None:
        places = {name: place for place, name in enumerate(sorted(set(decisions.groups)))}
        self.n_groups = len(places)
        self._owners = np.array([places[name] for name in decisions.groups], np.int64)
        right = decisions.predicted == decisions.labels
        called_right = decisions.called_fake == decisions.is_fake
        self._totals = np.zeros((self.n_groups, n_classes))
        self._found = np.zeros((self.n_groups, n_classes))
        np.add.at(self._totals, (self._owners, decisions.labels), 1.0)
        np.add.at(self._found, (self._owners, decisions.labels), right.astype(np.float64))
        self._called_right = np.bincount(self._owners, called_right, self.n_groups)
        self._ranking = None if scores is None else Ranking(decisions.is_fake, scores)

    def at(self, counts: Floats64) -> dict[str, float]:
        """Return the metrics where group g counts `counts[g]` times; undefined ones are absent.

        The class mean is over the classes that still occur.
        """
        totals, found = counts @ self._totals, counts @ self._found
        occurring = totals > 0
        metrics = {
            "accuracy": float(found.sum() / totals.sum()),
            "class_mean_accuracy": float(np.mean(found[occurring] / totals[occurring])),
            "binary_accuracy": float(counts @ self._called_right / totals.sum()),
        }
        if self._ranking is not None:
            curve = self._ranking.curve(counts[self._owners])
            try:
                metrics |= {
                    "auc": curve.auc(),
                    "eer": curve.equal_error_rate(),
                    "average_precision": curve.average_precision(),
                }
            except MetricError:
                return metrics
        return metrics


def bootstrap_intervals(
    metrics: GroupMetrics, *, rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> dict[str, ConfidenceInterval]:
    """Return 95 % percentile intervals of each metric, from groups drawn with replacement.

    Resamples in which a metric is not defined are left out and counted. A metric that no
    resample defines has no interval, and none has where there is one group only.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    if metrics.n_groups < 2:
        return {}
    values: dict[str, list[float]] = {}
    for counts in resamples(metrics.n_groups, n_resamples, rng):
        for name, value in metrics.at(counts).items():
            values.setdefault(name, []).append(value)
    intervals = {}
    for name, found in values.items():
        low, high = np.percentile(found, PERCENTILES).tolist()
        intervals[name] = ConfidenceInterval(low, high, n_resamples - len(found))
    return intervals


def resamples(n_groups: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield how often each group occurs, (G,), in groups drawn with replacement."""
    for _ in range(n_resamples):
        drawn = rng.integers(n_groups, size=n_groups)
        yield np.bincount(drawn, minlength=n_groups).astype(np.float64)
