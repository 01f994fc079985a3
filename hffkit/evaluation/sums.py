"""Sums over scored samples, from which every metric is computed."""

from functools import cached_property
from typing import TypeVar

import numpy as np

from hffkit.arrays import Floats64, Ints
from hffkit.errors import MetricError
from hffkit.evaluation.calibration import BalancedScores, Calibration, TopLabels
from hffkit.evaluation.roc import Ranking, RocCurve
from hffkit.runs.scores import Decisions, Scored

T = TypeVar("T")


class GroupedSamples:
    """Samples with their groups, sorted once for the sums of many resamples."""

    def __init__(self, decisions: Decisions, n_classes: int, scored: Scored | None = None) -> None:
        """Take decisions, and the scores that they follow from; votes have none."""
        places = {name: place for place, name in enumerate(sorted(set(decisions.groups)))}
        self.n_groups, self.n_classes = len(places), n_classes
        self._owners = np.array([places[name] for name in decisions.groups], np.int64)
        self.decisions = decisions
        self.scored = scored
        self.ranking = None if scored is None else Ranking(scored.is_fake, scored.ranking)
        self.top_labels: TopLabels | None = None
        self.balanced_scores: BalancedScores | None = None
        if scored is not None and scored.is_probability:
            self.top_labels = TopLabels(scored.labels, scored.probabilities)
            self.balanced_scores = BalancedScores(scored.is_fake, scored.scores)

    def sums(self, counts: Floats64 | None = None) -> "Sums":
        """Return the sums where group g counts `counts[g]` times, (G,); by default once."""
        return Sums(self, None if counts is None else self.weights(counts))

    def weights(self, counts: Floats64) -> Floats64:
        """Return how often each sample counts, (N,), where group g counts `counts[g]` times."""
        return counts[self._owners]


class Sums:
    """Sums over samples, each counted as often as its weight says; computed when asked for."""

    def __init__(self, samples: GroupedSamples, weights: Floats64 | None) -> None:
        self._samples, self._weights = samples, weights

    @cached_property
    def confusion(self) -> Floats64:
        """(C, C) number of samples by true class (row) and predicted class (column)."""
        found = self._samples.decisions
        return self._table(found.labels, found.predicted, self._samples.n_classes)

    @cached_property
    def calls(self) -> Floats64:
        """(2, 2) number of samples that are fake, real (rows) and called fake, real (columns)."""
        found = self._samples.decisions
        is_real, called_real = (~found.is_fake).astype(int), (~found.called_fake).astype(int)
        return self._table(is_real, called_real, 2)

    @cached_property
    def curve(self) -> RocCurve:
        """The ROC curve; samples need scores."""
        if self._samples.ranking is None:
            raise ValueError("votes have no scores, so no ROC curve")
        return self._samples.ranking.curve(self._weights)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of the predicted class; MetricError if scores are no probabilities."""
        return _given(self._samples.top_labels).calibration(self._weights)

    @property
    def balanced_calibration_error(self) -> float:
        """The balanced calibration error; MetricError as `calibration`, or for a single kind."""
        return _given(self._samples.balanced_scores).error(self._weights)

    @property
    def cllr(self) -> float:
        """The cost of the log-likelihood ratio; MetricError as `balanced_calibration_error`."""
        return _given(self._samples.balanced_scores).cllr(self._weights)

    def _table(self, rows: Ints, columns: Ints, n: int) -> Floats64:
        cells = np.bincount(rows * n + columns, self._weights, n * n)
        return cells.reshape(n, n).astype(np.float64)


def _given(probabilities: T | None) -> T:
    """Return what probabilities give; MetricError if the scores are none."""
    if probabilities is None:
        raise MetricError(
            "The scores are decision values mapped to 0..1, no probabilities: there is no "
            "calibration."
        )
    return probabilities


def grouped(scored: Scored) -> GroupedSamples:
    """Return scored samples with their groups."""
    return GroupedSamples(scored.decisions, len(scored.classes.names), scored)
