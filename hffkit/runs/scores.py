"""Scores of samples by a detector, and the decisions that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats32, Floats64, Ints
from hffkit.errors import MetricError
from hffkit.manifest.classes import ClassTable
from hffkit.storage.csv_files import csv_text
from hffkit.storage.outputs import SCORES
from hffkit.wording import counted

PROBABILITY = "probability of fake: the sum over the fake classes"
NO_PROBABILITY = (
    "logistic function of the decision value, no probability: only the order of scores and the "
    "threshold of 0.5 have a meaning"
)
# Scores are kept so far from 0 and 1, the resolution of float32 at 1, where their odds are taken:
# one wrong score of 0 or 1 would make them infinite.
_CLIP = 2.0**-24
# Half precision sums to 1 within this; logits and unnormalised scores do not.
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions about samples or videos: a class, and fake or real."""

    labels: Ints  # (N,) the true class
    predicted: Ints  # (N,) the predicted class
    is_fake: Bools  # (N,) True where the true class is fake
    called_fake: Bools  # (N,) True where the decision is fake
    groups: tuple[str, ...]  # (N,) units that are never resampled apart
    methods: tuple[str, ...]  # (N,) classes of the corpus


@dataclass(frozen=True, slots=True)
class Scored:
    """Probabilities of the classes for samples, in the order of their corpus."""

    classes: ClassTable  # of the outputs, ids 0..C-1 in order
    labels: Ints  # (N,) the true class, an id of `classes`
    probabilities: Floats32  # (N, C) softmax
    keys: tuple[str, ...]  # (N,) of the samples
    groups: tuple[str, ...]  # (N,) units that are never resampled apart
    videos: tuple[str | None, ...]  # (N,) the video of a frame; None for an image
    # (N,) decision values, above 0 for fake, of detectors that have them. They rank the samples,
    # because scores near 0 and 1 tie, and their mean decides tied votes.
    margins: Floats64 | None = None
    # (N,) classes of the corpus, such as forgery methods; None: those of `labels`.
    corpus_classes: tuple[str, ...] | None = None
    # False if the probabilities only map decision values to [0, 1]: then their order and the
    # threshold of 0.5 have a meaning, and nothing else.
    is_probability: bool = True

    def __post_init__(self) -> None:
        n, n_classes = len(self.labels), len(self.classes.names)
        if [face_class.id for face_class in self.classes] != list(range(n_classes)):
            raise ValueError(f"class ids must be 0..{n_classes - 1} in order, as the outputs are")
        if self.labels.shape != (n,) or self.probabilities.shape != (n, n_classes):
            raise ValueError(
                f"labels must be (N,) and probabilities (N, {n_classes}), "
                f"got {self.labels.shape} and {self.probabilities.shape}"
            )
        if not len(self.keys) == len(self.groups) == len(self.videos) == n:
            raise ValueError(f"keys, groups and videos must be as many as labels: {n}")
        if self.corpus_classes is not None and len(self.corpus_classes) != n:
            raise ValueError(f"corpus_classes must be as many as labels: {n}")
        if self.margins is not None and self.margins.shape != (n,):
            raise ValueError(f"margins must be ({n},), got {self.margins.shape}")
        if not n:
            raise MetricError("No sample was scored. Choose a split that holds some.")
        if self.labels.min() < 0 or self.labels.max() >= n_classes:
            raise ValueError(f"labels must be in 0..{n_classes - 1}")
        self._check_probabilities()

    def _check_probabilities(self) -> None:
        is_finite = np.isfinite(self.probabilities).all(axis=1)
        if self.margins is not None:
            is_finite &= np.isfinite(self.margins)
        bad = np.flatnonzero(~is_finite)
        if len(bad):
            raise MetricError(
                f"{self.keys[bad[0]]}: the scores of {counted(len(bad), 'sample')} are not finite, "
                "because the training diverged. Use earlier weights or a lower rate."
            )
        sums = self.probabilities.sum(axis=1, dtype=np.float64)
        if self.probabilities.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
            raise ValueError("probabilities must be a softmax: rows of at least 0 that sum to 1")

    def subset(self, places: Ints) -> "Scored":
        """Return the samples at some places, in that order."""
        return Scored(
            self.classes,
            self.labels[places],
            self.probabilities[places],
            tuple(self.keys[place] for place in places),
            tuple(self.groups[place] for place in places),
            tuple(self.videos[place] for place in places),
            None if self.margins is None else self.margins[places],
            tuple(self.methods[place] for place in places),
            self.is_probability,
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """(N,) classes of the corpus: of its real images, and of each forgery method."""
        if self.corpus_classes is not None:
            return self.corpus_classes
        return tuple(self.classes.names[label] for label in self.labels.tolist())

    @property
    def is_fake(self) -> Bools:
        """(N,) True where the true class is fake."""
        return fake_ids(self.classes)[self.labels]

    @property
    def scores(self) -> Floats64:
        """(N,) probability of fake in [0, 1]: the sum over the fake classes."""
        return fake_scores(self.classes, self.probabilities)

    @property
    def ranking(self) -> Floats64:
        """(N,) decision values if there are some, else scores; they order samples to fake."""
        return self.scores if self.margins is None else self.margins

    @property
    def predicted(self) -> Ints:
        """(N,) most probable class, the first of equals."""
        return np.asarray(np.argmax(self.probabilities, axis=1), np.int64)

    @property
    def decisions(self) -> Decisions:
        """The most probable classes, and fake where the score is 0.5 or more."""
        called_fake = self.scores >= 0.5
        return Decisions(
            self.labels, self.predicted, self.is_fake, called_fake, self.groups, self.methods
        )


def fake_ids(classes: ClassTable) -> Bools:
    """Return (C,) True for the fake classes."""
    return np.array([face_class.is_fake for face_class in classes], bool)


def fake_scores(classes: ClassTable, probabilities: Floats32) -> Floats64:
    """Compute scores (N,) in [0, 1] from probabilities (N, C): their sum over the fake classes."""
    chosen: Floats64 = probabilities[:, fake_ids(classes)].sum(axis=1, dtype=np.float64)
    return np.minimum(chosen, 1.0)  # rounded sums may exceed 1


def binary_probabilities(scores: Floats32 | Floats64) -> Floats32:
    """Return the probabilities (N, 2) of fake and real, in BINARY's order, from scores (N,)."""
    return np.stack((scores, 1 - scores), axis=1).astype(np.float32)


def clipped(scores: Floats64) -> Floats64:
    """Return scores (N,) cut to 2^-24 from 0 and 1."""
    return np.clip(scores, _CLIP, 1 - _CLIP)


def log_odds(scores: Floats64) -> Floats64:
    """Compute the natural logarithm of the odds of scores (N,), cut as by `clipped`."""
    inside = clipped(scores)
    odds: Floats64 = np.log(inside) - np.log1p(-inside)
    return odds


def tempered(scores: Floats64, temperature: float) -> Floats64:
    """Return scores (N,) whose log odds are divided by a temperature above 0.

    Of two classes this is the softmax of logits divided by the temperature.
    """
    shrunk: Floats64 = 1 / (1 + np.exp(-log_odds(scores) / temperature))
    return shrunk


def worst_mistakes(scored: Scored, n: int) -> Ints:
    """Return the places of up to `n` wrongly classified samples, the most confident first.

    Confidence is the probability of the wrong class; ties keep their order.
    """
    wrong = np.flatnonzero(scored.predicted != scored.labels)
    confidence = scored.probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")][:n].astype(np.int64)


def csv_of(scored: Scored, more: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a header, then one CSV line per sample, each with LF at its end.

    Columns: key, group, video (empty for an image), label (id of the true class), class (its name),
    score (probability of fake), predicted (id of the most probable class), p_NAME (probability of
    each class; empty if the detector has none), margin if there are decision values, method (class
    of the corpus), and those of `more`, (N,) texts each.
    """
    names = scored.classes.names
    heads, values = [f"p_{name}" for name in names], scored.probabilities.astype(np.float64)
    if not scored.is_probability:
        values[:] = np.nan
    if scored.margins is not None:
        heads, values = [*heads, "margin"], np.column_stack((values, scored.margins))
    more = {"method": scored.methods, **(more or {})}
    head = (*SCORES.names, *heads, *more)
    sources = (scored.keys, scored.groups, scored.videos)
    columns = (*sources, scored.labels, scored.scores, scored.predicted, values)
    texts = zip(*more.values(), strict=True)
    lines: list[Sequence[object]] = [head]
    for (key, group, video, label, score, predicted, row), text in zip(
        zip(*columns, strict=True), texts, strict=True
    ):
        # Nine digits restore a float32.
        numbers = ["" if np.isnan(value) else f"{value:.9g}" for value in row]
        called = [f"{score:.9g}", predicted, *numbers]
        lines.append([key, group, video, label, names[label], *called, *text])
    return csv_text(lines)


def scored_of(rows: Sequence[Mapping[str, str]], classes: ClassTable) -> Scored:
    """Build the scores of samples from one or more lines of `csv_of`."""
    heads = [f"p_{name}" for name in classes.names]
    margins = [float(row["margin"]) for row in rows] if "margin" in rows[0] else None
    is_probability = bool(rows[0][heads[0]])
    if is_probability:
        values = np.array([[float(row[head]) for head in heads] for row in rows])
    else:  # such detectors distinguish fake and real alone
        found = np.array([[float(row["score"])] for row in rows])
        values = np.where(fake_ids(classes), found, 1 - found)
    return Scored(
        classes,
        np.array([int(row["label"]) for row in rows], np.int64),
        values.astype(np.float32),
        tuple(row["key"] for row in rows),
        tuple(row["group"] for row in rows),
        tuple(row["video"] or None for row in rows),
        None if margins is None else np.array(margins, np.float64),
        tuple(row["method"] for row in rows),
        is_probability,
    )
