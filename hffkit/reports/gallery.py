"""A self-contained HTML page of facts, tables and galleries of images."""

from collections.abc import Sequence
from dataclasses import dataclass

from hffkit.reports.html import THUMBNAIL, Figure, html_of, thumbnail
from hffkit.reports.sheet import Tile
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images and plots below a title and a caption."""

    title: str
    caption: str
    tiles: tuple[Tile, ...]
    figures: tuple[Figure, ...] = ()
    side: int = THUMBNAIL  # px, at most, of a tile


@dataclass(frozen=True, slots=True)
class GallerySection:
    """A title, a caption, a table and galleries."""

    title: str
    caption: str  # without a table each line is a paragraph
    table: Table | None
    galleries: tuple[Gallery, ...]


def render_gallery(
    title: str,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    sections: Sequence[GallerySection],
) -> str:
    """Return a page as HTML; the same arguments give the same text."""
    rows = [
        {
            "data": section,
            "galleries": [
                (each, [(tile.caption, thumbnail(tile.image, each.side)) for tile in each.tiles])
                for each in section.galleries
            ],
        }
        for section in sections
    ]
    return html_of("gallery.html.j2", title=title, facts=facts, notes=notes, sections=rows)
