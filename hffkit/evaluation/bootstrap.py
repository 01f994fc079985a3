"""Bootstrap intervals over groups: frames of one video, images of one person, stay together."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import MetricError
from hffkit.evaluation.metrics import IntervalKind, Metric
from hffkit.evaluation.sums import GroupedSamples

N_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A 95 % interval."""

    low: float
    high: float
    n_left_out: int  # resamples in which the metric was not defined


def bootstrap_intervals(
    samples: Sequence[GroupedSamples],
    metrics: Mapping[str, Metric],
    *,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, ConfidenceInterval]:
    """Compute the 95 % interval of each metric from groups drawn with replacement.

    `samples` are the same samples as scored by one or several trainings. Of several, the interval
    is that of the mean: each resample draws groups, the same for all, and then as many trainings
    as there are, with replacement.

    Resamples in which a metric is not defined are left out and counted. A metric that no
    resample defines has no interval; with one group only there are none. A metric's `interval`
    names the kind: percentiles, those mirrored at the estimate and cut to [0, 1], or none.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13. Davison and Hinkley
    1997, Bootstrap Methods and their Application, section 3.8, on drawing at two levels.
    """
    n_groups, n = samples[0].n_groups, len(samples)
    if n_groups < 2:
        return {}
    values: dict[str, list[float]] = {}
    for counts in resamples(n_groups, n_resamples, rng):
        drawn = Counter(rng.integers(n, size=n).tolist() if n > 1 else [0])
        sums = [(samples[place].sums(counts), times) for place, times in drawn.items()]
        for name, metric in metrics.items():
            if metric.interval == "none":
                continue
            try:
                value = sum(metric.compute(each) * times for each, times in sums) / n
            except MetricError:
                continue
            values.setdefault(name, []).append(value)
    everything = [each.sums() for each in samples]
    intervals = {}
    for name, found in values.items():
        estimate = sum(metrics[name].compute(each) for each in everything) / n
        n_left_out = n_resamples - len(found)
        intervals[name] = interval_of(metrics[name].interval, estimate, found, n_left_out)
    return intervals


def interval_of(
    kind: IntervalKind, estimate: float, found: Floats64 | list[float], n_left_out: int
) -> ConfidenceInterval:
    """Return the interval of a kind of a metric in [0, 1], from its resampled values."""
    low, high = percentile_interval(found)
    if kind == "basic":
        low, high = (min(max(0.0, 2 * estimate - bound), 1.0) for bound in (high, low))
    return ConfidenceInterval(low, high, n_left_out)


def resamples(n_groups: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield how often each group occurs, (G,), in groups drawn with replacement."""
    for _ in range(n_resamples):
        drawn = rng.integers(n_groups, size=n_groups)
        yield np.bincount(drawn, minlength=n_groups).astype(np.float64)


def percentile_interval(values: Floats64 | list[float]) -> tuple[float, float]:
    """Return the bounds that leave 2.5 % of the values out at each side."""
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high
