"""The HTML page of an audit."""

from dataclasses import dataclass

from hffkit.media.image import Image
from hffkit.reports.html import Figure, html_of, thumbnail
from hffkit.reports.text_table import Table

_TILE = 112  # px


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A piece of evidence: a caption, and images with theirs."""

    caption: str
    images: tuple[tuple[str, Image], ...]


@dataclass(frozen=True, slots=True)
class FindingCard:
    """One finding."""

    severity: str
    title: str
    number: str
    why: str
    mend: str
    anchor: str  # of its check
    check: str
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True, slots=True)
class CheckSection:
    """One check: its traffic light, and what it measured."""

    anchor: str
    title: str
    light: str  # red, amber, yellow, green or grey
    verdict: str
    tables: tuple[tuple[str, Table], ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The content of the page."""

    title: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[FindingCard, ...]  # the worst first
    checks: tuple[CheckSection, ...]


def render_audit(page: AuditPage) -> str:
    """Render the page as HTML; the same page gives the same text."""
    cards = [
        {
            "data": card,
            "exhibits": [
                (
                    exhibit.caption,
                    [(caption, thumbnail(image, _TILE)) for caption, image in exhibit.images],
                )
                for exhibit in card.exhibits
            ],
        }
        for card in page.findings
    ]
    return html_of("audit.html.j2", page=page, cards=cards)
