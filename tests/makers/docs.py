"""Read the tables of docs/sources.md, which tests make again."""

from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs/sources.md"


def documented(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page, without its first two lines."""
    lines = _PAGE.read_text("utf-8").split(f"\n{heading}\n")[1].splitlines()
    end = next((i for i, line in enumerate(lines) if line.startswith("#")), len(lines))
    table = [line for line in lines[:end] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]
