"""The HTML page of a recipe's table: measured and published figures, claims and facts."""

from dataclasses import dataclass

from hffkit.arrays import Floats64
from hffkit.reports.html import Figure, html_of
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A table of percentages as an image; NaN cells stay empty."""

    title: str
    caption: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    percent: Floats64  # (R, C)


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """The content of the page."""

    title: str
    about: tuple[str, ...]  # paragraphs
    table: Table
    legend: str
    below: tuple[str, ...]  # further figures and notes
    claims: Table
    details: tuple[tuple[str, Table], ...]  # of each claim: which cells were compared
    heat_maps: tuple[HeatMap, ...]
    facts: tuple[tuple[str, str], ...]


def render_results(page: ResultsPage) -> str:
    """Render the page as HTML; the same page gives the same text."""
    from hffkit.reports.plots import heat_map  # late: matplotlib takes a second

    figures = [
        Figure(
            each.title,
            each.caption,
            f"{each.title} as a heat map; the table above has its figures.",
            heat_map(each.rows, each.columns, each.percent),
        )
        for each in page.heat_maps
    ]
    return html_of("results.html.j2", page=page, figures=figures)
