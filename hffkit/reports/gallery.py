"""A self-contained HTML page of facts, tables and galleries of images."""

from dataclasses import dataclass

from hffkit.reports.html import html_of, thumbnail
from hffkit.reports.sheet import Tile
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images below a title and a caption."""

    title: str
    caption: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class GallerySection:
    """A title, a caption, a table and galleries."""

    title: str
    caption: str
    table: Table | None
    galleries: tuple[Gallery, ...]


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """The whole page."""

    title: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    sections: tuple[GallerySection, ...]


def render_gallery(page: GalleryPage) -> str:
    """Return the page as HTML, the same text for the same page."""
    sections = [
        {
            "data": section,
            "galleries": [
                (each, [(tile.caption, thumbnail(tile.image)) for tile in each.tiles])
                for each in section.galleries
            ],
        }
        for section in page.sections
    ]
    return html_of("gallery.html.j2", page=page, sections=sections)
