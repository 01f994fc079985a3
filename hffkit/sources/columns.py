"""Reading of tables that other programs wrote: their columns, their numbers."""

import csv
import re
from collections.abc import Sequence, Set


def table_of(lines: Sequence[str], columns: Set[str]) -> "csv.DictReader[str] | None":
    """Return the rows of a CSV whose first line has these columns; None of another text.

    Columns are separated by commas, semicolons or tabs; their names may have capitals.
    """
    for delimiter in ",;\t":
        cells = next(csv.reader(lines[:1], delimiter=delimiter), [])
        header = [cell.strip().lower() for cell in cells]
        if columns <= set(header):
            return csv.DictReader(lines[1:], fieldnames=header, delimiter=delimiter)
    return None


def whole(text: str) -> int | None:
    """Return a whole number of at least 0, which a program may have written as 1.0, or None."""
    match = re.fullmatch(r"([0-9]+)([.,]0*)?", text)
    return None if match is None else int(match[1])
