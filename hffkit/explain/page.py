"""The sheet and the page of `hffkit explain`."""

from itertools import chain
from typing import Any

from hffkit.explain.recorder import N_SHOWN, Recorder, Shown
from hffkit.explain.regions import REGIONS
from hffkit.media.image import Image
from hffkit.reports.gallery import Gallery, GalleryPage, GallerySection, render_gallery
from hffkit.reports.sheet import contact_sheet
from hffkit.reports.table import Table

_COLUMNS, _LEAST_COLUMNS = 6, 4  # titles need the room of four
_LONGEST = 60  # characters of a face's name
_TILE = 224  # px: the longest caption fits under it


def sheet_of(recorder: Recorder) -> Image:
    """Return all shown images under their titles."""
    rows = []
    for each in recorder.shown:
        tiles = [group[0] for group in each.groups]
        for start in range(0, len(tiles), _COLUMNS):
            title = " (continued)" if start else f"  {_ending(each.caption)}"
            rows.append((f"{each.title}{title}", tiles[start : start + _COLUMNS]))
    columns = max(_LEAST_COLUMNS, *(len(tiles) for _, tiles in rows))
    return contact_sheet(rows, columns=columns, tile=_TILE)


def _ending(caption: str) -> str:
    """Return the end of a long path, which tells it from others."""
    return caption if len(caption) <= _LONGEST else f"…{caption[1 - _LONGEST :]}"


def page_of(recorder: Recorder, about: dict[str, Any]) -> str:
    """Return the page as HTML; `about` is what explain.json says."""
    facts = [
        ("run", about["run"]),
        ("network", f"{about['network']}, {about['size']} px"),
        ("weights_sha256", about["weights_sha256"]),
        ("explained class", about["target"] or "of each face the most probable one"),
        ("methods", ", ".join(about["methods"])),
        ("layers", ", ".join(about["layers"])),
        ("landmarks", about["landmarks"]),
        ("seed", str(about["seed"])),
        ("versions", ", ".join(f"{k} {v}" for k, v in about["versions"].items())),
    ]
    parts = [*_figures(about), *_shares(about), *_sanity(recorder, about), _faces(recorder, about)]
    return render_gallery(
        GalleryPage(
            f"hffkit explain: {about['run']}",
            tuple((name, value) for name, value in facts if value),
            (*about["notes"], *about["problems"]),
            tuple(parts),
        )
    )


def faithfulness_table(about: dict[str, Any]) -> Table | None:
    """Return the areas of each method; None where none were measured."""
    rows = [
        (name, f"{row['deletion']:.3f}", f"{row['insertion']:.3f}")
        for name, row in about["faithfulness"].items()
    ]
    head = ("map", "deletion: less is better", "insertion: more is better")
    return Table(head, tuple(rows)) if rows else None


def sanity_table(about: dict[str, Any]) -> Table | None:
    """Return the correlations of each method, stage by stage; None where that was not asked."""
    if not about["sanity"]:
        return None
    names = about["sanity"][0]["correlations"]
    rows = [
        (name, *(_rho(stage["correlations"][name]) for stage in about["sanity"])) for name in names
    ]
    stages = (f"{stage['n_layers']}, to {stage['layer']}" for stage in about["sanity"])
    return Table(("random layers", *stages), tuple(rows))


def shares_table(about: dict[str, Any]) -> Table | None:
    """Return the share of heat on each part of the face; None where no landmarks are known."""
    rows = [
        (f"{name}: {key}", *(f"{100 * regions[region]:.1f} %" for region in REGIONS))
        for name, kinds in about["shares"].items()
        for key, regions in kinds.items()
    ]
    return Table(("share of heat", *REGIONS), tuple(rows)) if rows else None


def _rho(value: float | None) -> str:
    return "no map" if value is None else f"{value:.2f}"


def _figures(about: dict[str, Any]) -> list[GallerySection]:
    if not about["faithfulness"]:
        return []
    caption = (
        f"Area under the probability of the explained class, mean of {about['n_measured']} faces "
        f"in {about['steps']} steps. Deletion: hottest pixels first give way to the mean colour; "
        "less is better. Insertion: they come first into the blurred image; more is better. A "
        "map that does no better than a random order of pixels says nothing."
    )
    return [GallerySection("Faithfulness", caption, faithfulness_table(about), ())]


def _shares(about: dict[str, Any]) -> list[GallerySection]:
    table = shares_table(about)
    if table is None:
        return []
    caption = (
        "Mean over the faces of a class: how much of a map's heat lies on a part of the face. Jaw "
        "is the rest inside of jaw and brows; area is the share that even heat would have."
    )
    return [GallerySection("Parts of the face", caption, table, ())]


def _sanity(recorder: Recorder, about: dict[str, Any]) -> list[GallerySection]:
    if not about["sanity"]:
        return []
    caption = (
        "Weights made random from the last layer to the first: Spearman's correlation of each map "
        "with that of the trained network. A method that stays near 1 does not look at the weights."
    )
    galleries = tuple(_gallery(each) for each in recorder.shaken())
    return [GallerySection("Sanity", caption, sanity_table(about), galleries)]


def _faces(recorder: Recorder, about: dict[str, Any]) -> GallerySection:
    galleries = tuple(_gallery(each) for each in recorder.shown)
    if about["averages"]:
        caption = (
            "Means of maps within 0 to 1, over the mean face; the highest mean is full red. "
            "average.npz has the numbers."
        )
        return GallerySection("Averages", caption, None, galleries)
    caption = (
        "In brackets the probability of the class that is explained. Red is what speaks for it."
    )
    if recorder.n_faces > N_SHOWN:
        caption += f" The first {N_SHOWN} of {recorder.n_faces}; all have their files."
    return GallerySection("Faces", caption, None, galleries)


def _gallery(shown: Shown) -> Gallery:
    return Gallery(shown.title, shown.caption, tuple(chain.from_iterable(shown.groups)))
