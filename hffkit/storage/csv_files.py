"""CSV files, with cells that no spreadsheet takes for formulas."""

import csv
import re
from collections.abc import Iterable, Sequence

# OWASP, "CSV Injection": a cell that begins so is a formula; an apostrophe before it makes it text.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV, each with LF at its end; numbers stay numbers."""
    lines = _Lines()
    # Of the characters that end a line, a writer puts cells with those of its own into quotes.
    csv.writer(lines, lineterminator="\r\n").writerows(map(guarded, row) for row in rows)
    return "".join(lines)


class _Lines(list[str]):
    def write(self, line: str) -> None:
        self.append(f"{line[:-2]}\n")


def guarded(cell: object) -> object:
    """Return a cell with an apostrophe before it if a spreadsheet would compute it.

    Texts that already look so get one more, so that `unguarded` returns every text.
    """
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def unguarded(text: str) -> str:
    """Return the text of a cell that `guarded` wrote."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """Read a table that `csv_text` wrote, by the names of its columns."""
    return [
        {unguarded(name): unguarded(text) for name, text in row.items() if isinstance(text, str)}
        for row in csv.DictReader(lines)
    ]
