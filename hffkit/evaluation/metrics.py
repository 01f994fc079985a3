"""Metrics: small pure functions on arrays.

Labels are class ids; scores are the probability of fake; every rate is in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.errors import MetricError
from hffkit.evaluation.roc import Ranking, RocCurve

N_BINS = 15  # of the calibration error, as Guo et al. 2017


def accuracy(labels: Ints, predicted: Ints) -> float:
    """Return the share of samples whose class is right.

    Every image weighs the same: the AMTENnet paper's "average accuracy".

    Parameters
    ----------
    labels, predicted : (N,) int
        True and predicted class.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    MetricError
        If there is no sample.
    """
    _demand_samples(labels, "Accuracy")
    return float(np.mean(labels == predicted))


def class_mean_accuracy(labels: Ints, predicted: Ints) -> float:
    """Return the mean of the recalls of the classes that occur; every class weighs the same.

    Parameters
    ----------
    labels, predicted : (N,) int
        True and predicted class.

    Returns
    -------
    float
        In [0, 1]; elsewhere called balanced accuracy.

    Raises
    ------
    MetricError
        If there is no sample.
    """
    _demand_samples(labels, "Class-mean accuracy")
    right = labels == predicted
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def binary_accuracy(is_fake: Bools, scores: Floats64) -> float:
    """Return the share of samples rightly called fake (score of 0.5 or more) or real.

    Parameters
    ----------
    is_fake : (N,) bool
    scores : (N,) float
        Probability of fake; of a multi-class network the sum over its fake classes.

    Returns
    -------
    float
        In [0, 1]. A forgery taken for another forgery is right here.

    Raises
    ------
    MetricError
        If there is no sample.
    """
    _demand_samples(is_fake, "Accuracy")
    return float(np.mean(is_fake == (scores >= 0.5)))


def confusion_counts(labels: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Return how many samples of each true class (row) were given each class (column), (C, C)."""
    cells = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def row_percent(counts: Ints) -> Floats64:
    """Return a confusion matrix in per cent of its rows, the true classes.

    Each row sums to 100; that of a class without samples is zero. (The authors' test.py
    divides column j by the sum of row j, which is wrong wherever classes differ in size.)

    Parameters
    ----------
    counts : (C, C) int
        Rows are true classes, columns predicted ones.

    Returns
    -------
    (C, C) float
        In [0, 100].
    """
    totals = counts.sum(axis=1, keepdims=True)
    return np.asarray(100.0 * counts / np.maximum(totals, 1), np.float64)


def recalls(counts: Ints) -> tuple[float | None, ...]:
    """Return for each class the share of its samples that were found; None if it has none."""
    rows = zip(counts.diagonal().tolist(), counts.sum(axis=1).tolist(), strict=True)
    return tuple(found / total if total else None for found, total in rows)


def relative_error_reduction(accuracy: float, other_accuracy: float) -> float:
    """Return the RER: which part of another network's errors this one does not make.

    Parameters
    ----------
    accuracy, other_accuracy : float
        In [0, 1].

    Returns
    -------
    float
        (E_other - E_this) / E_other with E = 1 - accuracy; at most 1, below 0 if this is worse.

    Raises
    ------
    MetricError
        If the other makes no error.

    References
    ----------
    The RER column of Table VI of the AMTENnet paper.
    """
    other_error = 1.0 - other_accuracy
    if other_error <= 0:
        raise MetricError("The other accuracy must be below 1, got 1. RER is not defined.")
    return (accuracy - other_accuracy) / other_error


def roc_curve(is_fake: Bools, scores: Floats64) -> RocCurve:
    """Return the ROC curve of samples; both arrays are (N,), scores are for fake."""
    return Ranking(is_fake, scores).curve()


def roc_auc(is_fake: Bools, scores: Floats64) -> float:
    """Return the area under the ROC curve, ties counted half.

    Parameters
    ----------
    is_fake : (N,) bool
        Both values must occur.
    scores : (N,) float
        Score for fake; only the order matters.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    MetricError
        If only fakes or only reals occur.

    References
    ----------
    Mann and Whitney 1947: the U statistic over n_real * n_fake.
    """
    return roc_curve(is_fake, scores).auc()


def equal_error_rate(is_fake: Bools, scores: Floats64) -> float:
    """Return the error rate where as large a part of reals as of fakes is misjudged.

    Between two points of the ROC curve it is interpolated linearly, so it need not belong to
    any threshold. Shapes and errors as of `roc_auc`.

    Returns
    -------
    float
        In [0, 1]; 0.5 for chance.
    """
    return roc_curve(is_fake, scores).equal_error_rate()


def average_precision(is_fake: Bools, scores: Floats64) -> float:
    """Return the sum over thresholds of precision times the step in recall; fake is positive.

    Not interpolated. Shapes and errors as of `roc_auc`.

    Returns
    -------
    float
        In (0, 1]; the share of fakes for chance.
    """
    return roc_curve(is_fake, scores).average_precision()


def tpr_at_fpr(is_fake: Bools, scores: Floats64, limit: float) -> float:
    """Return the largest share of fakes found by a threshold whose FPR is at most `limit`.

    No interpolation: some threshold really gives it. With fewer than 1 / `limit` reals it is
    the share found without any false alarm. Shapes and errors as of `roc_auc`.

    Returns
    -------
    float
        In [0, 1].
    """
    return roc_curve(is_fake, scores).tpr_at_fpr(limit)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against accuracy in bins of equal width; (B,) each."""

    counts: Ints
    confidence: Floats64  # mean over the samples of the bin; 0 where there are none
    accuracy: Floats64  # share of them that is right; 0 where there are none

    def error(self) -> float:
        """Return the mean distance of both, weighted by samples: see `calibration_error`."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.sum(gaps * self.counts) / self.counts.sum())


def calibration(
    labels: Ints, probabilities: npt.NDArray[np.float32], n_bins: int = N_BINS
) -> Calibration:
    """Return the calibration of the top label in `n_bins` bins (low, high] over (0, 1].

    Parameters
    ----------
    labels : (N,) int
    probabilities : (N, C) float
        The confidence is the largest of a row.
    n_bins : int
        Fifteen, as in the reference.

    Raises
    ------
    MetricError
        If there is no sample.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    _demand_samples(labels, "The calibration error")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = np.argmax(probabilities, axis=1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    sums = (np.bincount(bins, values, n_bins) for values in (confidence, right))
    means = [total / np.maximum(counts, 1) for total in sums]
    return Calibration(counts.astype(np.int64), means[0], means[1])


def calibration_error(labels: Ints, probabilities: npt.NDArray[np.float32]) -> float:
    """Return the expected calibration error: top label, 15 bins of equal width; in [0, 1]."""
    return calibration(labels, probabilities).error()


def _demand_samples(values: npt.NDArray[np.int64] | Bools, metric: str) -> None:
    if not len(values):
        raise MetricError(f"labels must hold samples, got none. {metric} is not defined.")
