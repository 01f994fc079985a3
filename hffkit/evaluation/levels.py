"""The metrics of one level: frames, or videos by their mean or by vote."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hffkit.evaluation.intervals import ConfidenceInterval

LevelName = Literal["frame", "video_mean", "video_vote"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric; without a value there is the reason why it is not defined."""

    value: float | None
    interval: ConfidenceInterval | None  # None if there is one group, or for metrics without one
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the value, its 95 % interval, and what was left out, as JSON values."""
        found = self.interval
        return {
            "value": self.value,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "n_left_out": found.n_left_out if found else None,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Level:
    """The metrics of frames (or images), or of videos by their mean or by vote."""

    n_real: int
    n_fake: int
    n_groups: int
    estimates: Mapping[str, Estimate]  # a vote has no score, so none of a ranking
    confusion: tuple[tuple[int, ...], ...]  # (C, C) counts; rows are true classes
    row_percent: tuple[tuple[float, ...] | None, ...]  # rows sum to 100; None without samples
    recalls: tuple[float | None, ...]  # (C,), None for a class without samples

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the level as JSON values; `names` are those of the classes."""
        return {
            "n_samples": self.n_real + self.n_fake,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "n_groups": self.n_groups,
            "metrics": {name: found.to_json() for name, found in self.estimates.items()},
            "recalls": dict(zip(names, self.recalls, strict=True)),
            "confusion": {
                "rows": "true class",
                "columns": "predicted class",
                "counts": [list(row) for row in self.confusion],
                "row_percent": [list(row) if row else None for row in self.row_percent],
            },
        }
