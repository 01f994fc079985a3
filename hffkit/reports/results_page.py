"""The HTML page of a recipe's table: measured and published figures, claims and facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hffkit.arrays import Floats64
from hffkit.reports.html import data_uri, html_of
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
    claims: Table
    details: tuple[tuple[str, Table], ...]  # of each claim: which cells were compared
    heat_maps: tuple[HeatMap, ...]
    facts: tuple[tuple[str, str], ...]


def render_results(page: ResultsPage) -> str:
    """Render the page as HTML; the same page gives the same text."""
    return html_of("results.html.j2", page=page, figures=_figures(page.heat_maps))


def _figures(maps: Sequence[HeatMap]) -> list[Mapping[str, str]]:
    from hffkit.reports import plots  # late: matplotlib takes a second

    return [
        {
            "title": each.title,
            "caption": each.caption,
            "alt": f"{each.title} as a heat map; the table above has its figures.",
            "source": data_uri("svg+xml", plots.heat_map(each.rows, each.columns, each.percent)),
        }
        for each in maps
    ]
