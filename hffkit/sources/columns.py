"""Read the rows and numbers of tables that other programs wrote."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from hffkit.errors import CorpusError
from hffkit.wording import counted

_MAX_DIGITS = 18


def table_of(
    lines: Sequence[str], columns: Set[str], path: Path
) -> Iterator[tuple[int, Mapping[str, str]]] | None:
    """Return number and cells of each row of a CSV whose first line has these columns.

    Columns are separated by commas, semicolons or tabs; their names may have capitals. Cells that a
    row lacks are empty. None if the text has other columns.

    Raises
    ------
    CorpusError
        If a cell is too long, or one of the columns is there twice; the message names `path`.
    """
    for delimiter in ",;\t":
        first = [cells for _, cells in _cells(lines[:1], 0, delimiter, path)]
        header = [cell.strip().lower() for cells in first for cell in cells]
        if columns <= set(header):
            twice = next(
                (name for name in header if name in columns and header.count(name) > 1), ""
            )
            if twice:
                raise CorpusError(f"{path}:1: has the column {twice} twice. Keep one of them.")
            rows = _cells(lines[1:], 1, delimiter, path)
            blank = dict.fromkeys(header, "")
            return (
                (number, {**blank, **_row(header, cells, number, path)})
                for number, cells in rows
                if cells
            )
    return None


def _row(header: Sequence[str], cells: Sequence[str], number: int, path: Path) -> dict[str, str]:
    """Return a row by the names of its columns; cells at its end may be missing."""
    if any(cells[len(header) :]):
        raise CorpusError(
            f"{path}:{number}: {counted(len(cells), 'cell')}, but {counted(len(header), 'column')}."
            " Put quotation marks around a name with a comma."
        )
    return dict(zip(header, cells, strict=False))


def _cells(
    lines: Sequence[str], n_before: int, delimiter: str, path: Path
) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each row, whose numbers begin after `n_before` lines."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for cells in reader:
            yield n_before + reader.line_num, cells
    except csv.Error as error:
        raise CorpusError(f"{path}:{n_before + reader.line_num}: no CSV: {error}.") from None


def whole(text: str) -> int | None:
    """Return a whole number of at least 0, which a program may have written as 1.0, or None.

    Numbers of more digits than 64 bits hold are None.
    """
    match = re.fullmatch(r"0*([0-9]+)([.,]0*)?", text)
    return None if match is None or len(match[1]) > _MAX_DIGITS else int(match[1])
