"""The ROC curve and the metrics read from it."""

from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats64
from hffkit.errors import MetricError


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Numbers of fake and real samples that score at least each threshold, falling from infinity.

    Samples of one score are one step, so the order of samples never breaks ties. Metrics raise
    MetricError if only fake or only real samples occur.
    """

    true_positives: Floats64  # (T+1,) fakes, rising from 0, where none is called fake
    false_positives: Floats64  # (T+1,) reals, likewise

    def rates(self, metric: str) -> tuple[Floats64, Floats64]:
        """Return FPR and TPR at each threshold, (T+1,) each, rising from 0 to 1.

        Raises
        ------
        MetricError
            If only fake or only real samples occur; the message names `metric`.
        """
        n_fake, n_real = self.true_positives[-1], self.false_positives[-1]
        if not n_fake or not n_real:
            raise MetricError(
                f"labels must hold real and fake, got {n_fake:.0f} fake and {n_real:.0f} real. "
                f"{metric} is not defined; evaluate on a set with both."
            )
        return self.false_positives / n_real, self.true_positives / n_fake

    def auc(self) -> float:
        """Compute the area under the curve in [0, 1], ties counted half.

        References
        ----------
        Mann and Whitney 1947: the U statistic over n_real * n_fake.
        """
        fpr, tpr = self.rates("AUC")
        return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2)

    def equal_error_rate(self) -> float:
        """Compute the error rate in [0, 1] at which FPR = 1 - TPR.

        It is interpolated linearly between two points of the curve, so it need not belong to any
        threshold.
        """
        fpr, tpr = self.rates("EER")
        balance = fpr + tpr - 1  # rises from -1 to 1; 0 where both errors are equal
        after = int(np.argmax(balance >= 0))
        before = after - 1
        part = -balance[before] / (balance[after] - balance[before])
        return float(fpr[before] + part * (fpr[after] - fpr[before]))

    def nearest_miss_rate(self) -> float:
        """Compute the share of missed fakes at the threshold where both error rates are nearest.

        This is the equal error rate as Cao et al. (MM 2021) compute it: not interpolated, and of
        two equally near thresholds the higher one.
        """
        fpr, tpr = self.rates("EER")
        missed = 1 - tpr
        return float(missed[np.argmin(np.abs(missed - fpr))])

    def tpr_at_first_false_alarm(self) -> float:
        """Compute the TPR at the highest threshold that any real sample reaches."""
        fpr, tpr = self.rates("TPR at the first false alarm")
        return float(tpr[np.argmax(fpr > 0)])

    def average_precision(self) -> float:
        """Compute the sum over thresholds of precision times the step in recall, in (0, 1].

        Fake is positive; nothing is interpolated. Chance gives the share of fakes.
        """
        _, recall = self.rates("AP")
        called = self.true_positives + self.false_positives
        precision = self.true_positives / np.maximum(called, 1)  # 0 called: recall stays 0 too
        return float(np.sum(np.diff(recall) * precision[1:]))

    def tpr_at_fpr(self, limit: float) -> float:
        """Compute the largest TPR of the thresholds whose FPR is at most `limit`.

        Not interpolated: some threshold really reaches it. With fewer than 1 / `limit` real
        samples it is the share of fakes found without any false alarm.
        """
        fpr, tpr = self.rates("TPR at a fixed FPR")
        return float(tpr[fpr <= limit].max())


class Ranking:
    """Scores sorted once, for many ROC curves over the same samples."""

    def __init__(self, is_fake: Bools, scores: Floats64) -> None:
        """Take is_fake (N,) and scores for fake (N,), of which only the order matters."""
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
        self._ends = np.flatnonzero(last_of_ties)
        self._fake = is_fake[self._order].astype(np.float64)

    def curve(self, weights: Floats64 | None = None) -> RocCurve:
        """Return the curve of samples that count `weights` times, (N,) whole numbers; else once."""
        ranked = np.ones(len(self._order)) if weights is None else weights[self._order]
        called = np.cumsum(ranked)[self._ends]
        true_positives = np.cumsum(ranked * self._fake)[self._ends]
        return RocCurve(
            np.concatenate(([0.0], true_positives)),
            np.concatenate(([0.0], called - true_positives)),
        )
