"""Everything that is measured of one network on one corpus."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hffkit.errors import MetricError
from hffkit.evaluation import metrics
from hffkit.evaluation.intervals import (
    N_RESAMPLES,
    ConfidenceInterval,
    GroupMetrics,
    bootstrap_intervals,
)
from hffkit.evaluation.levels import Estimate, Level, LevelName
from hffkit.evaluation.tables import FPR_LIMITS, confusion_table, level_notes, levels_table
from hffkit.evaluation.videos import mean_over_videos, vote_over_videos
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.seeds import rng_for
from hffkit.runs.scores import Decisions, Scored

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one network is worth on one corpus."""

    classes: ClassTable
    seed: int
    n_resamples: int
    levels: Mapping[LevelName, Level]  # "frame" always; both of videos where there are some

    @property
    def frame(self) -> Level:
        """The level of frames and images, which is always there."""
        return self.levels["frame"]

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON values; rates are in [0, 1], what is undefined is null."""
        names = self.classes.names
        return {
            "format": FORMAT,
            "score": "probability of fake: the sum over the fake classes",
            "classes": self.classes.to_json(),
            "bootstrap": {"unit": "group", "seed": self.seed, "n_resamples": self.n_resamples},
            "levels": {name: level.to_json(names) for name, level in self.levels.items()},
        }

    def to_markdown(self) -> str:
        """Return the tables of metrics and confusion as Markdown."""
        parts = [levels_table(self.levels).to_markdown()]
        if notes := level_notes(self.levels):
            parts.append("\n".join(f"- {note}" for note in notes))
        parts.append(confusion_table(self.classes.names, self.frame).to_markdown())
        return "\n\n".join(parts) + "\n"


def evaluate(scored: Scored, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Evaluation:
    """Measure scored samples: by frame and, where there are videos, by video.

    Parameters
    ----------
    scored : Scored
    seed : int
        Of the bootstrap; equal seeds give equal intervals, whatever the order of samples.
    n_resamples : int
        Of the bootstrap; 0 for no intervals.
    """
    n_classes = len(scored.classes.names)

    def intervals(name: LevelName, groups: GroupMetrics) -> dict[str, ConfidenceInterval]:
        rng = rng_for(seed, "bootstrap", name)
        return bootstrap_intervals(groups, rng=rng, n_resamples=n_resamples)

    levels: dict[LevelName, Level] = {}
    means, votes = mean_over_videos(scored), vote_over_videos(scored)
    scored_levels: dict[LevelName, Scored | None] = {"frame": scored, "video_mean": means}
    for name, samples in scored_levels.items():
        if samples is not None:
            groups = GroupMetrics(samples.decisions, n_classes, samples.ranking)
            found = intervals(name, groups)
            values = _decided(samples.decisions) | _ranked(samples)
            levels[name] = _level(samples.decisions, values, found, groups.n_groups, n_classes)
    if votes is not None:
        groups = GroupMetrics(votes, n_classes, None)
        found = intervals("video_vote", groups)
        levels["video_vote"] = _level(votes, _decided(votes), found, groups.n_groups, n_classes)
    return Evaluation(scored.classes, seed, n_resamples, levels)


Compute = Callable[[], float]


def _decided(decisions: Decisions) -> dict[str, Compute]:
    labels, predicted = decisions.labels, decisions.predicted
    called = decisions.called_fake.astype("float64")  # 1 is above 0.5, 0 below it
    return {
        "accuracy": lambda: metrics.accuracy(labels, predicted),
        "class_mean_accuracy": lambda: metrics.class_mean_accuracy(labels, predicted),
        "binary_accuracy": lambda: metrics.binary_accuracy(decisions.is_fake, called),
    }


def _ranked(scored: Scored) -> dict[str, Compute]:
    curve = metrics.roc_curve(scored.is_fake, scored.ranking)

    def at(limit: float) -> Compute:
        return lambda: curve.tpr_at_fpr(limit)

    return {
        "auc": curve.auc,
        "eer": curve.equal_error_rate,
        "average_precision": curve.average_precision,
        **{name: at(limit) for name, limit in FPR_LIMITS.items()},
        "calibration_error": lambda: metrics.calibration_error(scored.labels, scored.probabilities),
    }


def _level(
    decisions: Decisions,
    values: Mapping[str, Compute],
    intervals: Mapping[str, ConfidenceInterval],
    n_groups: int,
    n_classes: int,
) -> Level:
    counts = metrics.confusion_counts(decisions.labels, decisions.predicted, n_classes)
    percent = metrics.row_percent(counts).tolist()
    n_fake = int(decisions.is_fake.sum())
    return Level(
        len(decisions.labels) - n_fake,
        n_fake,
        n_groups,
        {name: _estimate(compute, intervals.get(name)) for name, compute in values.items()},
        tuple(map(tuple, counts.tolist())),
        tuple(
            tuple(row) if total else None
            for row, total in zip(percent, counts.sum(axis=1).tolist(), strict=True)
        ),
        metrics.recalls(counts),
    )


def _estimate(compute: Compute, interval: ConfidenceInterval | None) -> Estimate:
    try:
        return Estimate(compute(), interval, None)
    except MetricError as error:
        return Estimate(None, None, str(error))
