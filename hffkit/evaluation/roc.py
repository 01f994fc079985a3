"""The ROC curve, and the metrics that are read from it."""

from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats64
from hffkit.errors import MetricError


@dataclass(frozen=True, slots=True)
class RocCurve:
    """How many fakes and reals score at least each threshold.

    Samples of one score are one step, so ties are never broken by the order of samples.
    """

    thresholds: Floats64  # (T+1,) falling; the first is infinite: nothing is called fake
    true_positives: Floats64  # (T+1,) fakes at or above it, rising from 0 to their number
    false_positives: Floats64  # (T+1,) reals at or above it

    @property
    def n_fake(self) -> int:
        """How many fakes there are."""
        return round(float(self.true_positives[-1]))

    @property
    def n_real(self) -> int:
        """How many reals there are."""
        return round(float(self.false_positives[-1]))

    def rates(self, metric: str) -> tuple[Floats64, Floats64]:
        """Return FPR and TPR at each threshold, (T+1,) each, rising from 0 to 1.

        Raises
        ------
        MetricError
            If fake or real does not occur; it says that `metric` is not defined.
        """
        if not self.n_fake or not self.n_real:
            raise MetricError(
                f"labels must hold real and fake, got {self.n_fake} fake and {self.n_real} real. "
                f"{metric} is not defined; evaluate on a set with both."
            )
        return (
            self.false_positives / self.false_positives[-1],
            self.true_positives / self.true_positives[-1],
        )

    def auc(self) -> float:
        """Return the area under the curve, ties counted half: see `metrics.roc_auc`."""
        fpr, tpr = self.rates("AUC")
        return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2)

    def equal_error_rate(self) -> float:
        """Return where FPR = 1 - TPR: see `metrics.equal_error_rate`."""
        fpr, tpr = self.rates("EER")
        balance = fpr + tpr - 1  # rises from -1 to 1; 0 where both errors are equal
        after = int(np.argmax(balance >= 0))
        before = after - 1
        part = -balance[before] / (balance[after] - balance[before])
        return float(fpr[before] + part * (fpr[after] - fpr[before]))

    def nearest_miss_rate(self) -> float:
        """Return the share of missed fakes at the threshold where both errors are nearest.

        This is the equal error rate as Cao et al. (MM 2021) compute it: not interpolated, and of
        two thresholds that are equally near the higher one.
        """
        fpr, tpr = self.rates("EER")
        missed = 1 - tpr
        return float(missed[np.argmin(np.abs(missed - fpr))])

    def tpr_at_first_false_alarm(self) -> float:
        """Return the TPR at the highest threshold that any real reaches: where FPR leaves 0."""
        fpr, tpr = self.rates("TPR at the first false alarm")
        return float(tpr[np.argmax(fpr > 0)])

    def average_precision(self) -> float:
        """Return the sum of precision over steps of recall: see `metrics.average_precision`."""
        _, recall = self.rates("AP")
        called = self.true_positives + self.false_positives
        precision = self.true_positives / np.maximum(called, 1)  # 0 called: recall stays 0 too
        return float(np.sum(np.diff(recall) * precision[1:]))

    def tpr_at_fpr(self, limit: float) -> float:
        """Return the largest TPR whose FPR is within `limit`: see `metrics.tpr_at_fpr`."""
        fpr, tpr = self.rates("TPR at a fixed FPR")
        return float(tpr[fpr <= limit].max())


class Ranking:
    """Scores sorted once, for many ROC curves over the same samples.

    Parameters
    ----------
    is_fake : (N,) bool
    scores : (N,) float
        Score for fake; only their order matters.
    """

    def __init__(self, is_fake: Bools, scores: Floats64) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
        self._ends = np.flatnonzero(last_of_ties)
        self._fake = is_fake[self._order].astype(np.float64)
        self._thresholds = np.concatenate(([np.inf], ranked[self._ends]))

    def curve(self, weights: Floats64 | None = None) -> RocCurve:
        """Return the curve; `weights`, (N,) whole numbers, say how often each sample counts."""
        ranked = np.ones(len(self._order)) if weights is None else weights[self._order]
        called = np.cumsum(ranked)[self._ends]
        true_positives = np.cumsum(ranked * self._fake)[self._ends]
        return RocCurve(
            self._thresholds,
            np.concatenate(([0.0], true_positives)),
            np.concatenate(([0.0], called - true_positives)),
        )
