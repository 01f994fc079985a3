"""Trained on one corpus, tested on another: a table of evaluations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hffkit.evaluation.evaluation import Evaluation
from hffkit.evaluation.tables import UNDEFINED, estimate_text
from hffkit.reports.table import Table

_METRICS: Mapping[str, str] = {"accuracy": "", "auc": "AUC "}


@dataclass(frozen=True, slots=True)
class CrossTable:
    """Rows are what was trained on, columns what was tested on; pairs may be missing."""

    cells: Mapping[tuple[str, str], Evaluation]

    def to_json(self) -> list[dict[str, Any]]:
        """Return a row a pair: trained, tested, accuracy and AUC with their intervals."""
        return [
            {
                "trained_on": trained,
                "tested_on": tested,
                **{name: found.frame.estimates[name].to_json() for name in _METRICS},
            }
            for (trained, tested), found in self.cells.items()
        ]

    def to_table(self) -> Table:
        """Return the table; a cell is accuracy and AUC of images with 95 % intervals."""
        trained = dict.fromkeys(pair[0] for pair in self.cells)
        tested = tuple(dict.fromkeys(pair[1] for pair in self.cells))
        rows = tuple((one, *(self._cell(one, other) for other in tested)) for one in trained)
        return Table(("Trained on / tested on", *tested), rows)

    def to_markdown(self) -> str:
        """Return `to_table` as Markdown."""
        return self.to_table().to_markdown() + "\n"

    def _cell(self, trained: str, tested: str) -> str:
        if (trained, tested) not in self.cells:
            return UNDEFINED
        estimates = self.cells[trained, tested].frame.estimates
        return "; ".join(
            prefix + estimate_text(name, estimates[name]) for name, prefix in _METRICS.items()
        )


def cross_table(rows: Mapping[tuple[str, str], Evaluation]) -> CrossTable:
    """Return the table of evaluations by (trained on, tested on), in the order given."""
    return CrossTable(dict(rows))
