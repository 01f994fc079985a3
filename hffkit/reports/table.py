"""Tables of text."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; the first column names the rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """Return the table as Markdown, numbers to the right, without a line end at its end."""
        rule = "|".join(["", "---", *["---:"] * (len(self.header) - 1), ""])
        head, *body = (_markdown_row(row) for row in (self.header, *self.rows))
        return "\n".join([head, rule, *body])


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"
