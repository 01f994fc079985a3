"""One self-contained HTML page of images that explain answers."""

from dataclasses import dataclass

from hffkit.reports.html import html_of, thumbnail
from hffkit.reports.sheet import Tile
from hffkit.reports.table import Table


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images under a title."""

    title: str
    caption: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class GallerySection:
    """A table under a title, and galleries that belong to it."""

    title: str
    caption: str
    table: Table | None
    galleries: tuple[Gallery, ...]


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """What a run sees."""

    title: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    parts: tuple[GallerySection, ...]


def render_gallery(page: GalleryPage) -> str:
    """Return the page as HTML; the same page gives the same text."""
    parts = [
        {
            "data": part,
            "galleries": [
                (each, [(tile.caption, thumbnail(tile.image)) for tile in each.tiles])
                for each in part.galleries
            ],
        }
        for part in page.parts
    ]
    return html_of("gallery.html.j2", page=page, parts=parts)
