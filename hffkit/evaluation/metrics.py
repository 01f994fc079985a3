"""The table of metrics: each is a function of sums over samples, with its title and unit.

The score is the probability of fake, and every rate is in [0, 1]; Cllr may be larger. A new metric
is a row here: JSON, tables, intervals and pages read the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import MetricError
from hffkit.evaluation.sums import Sums

LevelName = Literal["frame", "video_mean", "video_vote"]
IntervalKind = Literal["percentile", "basic", "none"]
"""Of the resampled values; "basic" mirrors them at the estimate, for metrics that resampling
alone raises."""
EVERY_LEVEL: tuple[LevelName, ...] = ("frame", "video_mean", "video_vote")
WITH_SCORES: tuple[LevelName, ...] = ("frame", "video_mean")
STRICTEST_FPR = 0.001  # of the levels
UNDEFINED = "–"  # noqa: RUF001 - the dash of tables


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its title, its unit and its definition."""

    title: str
    unit: Literal["percent", "fraction"]  # of texts; values are in [0, 1]
    compute: Callable[[Sums], float]  # raises MetricError where it is not defined
    levels: tuple[LevelName, ...] = EVERY_LEVEL  # none: for the table of qualities only
    interval: IntervalKind = "percentile"

    def text(self, value: float | None) -> str:
        """Return a value as text: `96.16 %`, `0.9876`, or a dash."""
        if value is None:
            return UNDEFINED
        return f"{value:.4f}" if self.unit == "fraction" else f"{100 * value:.2f} %"


def majority_accuracy(sums: Sums) -> float:
    """Compute the accuracy of a detector that always predicts the most frequent true class."""
    totals = sums.confusion.sum(axis=1)
    return float(totals.max() / totals.sum())


def accuracy(sums: Sums) -> float:
    """Compute the share of samples whose predicted class is the true one.

    Every image weighs the same: the AMTENnet paper's "average accuracy".
    """
    return float(sums.confusion.trace() / sums.confusion.sum())


def class_mean_accuracy(sums: Sums) -> float:
    """Compute the mean recall of the classes that occur, elsewhere called balanced accuracy."""
    return _mean_recall(sums.confusion)


def _mean_recall(counts: Floats64) -> float:
    totals = counts.sum(axis=1)
    return float(np.mean(counts.diagonal()[totals > 0] / totals[totals > 0]))


def binary_majority_accuracy(sums: Sums) -> float:
    """Compute the fake/real accuracy of a detector that calls everything the more frequent one."""
    totals = sums.calls.sum(axis=1)
    return float(totals.max() / totals.sum())


def binary_class_mean_accuracy(sums: Sums) -> float:
    """Compute the mean of the shares of fakes called fake and of reals called real."""
    return _mean_recall(sums.calls)


def binary_accuracy(sums: Sums) -> float:
    """Compute the share of samples rightly called fake (a score of 0.5 or more) or real.

    A forgery taken for another forgery is right.
    """
    return float(sums.calls.trace() / sums.calls.sum())


def _tpr_at_fpr(limit: float, levels: tuple[LevelName, ...] = ()) -> Metric:
    title = f"TPR at FPR {100 * limit:g} %"
    return Metric(title, "percent", lambda sums: sums.curve.tpr_at_fpr(limit), levels)


METRICS: Mapping[str, Metric] = {
    "majority_accuracy": Metric(
        "Baseline: always the largest class", "percent", majority_accuracy, interval="none"
    ),
    "class_mean_accuracy": Metric("Balanced (class-mean) accuracy", "percent", class_mean_accuracy),
    "accuracy": Metric("Accuracy", "percent", accuracy),
    "binary_majority_accuracy": Metric(
        "Fake/real baseline: always the larger",
        "percent",
        binary_majority_accuracy,
        interval="none",
    ),
    "binary_class_mean_accuracy": Metric(
        "Fake/real balanced accuracy", "percent", binary_class_mean_accuracy
    ),
    "binary_accuracy": Metric("Fake/real accuracy", "percent", binary_accuracy),
    "auc": Metric("AUC", "fraction", lambda sums: sums.curve.auc(), WITH_SCORES),
    "eer": Metric(
        "Equal error rate", "percent", lambda sums: sums.curve.equal_error_rate(), WITH_SCORES
    ),
    "average_precision": Metric(
        "Average precision", "fraction", lambda sums: sums.curve.average_precision(), WITH_SCORES
    ),
    "tpr_at_fpr_0.001": _tpr_at_fpr(STRICTEST_FPR, WITH_SCORES),
    "tpr_at_fpr_0.01": _tpr_at_fpr(0.01, WITH_SCORES),
    "tpr_at_fpr_0.1": _tpr_at_fpr(0.1, WITH_SCORES),
    "calibration_error": Metric(
        "Calibration error",
        "fraction",
        lambda sums: sums.calibration.error(),
        WITH_SCORES,
        interval="basic",
    ),
    "balanced_calibration_error": Metric(
        "Balanced calibration error",
        "fraction",
        lambda sums: sums.balanced_calibration_error,
        WITH_SCORES,
        interval="basic",
    ),
    "cllr": Metric(
        "Log-likelihood-ratio cost (Cllr), bits", "fraction", lambda sums: sums.cllr, WITH_SCORES
    ),
    "eer_published": Metric(
        "Misses where errors are nearest",
        "percent",
        lambda sums: sums.curve.nearest_miss_rate(),
        (),
    ),
    "tpr_at_fpr_0.0001": _tpr_at_fpr(1e-4),
    "tpr_at_fpr_1e-05": _tpr_at_fpr(1e-5),
    "tpr_at_fpr_1e-06": _tpr_at_fpr(1e-6),
    "tpr_at_first_false_alarm": Metric(
        "TPR at the first false alarm",
        "percent",
        lambda sums: sums.curve.tpr_at_first_false_alarm(),
        (),
    ),
}


def metrics_of(level: LevelName) -> dict[str, Metric]:
    """Return the metrics of a level by their names."""
    return {name: metric for name, metric in METRICS.items() if level in metric.levels}


def relative_error_reduction(accuracy: float, other_accuracy: float) -> float:
    """Compute the share of another detector's errors that this one avoids, from accuracies in 0..1.

    It is (E_other - E_this) / E_other with E = 1 - accuracy: at most 1, and below 0 if this one is
    worse. This is RER in Table VI of the AMTENnet paper.

    Raises
    ------
    MetricError
        If the other makes no error.
    """
    other_error = 1.0 - other_accuracy
    if other_error <= 0:
        raise MetricError("The other accuracy must be below 1, got 1. RER is not defined.")
    return (accuracy - other_accuracy) / other_error
