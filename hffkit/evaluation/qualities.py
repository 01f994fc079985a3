"""Metrics of each quality of the same images, fake against real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.evaluation.levels import level_of
from hffkit.evaluation.metrics import METRICS, Metric
from hffkit.evaluation.sums import grouped
from hffkit.reports.text_table import Table
from hffkit.runs.scores import Scored

_NAMES = (
    "auc", "eer", "eer_published", "tpr_at_fpr_0.1", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001",
    "tpr_at_fpr_0.0001", "tpr_at_fpr_1e-05", "tpr_at_fpr_1e-06", "tpr_at_first_false_alarm",
)  # fmt: skip
# All is fake against real here, so that accuracy needs no longer name.
_METRICS: Mapping[str, Metric] = {
    "accuracy": METRICS["binary_accuracy"],
    **{name: METRICS[name] for name in _NAMES},
}


@dataclass(frozen=True, slots=True)
class QualityRow:
    """The metrics of one quality; what is not defined is None."""

    quality: str
    n_real: int
    n_fake: int
    values: Mapping[str, float | None]  # by name, in [0, 1]
    mask_accuracy: float | None = None  # share of the mask's cells that are right; None: no masks

    def to_json(self) -> dict[str, object]:
        """Return the row as JSON values."""
        masks = {} if self.mask_accuracy is None else {"mask_accuracy": self.mask_accuracy}
        return {
            "quality": self.quality,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "metrics": {**self.values, **masks},
        }


def by_quality(
    scored: Scored, qualities: Sequence[str | None], mask_accuracy: Mapping[str, float]
) -> tuple[QualityRow, ...]:
    """Compute a row for each quality, in the order of their names.

    Parameters
    ----------
    qualities : (N,)
        Of the samples; those without one are in no row.
    mask_accuracy
        By quality, as far as it was measured.
    """
    rows = []
    of_each = np.array([quality or "" for quality in qualities])
    for name in sorted({quality for quality in qualities if quality}):
        level = level_of(grouped(scored.subset(np.flatnonzero(of_each == name))), _METRICS, {})
        values = {key: found.value for key, found in level.estimates.items()}
        rows.append(QualityRow(name, level.n_real, level.n_fake, values, mask_accuracy.get(name)))
    return tuple(rows)


def quality_table(rows: Sequence[QualityRow]) -> Table:
    """Return a table with a row per metric and a column per quality."""
    cells = [("Real + fake", *(f"{row.n_real} + {row.n_fake}" for row in rows))]
    for name, metric in _METRICS.items():
        cells.append((metric.title, *(metric.text(row.values[name]) for row in rows)))
    if any(row.mask_accuracy is not None for row in rows):
        shares = (METRICS["accuracy"].text(row.mask_accuracy) for row in rows)
        cells.append(("Mask cells right", *shares))
    return Table(("Qualities apart", *(row.quality for row in rows)), tuple(cells))
