"""What a network is worth on each quality of the same images, fake against real."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hffkit.arrays import Bools, Floats64
from hffkit.errors import MetricError
from hffkit.evaluation import metrics
from hffkit.evaluation.tables import UNDEFINED
from hffkit.reports.table import Table
from hffkit.runs.scores import Scored

_LIMITS = tuple(10.0**-power for power in range(1, 7))
_TITLES: Mapping[str, str] = {
    "accuracy": "Fake/real accuracy",
    "auc": "AUC",
    "eer": "Equal error rate",
    "eer_published": "Misses where errors are nearest",
    **{f"tpr_at_fpr_{limit:g}": f"TPR at FPR {limit:g}" for limit in _LIMITS},
    "tpr_at_first_false_alarm": "TPR at the first false alarm",
    "mask_accuracy": "Mask cells right",
}


@dataclass(frozen=True, slots=True)
class QualityRow:
    """The figures of one quality; what is not defined is None."""

    quality: str
    n_real: int
    n_fake: int
    values: Mapping[str, float | None]  # names as in the table, in [0, 1]

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {
            "quality": self.quality,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "metrics": dict(self.values),
        }


def by_quality(
    scored: Scored, qualities: Sequence[str | None], mask_accuracy: Mapping[str, float]
) -> tuple[QualityRow, ...]:
    """Return a row for each quality, in the order of their names.

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
        here = of_each == name
        is_fake, called = scored.is_fake[here], scored.scores[here]
        values = _values(is_fake, called, scored.ranking[here])
        if name in mask_accuracy:
            values["mask_accuracy"] = mask_accuracy[name]
        n_fake = int(is_fake.sum())
        rows.append(QualityRow(name, len(is_fake) - n_fake, n_fake, values))
    return tuple(rows)


def _values(is_fake: Bools, scores: Floats64, ranking: Floats64) -> dict[str, float | None]:
    curve = metrics.roc_curve(is_fake, ranking)
    found: dict[str, Callable[[], float]] = {
        "accuracy": lambda: metrics.binary_accuracy(is_fake, scores),
        "auc": curve.auc,
        "eer": curve.equal_error_rate,
        "eer_published": curve.nearest_miss_rate,
        **{f"tpr_at_fpr_{at:g}": lambda at=at: curve.tpr_at_fpr(at) for at in _LIMITS},  # type: ignore[misc]
        "tpr_at_first_false_alarm": curve.tpr_at_first_false_alarm,
    }
    return {name: _defined(compute) for name, compute in found.items()}


def _defined(compute: Callable[[], float]) -> float | None:
    try:
        return compute()
    except MetricError:  # fake or real does not occur
        return None


def quality_table(rows: Sequence[QualityRow]) -> Table:
    """Return a table of a row a metric and a column a quality."""
    cells = [("Real + fake", *(f"{row.n_real} + {row.n_fake}" for row in rows))]
    for name, title in _TITLES.items():
        if any(name in row.values for row in rows):
            cells.append((title, *(_text(name, row.values.get(name)) for row in rows)))
    return Table(("Qualities apart", *(row.quality for row in rows)), tuple(cells))


def _text(name: str, value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.4f}" if name == "auc" else f"{100 * value:.2f} %"
