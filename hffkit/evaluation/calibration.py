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


def calibration(
    labels: Ints,
    probabilities: npt.NDArray[np.float32],
    weights: Floats64 | None = None,
    n_bins: int = N_BINS,
) -> Calibration:
    """Return the calibration of the top label in `n_bins` bins (low, high] over (0, 1].

    Parameters
    ----------
    labels : (N,) int
    probabilities : (N, C) float
        The confidence is the largest of a row.
    weights : (N,) float, optional
        How often each sample counts; by default once.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    often = np.ones(len(labels)) if weights is None else weights
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = np.argmax(probabilities, axis=1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    counts = np.bincount(bins, often, n_bins).astype(np.float64)
    sums = (np.bincount(bins, often * values, n_bins) for values in (confidence, right))
    means = [total / np.maximum(counts, 1) for total in sums]
    return Calibration(counts, means[0], means[1])
