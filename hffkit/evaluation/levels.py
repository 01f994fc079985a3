"""Metrics of scored samples: by frame and, where there are videos, by video."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from hffkit.errors import MetricError
from hffkit.evaluation.bootstrap import N_RESAMPLES, ConfidenceInterval, bootstrap_intervals
from hffkit.evaluation.metrics import LevelName, Metric, metrics_of
from hffkit.evaluation.sums import GroupedSamples, Sums, grouped
from hffkit.evaluation.videos import mean_over_videos, vote_over_videos
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.seeds import rng_for
from hffkit.runs.scores import NO_PROBABILITY, PROBABILITY, Decisions, Scored

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a metric, or the reason why it is not defined."""

    value: float | None
    interval: ConfidenceInterval | None  # None if there is one group, or for metrics without one
    reason: str | None

    def to_json(self) -> dict[str, object]:
        """Return the value, its 95 % interval, and what was left out, as JSON values."""
        interval: Mapping[str, float | None] = {"low": None, "high": None, "n_left_out": None}
        if self.interval is not None:
            interval = asdict(self.interval)
        return {"value": self.value, **interval, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class MethodRecall:
    """Decisions about the samples of one class of the corpus, such as a forgery method."""

    name: str
    is_fake: bool
    n_samples: int
    recall: float  # share whose predicted class, of those the detector distinguishes, is right
    called_fake: float  # share

    def to_json(self) -> dict[str, object]:
        """Return the decisions as JSON values."""
        row = asdict(self)
        return {"class": row.pop("name"), **row}


@dataclass(frozen=True, slots=True)
class Level:
    """The metrics of frames (or images), or of videos by their mean or by vote."""

    n_real: int
    n_fake: int
    n_groups: int
    estimates: Mapping[str, Estimate]  # by names of METRICS
    confusion: tuple[tuple[int, ...], ...]  # (C, C) counts; rows are true classes
    calls: tuple[tuple[int, ...], ...]  # (2, 2) counts: fake, real (rows), called fake, real
    methods: tuple["MethodRecall", ...]  # by the classes of the corpus, in order of their names

    def only_prediction(self, names: tuple[str, ...]) -> str | None:
        """Return the only prediction, see `only_prediction`; `names` are those of the classes."""
        return only_prediction(self.confusion, self.calls, names)

    @property
    def recalls(self) -> tuple[float | None, ...]:
        """(C,) share of each class's samples that was found; None for a class without samples."""
        rows = enumerate(self.confusion)
        return tuple(row[place] / sum(row) if any(row) else None for place, row in rows)

    @property
    def row_percent(self) -> tuple[tuple[float, ...] | None, ...]:
        """(C, C) per cent of each true class that was predicted as each; None without samples.

        Rows sum to 100. (The authors' test.py divides column j by the sum of row j, which is
        wrong wherever classes differ in size.)
        """
        return tuple(
            tuple(100.0 * count / sum(row) for count in row) if any(row) else None
            for row in self.confusion
        )

    def to_json(self, names: tuple[str, ...]) -> dict[str, object]:
        """Return the level as JSON values; `names` are those of the classes."""
        return {
            "n_samples": self.n_real + self.n_fake,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "n_groups": self.n_groups,
            "only_prediction": self.only_prediction(names),
            "metrics": {name: found.to_json() for name, found in self.estimates.items()},
            "methods": [method.to_json() for method in self.methods],
            "recalls": dict(zip(names, self.recalls, strict=True)),
            "confusion": {
                "rows": "true class",
                "columns": "predicted class",
                "counts": self.confusion,
                "row_percent": self.row_percent,
            },
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of one detector on one corpus."""

    classes: ClassTable
    seed: int
    n_resamples: int
    is_probability: bool  # of the scores
    levels: Mapping[LevelName, Level]  # "frame" always; both of videos where there are some

    @property
    def frame(self) -> Level:
        """The level of frames and images, which is always there."""
        return self.levels["frame"]

    @property
    def collapse(self) -> str | None:
        """Statement that all predictions are one, by frame; None if they are not."""
        name = self.frame.only_prediction(self.classes.names)
        if name is None:
            return None
        n = self.frame.n_real + self.frame.n_fake
        return (
            f"All {n} predictions are {name}: the detector distinguishes nothing here. Its "
            "accuracy is only the share of that class among the samples."
        )

    def to_json(self) -> dict[str, object]:
        """Return the evaluation as JSON values; rates are in [0, 1], undefined ones null."""
        names = self.classes.names
        return {
            "format": FORMAT,
            "score": PROBABILITY if self.is_probability else NO_PROBABILITY,
            "classes": self.classes.to_json(),
            "bootstrap": {"unit": "group", "seed": self.seed, "n_resamples": self.n_resamples},
            "levels": {name: level.to_json(names) for name, level in self.levels.items()},
        }


def measure(scored: Scored, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Evaluation:
    """Compute every metric of scored samples, by frame and by video.

    Equal seeds of the bootstrap give equal intervals, whatever the order of samples; with
    `n_resamples` 0 there are none.
    """
    levels: dict[LevelName, Level] = {}
    for name, found in levels_of(scored).items():
        rows = metrics_of(name)
        rng = rng_for(seed, "bootstrap", name)
        intervals = bootstrap_intervals([found], rows, rng=rng, n_resamples=n_resamples)
        levels[name] = level_of(found, rows, intervals)
    return Evaluation(scored.classes, seed, n_resamples, scored.is_probability, levels)


def levels_of(scored: Scored) -> dict[LevelName, GroupedSamples]:
    """Return scored samples by frame and, where there are videos, by video."""
    means, votes = mean_over_videos(scored), vote_over_videos(scored)
    levels: dict[LevelName, GroupedSamples] = {"frame": grouped(scored)}
    if means is not None:
        levels["video_mean"] = grouped(means)
    if votes is not None:
        levels["video_vote"] = GroupedSamples(votes, len(scored.classes.names))
    return levels


def level_of(
    samples: GroupedSamples, rows: Mapping[str, Metric], intervals: Mapping[str, ConfidenceInterval]
) -> Level:
    """Compute some metrics of samples, with the intervals given."""
    sums = samples.sums()
    n_fake, n_real = (int(n) for n in sums.calls.sum(axis=1))
    return Level(
        n_real,
        n_fake,
        samples.n_groups,
        {name: _estimate(row, sums, intervals.get(name)) for name, row in rows.items()},
        tuple(map(tuple, sums.confusion.astype(int).tolist())),
        tuple(map(tuple, sums.calls.astype(int).tolist())),
        _methods(samples.decisions),
    )


def only_prediction(
    confusion: npt.ArrayLike, calls: npt.ArrayLike, names: Sequence[str]
) -> str | None:
    """Return the single predicted class, or fake or real, of samples of several classes.

    None if the predictions differ, or all samples are of one class.

    Parameters
    ----------
    confusion : (C, C)
        Counts; rows are true classes, columns predicted ones.
    calls : (2, 2)
        Counts of fake and real (rows) by called fake and called real.
    names : (C,)
        Of the classes.
    """
    for counts, titles in ((confusion, names), (calls, ("fake", "real"))):
        table = np.asarray(counts)
        (predicted,) = np.nonzero(table.sum(axis=0))
        if len(predicted) == 1 and np.count_nonzero(table.sum(axis=1)) > 1:
            return titles[int(predicted[0])]
    return None


def _methods(found: Decisions) -> tuple[MethodRecall, ...]:
    rows = []
    of_each = np.array(found.methods)
    for name in sorted(set(found.methods)):
        places = np.flatnonzero(of_each == name)
        recall = float(np.mean(found.predicted[places] == found.labels[places]))
        called_fake = float(found.called_fake[places].mean())
        is_fake = bool(found.is_fake[places[0]])
        rows.append(MethodRecall(name, is_fake, len(places), recall, called_fake))
    return tuple(rows)


def _estimate(metric: Metric, sums: Sums, interval: ConfidenceInterval | None) -> Estimate:
    try:
        return Estimate(metric.compute(sums), interval, None)
    except MetricError as error:
        return Estimate(None, None, str(error))
