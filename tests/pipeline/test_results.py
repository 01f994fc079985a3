"""The legend, the facts and the page of a recipe's table."""

import re

from hffkit.pipeline.results import Cell, Results, page_of


def results(cell: Cell) -> Results:
    columns = tuple(f"Model {number}" for number in range(6))
    cells = {("row", column): cell for column in columns}
    return Results("Title", "About.", "corner", ("row",), columns, cells, {}, (), ())


def test_the_legend_explains_the_figures_that_are_there() -> None:
    nan = float("nan")
    assert results(Cell(80, nan, nan, (80,), None)).legend == "Per cent."
    assert results(Cell(80, 70, 90, (80,), None)).legend == (
        "Per cent [95 % interval over groups of test images]."
    )
    assert results(Cell(80, 70, 90, (70, 90), 99.5)).legend == (
        "Per cent: mean over seeds or repeats [95 % interval over them and groups of test images] "
        "(paper's figure, difference in points)."
    )


def test_cells_of_the_page_break_between_their_figures_alone() -> None:
    html = page_of(results(Cell(74.92, 71.5, 78.2, (74.92,), 98.52)))
    cells = re.findall(r"<td>([^<]*)</td>", html)
    parts = ["74.92", "[71.5,\N{NO-BREAK SPACE}78.2]", "(98.52,\N{NO-BREAK SPACE}-23.60)"]
    assert [cell.split(" ") for cell in cells] == [parts] * 6
    assert ".cells td" in html
    assert '<div class="cells">' in html
