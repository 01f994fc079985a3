"""Results of a recipe: its table, claims and facts, as Markdown, CSV, JSON and HTML."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hffkit.pipeline.cells import OVERALL, Place
from hffkit.reports.html import Figure, html_of
from hffkit.reports.text_table import Table
from hffkit.storage.csv_files import csv_text
from hffkit.storage.staging import write_durably


@dataclass(frozen=True, slots=True)
class Cell:
    """Percentages: mean over seeds, its 95 % interval, each seed's value, and the paper's."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    paper: float | None

    def to_json(self) -> dict[str, object]:
        """Return the cell as JSON values; an undefined bound is null."""
        bounds = {
            name: None if math.isnan(bound) else bound
            for name, bound in (("low", self.low), ("high", self.high))
        }
        return {"measured": self.value, **bounds, "seeds": self.seeds, "paper": self.paper}


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """The test of a claim: its mean difference in points, with a 95 % interval."""

    text: str
    difference: float
    low: float
    high: float
    differences: tuple[tuple[Place, Place, float], ...]

    @property
    def says(self) -> str:
        """The outcome in words."""
        if self.low > 0:
            return "holds here"
        return "does not hold here" if self.high < 0 else "is not decided here"

    def to_json(self) -> dict[str, object]:
        """Return the outcome as JSON values."""
        return {
            "claim": self.text,
            "says": self.says,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, slots=True)
class Results:
    """The table of a recipe, with its claims and the facts behind it."""

    title: str
    about: str
    corner: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[Place, Cell]  # those of the table, and perhaps OVERALL
    notes: Mapping[str, Sequence[Place]]  # on figures of the paper, and their cells
    verdicts: tuple[ClaimOutcome, ...]
    facts: tuple[tuple[str, str], ...]

    def to_table(self) -> Table:
        """Format the cells as text: measured [interval] (paper, difference)."""
        rows = tuple(
            (row, *(_cell_text(self.cells.get((row, column))) for column in self.columns))
            for row in self.rows
        )
        return Table((self.corner, *self.columns), rows)

    @property
    def below(self) -> tuple[str, ...]:
        """The accuracy beside a confusion matrix, and the notes on the paper's figures, as text."""
        overall = self.cells.get(OVERALL)
        lines = [] if overall is None else [f"Accuracy of all images: {_cell_text(overall)}."]
        places = set(self.cells)
        for note, of in self.notes.items():
            shown = [" / ".join(place) for place in of if place in places]
            if shown:
                lines.append(f"The paper's figure of {', '.join(shown)}: {note}.")
        return tuple(lines)

    @property
    def legend(self) -> str:
        """The meaning of the figures in the cells, of those alone that are there."""
        cells = self.cells.values()
        parts = ["Per cent"]
        has_seeds = any(len(cell.seeds) > 1 for cell in cells)
        if has_seeds:
            parts.append(": mean over seeds or repeats")
        if any(not math.isnan(cell.low) for cell in cells):
            over = "them and groups" if has_seeds else "groups"
            parts.append(f" [95 % interval over {over} of test images]")
        if any(cell.paper is not None for cell in cells):
            parts.append(" (paper's figure, difference in points)")
        return f"{''.join(parts)}."

    def claims_table(self) -> Table:
        """Format the claims and their outcomes."""
        rows = tuple(
            (v.text, f"{v.difference:+.2f} [{v.low:+.2f}, {v.high:+.2f}]", v.says)
            for v in self.verdicts
        )
        return Table(("Claim", "Mean difference, points", "Outcome"), rows)

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            "title": self.title,
            "cells": [
                {"row": row, "column": column, **cell.to_json()}
                for (row, column), cell in self.cells.items()
            ],
            "notes": [{"note": note, "cells": of} for note, of in self.notes.items()],
            "claims": [verdict.to_json() for verdict in self.verdicts],
            "facts": dict(self.facts),
        }

    def to_markdown(self) -> str:
        """Return everything as Markdown."""
        parts = [f"# {self.title}", self.about, self.to_table().to_markdown(), self.legend]
        parts += self.below
        if self.verdicts:
            parts.append(self.claims_table().to_markdown())
        parts.append("\n".join(f"- {name}: `{value}`" for name, value in self.facts))
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_csv(self) -> str:
        """Return CSV with one line for each cell."""
        lines: list[Sequence[str]] = [
            ("row", "column", "measured", "low", "high", "seeds", "paper", "difference")
        ]
        for place in (*itertools.product(self.rows, self.columns), OVERALL):
            cell = self.cells.get(place)
            if cell is not None:
                lines.append([*place, *_csv_cells(cell)])
        return csv_text(lines)


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"{cell.value:.2f}"
    if not math.isnan(cell.low):
        text += f" [{cell.low:.1f}, {cell.high:.1f}]"
    if cell.paper is not None:
        text += f" ({cell.paper:.2f}, {cell.value - cell.paper:+.2f})"
    return text


def _csv_cells(cell: Cell) -> Iterator[str]:
    yield f"{cell.value:.4f}"
    yield from ("" if math.isnan(bound) else f"{bound:.4f}" for bound in (cell.low, cell.high))
    yield ";".join(f"{value:.4f}" for value in cell.seeds)
    yield "" if cell.paper is None else f"{cell.paper:g}"
    yield "" if cell.paper is None else f"{cell.value - cell.paper:+.4f}"


def page_of(results: Results) -> str:
    """Return the page as HTML, with heat maps of the measured and of the paper's figures."""
    maps = [_heat_map(results, "Measured", "Per cent, mean over seeds.", lambda cell: cell.value)]
    if any(cell.paper is not None for cell in results.cells.values()):
        maps.append(_heat_map(results, "The paper's", "Per cent, published.", lambda c: c.paper))
    return html_of(
        "results.html.j2",
        results=results,
        about=[text for text in results.about.split("\n\n") if text],
        cells=results.to_table().unbroken(),
        details=[(verdict.text, _compared(verdict)) for verdict in results.verdicts],
        figures=maps,
    )


def _compared(verdict: ClaimOutcome) -> Table:
    """Return the cells that a claim compares, and their differences in points."""
    rows = tuple(
        (" / ".join(better), " / ".join(worse), f"{difference:+.2f}")
        for better, worse, difference in verdict.differences
    )
    return Table(("Cell", "against", "difference"), rows)


def _heat_map(
    results: Results, title: str, caption: str, figure: Callable[[Cell], float | None]
) -> Figure:
    from hffkit.reports.plots import heat_map  # late: matplotlib takes a second

    percent = np.full((len(results.rows), len(results.columns)), np.nan)
    for i, row in enumerate(results.rows):
        for j, column in enumerate(results.columns):
            cell = results.cells.get((row, column))
            value = None if cell is None else figure(cell)
            percent[i, j] = np.nan if value is None else value
    alt = f"{title} as a heat map; the table above has its figures."
    return Figure(title, caption, alt, heat_map(results.rows, results.columns, percent))


def write_results(results: Results, out: Path, name: str = "table") -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.html, each atomically; return their paths."""
    texts = {
        out / f"{name}.md": results.to_markdown(),
        out / f"{name}.csv": results.to_csv(),
        out / f"{name}.html": page_of(results),
    }
    for path, text in texts.items():
        write_durably(path, text)
    return list(texts)
