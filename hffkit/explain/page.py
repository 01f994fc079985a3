"""Content of the sheet, the page and the tables of `hffkit explain`."""

from collections.abc import Sequence

from hffkit.explain.recorder import MEANS_FILE, N_SHOWN
from hffkit.explain.regions import REGIONS
from hffkit.explain.result import ExplainResult
from hffkit.explain.sanity import correlation_text
from hffkit.media.image import Image
from hffkit.reports.gallery import Gallery, GallerySection, render_gallery
from hffkit.reports.sheet import contact_sheet
from hffkit.reports.text_table import Table
from hffkit.wording import counted

_COLUMNS, _LEAST_COLUMNS = 6, 4  # titles need the room of four
_LONGEST = 60  # characters of a face's name
_TILE = 224  # px: the longest caption fits under it


def sheet_of(galleries: Sequence[Gallery]) -> Image:
    """Return all images on one sheet."""
    rows = []
    for each in galleries:
        for start in range(0, len(each.tiles), _COLUMNS):
            title = " (continued)" if start else f"  {_ending(each.caption)}"
            rows.append((f"{each.title}{title}", each.tiles[start : start + _COLUMNS]))
    columns = max(_LEAST_COLUMNS, *(len(tiles) for _, tiles in rows))
    return contact_sheet(rows, columns=columns, tile=_TILE)


def _ending(caption: str) -> str:
    """Return the end of a long path, by which paths differ."""
    return caption if len(caption) <= _LONGEST else f"…{caption[1 - _LONGEST :]}"


def page_of(result: ExplainResult, galleries: Sequence[Gallery], sanity: Sequence[Gallery]) -> str:
    """Return the page as HTML: `galleries` of each face or class, `sanity` those of that check."""
    facts = (
        ("run", result.run),
        ("network", f"{result.network}, {result.size} px"),
        ("weights_sha256", result.weights_sha256),
        ("explained class", result.target or "the most probable one of each face"),
        ("methods", ", ".join(result.methods)),
        ("layers", ", ".join(result.layers)),
        ("landmarks", result.landmarks or ""),
        ("seed", str(result.seed)),
        ("versions", ", ".join(f"{k} {v}" for k, v in result.versions.items())),
    )
    measured = (
        ("Faithfulness", _faithfulness_caption(result), faithfulness_table(result), ()),
        ("Parts of the face", _SHARES, shares_table(result), ()),
        ("Sanity", _SANITY, sanity_table(result), tuple(sanity)),
    )
    sections = [GallerySection(*section) for section in measured if section[2] is not None]
    sections.append(_images(result, galleries))
    shown = [(name, value) for name, value in facts if value]
    notes = (*result.notes, *result.problems)
    return render_gallery(f"hffkit explain: {result.run}", shown, notes, sections)


_SHARES = (
    "Mean share of the heat on each part of the face, by class. Jaw is the face within jaw line "
    "and brows less the other parts. Area is the share of a uniform heat map."
)
_SANITY = (
    "Spearman's correlation of each map with that of the trained network after the weights of the "
    "last layers, up to the named one, were replaced by random ones. A method that stays near 1 "
    "does not depend on the weights."
)


def _faithfulness_caption(result: ExplainResult) -> str:
    return (
        f"Area under the probability of the explained class, mean of "
        f"{counted(result.n_measured, 'face')} in {result.steps} steps. Deletion replaces the "
        "hottest pixels first by the mean colour: less is better. Insertion restores the hottest "
        "pixels first in the blurred face: more is better. A map that is no better than a random "
        "order of pixels carries no information."
    )


def _images(result: ExplainResult, galleries: Sequence[Gallery]) -> GallerySection:
    title, caption = "Faces", "In brackets the probability of the explained class. Red supports it."
    if result.averages:
        title = "Averages"
        caption = (
            "Mean maps over the mean face of each class; the highest mean is full red. "
            f"{MEANS_FILE} has the values."
        )
    elif result.n_faces > N_SHOWN:
        caption += f" The page shows the first {N_SHOWN} of {result.n_faces}; all have files."
    return GallerySection(title, caption, None, tuple(galleries))


def tables_of(result: ExplainResult) -> list[Table]:
    """Return the tables of all figures that were computed."""
    tables = (faithfulness_table(result), shares_table(result), sanity_table(result))
    return [table for table in tables if table is not None]


def faithfulness_table(result: ExplainResult) -> Table | None:
    """Return the areas of each map; None if they were not measured."""
    rows = tuple(
        (name, f"{each.deletion:.3f}", f"{each.insertion:.3f}")
        for name, each in result.faithfulness.items()
    )
    header = ("map", "deletion: less is better", "insertion: more is better")
    return Table(header, rows) if rows else None


def sanity_table(result: ExplainResult) -> Table | None:
    """Return the correlations of each map, stage by stage; None without a sanity check."""
    if not result.sanity:
        return None
    rows = tuple(
        (name, *(correlation_text(stage.correlations[name]) for stage in result.sanity))
        for name in result.sanity[0].correlations
    )
    stages = (f"{stage.n_layers}, to {stage.layer}" for stage in result.sanity)
    return Table(("random layers", *stages), rows)


def shares_table(result: ExplainResult) -> Table | None:
    """Return the shares of heat on each part of the face; None without landmarks."""
    rows = tuple(
        (f"{cls}: {name}", *(f"{100 * shares[region]:.1f} %" for region in REGIONS))
        for cls, by_map in result.shares.items()
        for name, shares in by_map.items()
    )
    return Table(("share of heat", *REGIONS), rows) if rows else None
