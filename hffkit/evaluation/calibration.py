"""Calibration: confidence of the predicted class against its accuracy, and scores as odds."""

from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats32, Floats64, Ints
from hffkit.errors import MetricError
from hffkit.runs.scores import clipped

N_BINS = 15  # of the calibration errors, as Guo et al. 2017


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples in bins of equal width of their confidence; (B,) each."""

    counts: Floats64
    confidence: Floats64  # mean over the samples of the bin; 0 where there are none
    accuracy: Floats64  # share of them that is right; 0 where there are none

    def error(self) -> float:
        """Compute the expected calibration error: the mean gap of the bins, by samples."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.sum(gaps * self.counts) / self.counts.sum())


class _Bins:
    """Confidences and whether each is right, put into bins once for many weights."""

    def __init__(self, confidence: Floats64, right: Floats64, n_bins: int) -> None:
        bins = np.ceil(confidence * n_bins).astype(np.int64) - 1
        self._bins = np.clip(bins, 0, n_bins - 1)
        self._confidence, self._right, self._n_bins = confidence, right, n_bins

    def calibration(self, weights: Floats64) -> Calibration:
        counts = np.bincount(self._bins, weights, self._n_bins).astype(np.float64)
        sums = (
            np.bincount(self._bins, weights * values, self._n_bins)
            for values in (self._confidence, self._right)
        )
        means = [total / np.where(counts > 0, counts, 1) for total in sums]
        return Calibration(counts, means[0], means[1])


class TopLabels:
    """Confidences in the predicted class, put into bins once for many weights."""

    def __init__(self, labels: Ints, probabilities: Floats32, n_bins: int = N_BINS) -> None:
        """Take labels (N,) and probabilities (N, C); the confidence is the largest of a row.

        The `n_bins` bins are (low, high], of equal width over (0, 1].
        """
        right = (np.argmax(probabilities, axis=1) == labels).astype(np.float64)
        self._bins = _Bins(probabilities.max(axis=1).astype(np.float64), right, n_bins)
        self._n = len(labels)

    def calibration(self, weights: Floats64 | None = None) -> Calibration:
        """Return the calibration of samples that count `weights` times, (N,); else once.

        References
        ----------
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
        """
        return self._bins.calibration(np.ones(self._n) if weights is None else weights)


class BalancedScores:
    """Scores of fakes and reals, which weigh half each whatever their numbers."""

    def __init__(self, is_fake: Bools, scores: Floats64, n_bins: int = N_BINS) -> None:
        """Take is_fake (N,) and scores (N,), probabilities of fake."""
        self._is_fake = is_fake
        self._bins = _Bins(scores, is_fake.astype(np.float64), n_bins)
        inside = clipped(scores)
        self._costs = -np.log2(np.where(is_fake, inside, 1 - inside))  # bits

    def error(self, weights: Floats64 | None = None) -> float:
        """Compute the balanced calibration error of samples that count `weights` times, (N,).

        It is the expected calibration error of the score as the probability of fake: in bins of
        equal width, the gap between the mean score and the share of fakes.
        """
        return self._bins.calibration(self._balanced(weights)).error()

    def cllr(self, weights: Floats64 | None = None) -> float:
        """Compute the cost of the log-likelihood ratio in bits; 1 is that of a score of 0.5.

        The odds of the score are the likelihood ratio.

        References
        ----------
        Brümmer and du Preez 2006, Application-independent evaluation of speaker detection.
        """
        return float(np.sum(self._balanced(weights) * self._costs))

    def _balanced(self, weights: Floats64 | None) -> Floats64:
        """Return weights whose sum is 1/2 over fakes and 1/2 over reals."""
        often = np.ones(len(self._is_fake)) if weights is None else weights
        n_fake, n_real = (float(often[kind].sum()) for kind in (self._is_fake, ~self._is_fake))
        if not n_fake or not n_real:
            raise MetricError(
                f"labels must hold real and fake, got {n_fake:.0f} fake and {n_real:.0f} real. "
                "Balanced calibration is not defined; evaluate on a set with both."
            )
        totals: Floats64 = np.where(self._is_fake, n_fake, n_real)
        return often / (2 * totals)
