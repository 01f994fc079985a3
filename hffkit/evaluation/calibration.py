"""Calibration: confidence of the predicted class against its accuracy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64, Ints

N_BINS = 15  # of the calibration error, as Guo et al. 2017


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


class TopLabels:
    """Confidences in the predicted class, put into bins once for many weights."""

    def __init__(
        self, labels: Ints, probabilities: npt.NDArray[np.float32], n_bins: int = N_BINS
    ) -> None:
        """Take labels (N,) and probabilities (N, C); the confidence is the largest of a row.

        The `n_bins` bins are (low, high], of equal width over (0, 1].
        """
        self._confidence = probabilities.max(axis=1).astype(np.float64)
        self._right = (np.argmax(probabilities, axis=1) == labels).astype(np.float64)
        bins = np.ceil(self._confidence * n_bins).astype(np.int64) - 1
        self._bins = np.clip(bins, 0, n_bins - 1)
        self._n_bins = n_bins

    def calibration(self, weights: Floats64 | None = None) -> Calibration:
        """Return the calibration of samples that count `weights` times, (N,); else once.

        References
        ----------
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
        """
        often = np.ones(len(self._bins)) if weights is None else weights
        counts = np.bincount(self._bins, often, self._n_bins).astype(np.float64)
        sums = (
            np.bincount(self._bins, often * values, self._n_bins)
            for values in (self._confidence, self._right)
        )
        means = [total / np.maximum(counts, 1) for total in sums]
        return Calibration(counts, means[0], means[1])
