"""Bootstrap intervals over groups: frames of one video, images of one person, stay together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import MetricError
from hffkit.evaluation.metrics import Metric
from hffkit.evaluation.sums import GroupedSamples

N_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A 95 % interval."""

    low: float
    high: float
    n_left_out: int  # resamples in which the metric was not defined


def bootstrap_intervals(
    samples: GroupedSamples,
    metrics: Mapping[str, Metric],
    *,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, ConfidenceInterval]:
    """Compute the 95 % interval of each metric from groups drawn with replacement.

    Resamples in which a metric is not defined are left out and counted. A metric that no
    resample defines has no interval; with one group only there are none. A metric's `interval`
    names the kind: percentiles, or those mirrored at the estimate and cut to [0, 1].

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    if samples.n_groups < 2:
        return {}
    values: dict[str, list[float]] = {}
    for counts in resamples(samples.n_groups, n_resamples, rng):
        sums = samples.sums(counts)
        for name, metric in metrics.items():
            try:
                value = metric.compute(sums)
            except MetricError:
                continue
            values.setdefault(name, []).append(value)
    everything = samples.sums()
    intervals = {}
    for name, found in values.items():
        low, high = percentile_interval(found)
        if metrics[name].interval == "basic":
            twice = 2 * metrics[name].compute(everything)
            low, high = max(0.0, twice - high), min(1.0, twice - low)
        intervals[name] = ConfidenceInterval(low, high, n_resamples - len(found))
    return intervals


def resamples(n_groups: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield how often each group occurs, (G,), in groups drawn with replacement."""
    for _ in range(n_resamples):
        drawn = rng.integers(n_groups, size=n_groups)
        yield np.bincount(drawn, minlength=n_groups).astype(np.float64)


def percentile_interval(values: Floats64 | list[float]) -> tuple[float, float]:
    """Return the bounds that leave 2.5 % of the values out at each side."""
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high
