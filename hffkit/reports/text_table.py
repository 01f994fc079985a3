"""Tables of text, as Markdown or as aligned columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes
    ----------
    header : tuple of str
        Titles of the columns; none for a table without a header, which only `to_text` can print.
    rows : tuple of tuple of str
        Cells, as many in each row as there are columns.
    left : tuple of int
        Columns aligned to the left, counted from 0; the others hold numbers.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)

    def to_markdown(self) -> str:
        """Return the table as Markdown, without a line end at its end."""
        columns = range(len(self.header))
        rule = "|".join(["", *("---" if i in self.left else "---:" for i in columns), ""])
        head, *body = (_markdown_row(row) for row in (self.header, *self.rows))
        return "\n".join([head, rule, *body])

    def to_text(self) -> str:
        """Return the table as columns padded with spaces, without a line end at its end."""
        lines = (self.header, *self.rows) if self.header else self.rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(self._text_row(row, widths) for row in lines)

    def unbroken(self) -> "Table":
        """Return the table for a page, where lines do not break after a comma, as in intervals."""
        comma = ",\N{NO-BREAK SPACE}"
        rows = tuple(tuple(cell.replace(", ", comma) for cell in row) for row in self.rows)
        return replace(self, rows=rows)

    def _text_row(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = (
            cell.ljust(width) if i in self.left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"
