"""The HTML page of findings: curves, heat maps, and the images whose decision flips first."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from hffkit.arrays import Floats64
from hffkit.evaluation.levels import Estimate
from hffkit.evaluation.metrics import LevelName
from hffkit.evaluation.tables import level_title
from hffkit.media.image import Image
from hffkit.reports.gallery import Gallery, GallerySection, render_gallery
from hffkit.reports.html import THUMBNAIL, Figure
from hffkit.reports.sheet import Tile
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.findings import LevelFindings, RobustnessResult, RunFindings, SuiteFindings
from hffkit.robustness.findings_tables import (
    conditions_table,
    decisions_table,
    notes_of,
    overview,
)
from hffkit.robustness.flips import Flip, first_flips
from hffkit.robustness.values import FPR_LIMITS

_N_TILES = 12
_COLUMNS = 12  # of a heat map
_LONG_ROWS = f"Operations of more than {_COLUMNS} severities take several rows."
_CHANCE = 50.0  # an AUC in per cent
_GAP = 4  # px between an image and what became of it
_DEFINITIONS = (
    "Robust AUC is the AUC of the images under all conditions together, so one threshold serves "
    "all of them; clean images are not among them.",
    "Right under all is the share of images that are rightly called fake or real at 0.5, clean "
    "and under every condition.",
    "AUC less clean is of the same images and resamples.",
    "An area is the mean height of the curve over severity, from the clean image on.",
    "FPR in brackets is the share of reals that are called fake at that threshold here.",
)


def page_of(result: RobustnessResult) -> str:
    """Return one self-contained page."""
    title = f"hffkit robustness: {', '.join(run.name for run in result.runs)}"
    facts = [("data", ", ".join(result.data)), ("split", result.split or "all")]
    facts += [("content_sha256", corpus.content_sha256) for corpus in result.corpora]
    facts += [(f"suite {suite.name}", suite.title) for suite in result.suites]
    facts += [(f"weights of {run.name}", run.detector.weights_sha256) for run in result.runs]
    intervals = "Intervals are 95 %, from a bootstrap over groups."
    sections = [GallerySection("Overview", intervals, overview(result).unbroken(), ())]
    levels = dict.fromkeys(level for run in result.runs for level in run.levels)
    for level in levels:
        for place in range(len(result.suites)):
            sections.append(_suite_section(result, level, place))
    sections += _table_sections(result)
    return render_gallery(title, facts, [*notes_of(result), *_DEFINITIONS], sections)


def _suite_section(result: RobustnessResult, level: LevelName, place: int) -> GallerySection:
    suite = result.suites[place]
    some = [(run, run.levels[level]) for run in result.runs]
    texts = [sentences(run, found, found.suites[place]) for run, found in some]
    galleries = [
        Gallery("Curves", "", (), (_curves(some, place),)),
        *(_heat(run, found.suites[place]) for run, found in some),
    ]
    if level == "frame":
        galleries += [_flipped(result, run, found.suites[place]) for run, found in some]
    title = f"{suite.name}: {level_title(level).lower()}"
    return GallerySection(title, "\n".join(texts), None, tuple(galleries))


def sentences(run: RunFindings, found: LevelFindings, one: SuiteFindings) -> str:
    """Return what the figures mean, in two sentences."""
    worst = one.worst
    text = f"{run.name}: a fake scores higher than a real one in {_share(found.clean['auc'])} of "
    text += f"the pairs of clean images, in {_share(one.robust_auc)} over all conditions"
    if worst is not None:
        text += f", and in {_share(worst.estimates['auc'])} under {worst.entry.title}"
    if not found.thresholds:
        return f"{text}. Without clean validation samples no threshold is known to hold."
    limit = FPR_LIMITS[-1]
    tpr, fpr = (f"{rate}_at_clean_fpr_{limit:g}" for rate in ("tpr", "fpr"))
    return (
        f"{text}. At the threshold that clean validation samples set for {100 * limit:g} % false "
        f"alarms, it finds {_range(one, tpr)} of the fakes under the conditions "
        f"({_share(found.clean[tpr])} clean), and calls {_range(one, fpr)} of the reals fake "
        f"({_share(found.clean[fpr])} clean)."
    )


def _share(estimate: Estimate) -> str:
    return "an unknown share" if estimate.value is None else f"{100 * estimate.value:.1f} %"


def _range(one: SuiteFindings, name: str) -> str:
    values = [each.estimates[name].value for each in one.conditions]
    known = [100 * value for value in values if value is not None]
    low, high = (f"{bound:.1f}" for bound in (min(known), max(known)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _curves(some: Sequence[tuple[RunFindings, LevelFindings]], place: int) -> Figure:
    from hffkit.reports.plots import SeverityCurve, severity_plot  # late: it takes a second

    suite = some[0][1].suites[place].suite
    panels = {
        operation: [
            SeverityCurve(run.name, *_curve(found, found.suites[place], operation))
            for run, found in some
        ]
        for operation in suite.operations
    }
    return Figure(
        "AUC over severity",
        "Bands are 95 % intervals from a bootstrap over groups.",
        f"AUC over the severities of {', '.join(suite.operations)}; the tables have the figures.",
        severity_plot(panels, "AUC"),
    )


def _curve(
    found: LevelFindings, one: SuiteFindings, operation: str
) -> tuple[list[int], Floats64, Floats64, Floats64]:
    """Return severities from 0, and values and bounds of the AUC there, (S + 1,) each."""
    some = [each for each in one.conditions if each.entry.operation == operation]
    estimates = [found.clean["auc"], *(each.estimates["auc"] for each in some)]
    values, low, high = np.array([_bounds(each) for each in estimates], np.float64).T
    return [0, *(each.entry.severity for each in some)], values, low, high


def _bounds(estimate: Estimate) -> tuple[float, float, float]:
    if estimate.value is None:
        return (np.nan,) * 3
    interval = estimate.interval
    if interval is None:
        return (estimate.value,) * 3
    return estimate.value, interval.low, interval.high


def _heat(run: RunFindings, one: SuiteFindings) -> Gallery:
    from hffkit.reports.plots import heat_map

    rows: dict[str, list[float]] = {}
    for operation in one.suite.operations:
        values = [
            100 * (each.estimates["auc"].value or np.nan)
            for each in one.conditions
            if each.entry.operation == operation
        ]
        for start in range(0, len(values), _COLUMNS):
            some = values[start : start + _COLUMNS]
            more = f" {start + 1} to {start + len(some)}" if len(values) > _COLUMNS else ""
            rows[f"{operation}{more}"] = some
    n_columns = max(map(len, rows.values()))
    table = np.full((len(rows), n_columns), np.nan)
    for row, values in zip(table, rows.values(), strict=True):
        row[: len(values)] = values
    columns = list(map(str, one.suite.severities[:n_columns]))
    figure = Figure(
        f"AUC in per cent by operation and severity: {run.name}",
        "Severities are the columns." if len(rows) == len(one.suite.operations) else _LONG_ROWS,
        "AUC by operation and severity; the tables have the figures.",
        heat_map(list(rows), columns, table, lowest=_CHANCE),
    )
    return Gallery(f"Heat map: {run.name}", "", (), (figure,))


def _flipped(result: RobustnessResult, run: RunFindings, one: SuiteFindings) -> Gallery:
    found = first_flips(run.levels["frame"], one, _N_TILES)
    caption = (
        "Correctly classified images whose decision flips at the lowest severity, those first "
        "whose score changes most. Left: the clean image. Right: the degraded image."
    )
    tiles = tuple(_tile(result, flip) for flip in found)
    text = (
        caption
        if tiles
        else "The decision flips for no image that is correctly classified when clean."
    )
    return Gallery(f"Flipped first: {run.name}", text, tiles, (), 2 * THUMBNAIL + _GAP)


def _tile(result: RobustnessResult, flip: Flip) -> Tile:
    corpus, sample = result.items[flip.place]
    treatments = result.treatments[CLEAN], result.treatments[flip.entry.chain.name]
    image = corpus.image(sample)
    clean, treated = (
        each.prepared()(image, sample.key, len(sample.operations)).image for each in treatments
    )
    entry = flip.entry
    caption = (
        f"{sample.cls}, score {flip.before:.3f} to {flip.after:.3f} under {entry.operation} "
        f"{entry.severity} ({entry.chain.name}): {sample.key}"
    )
    return Tile(caption, _beside(clean, treated))


def _beside(left: Image, right: Image) -> Image:
    """Return two images side by side, each enlarged or reduced to the size of a thumbnail."""
    scale = THUMBNAIL / max(left.shape[:2])
    size = (max(1, round(left.shape[1] * scale)), max(1, round(left.shape[0] * scale)))
    pair = [cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in (left, right)]
    gap = np.full((size[1], _GAP, 3), 255, np.uint8)
    return np.concatenate([pair[0], gap, pair[1]], axis=1).astype(np.uint8)


def _table_sections(result: RobustnessResult) -> Iterator[GallerySection]:
    for run in result.runs:
        for level, found in run.levels.items():
            for one in found.suites:
                title = f"{run.name}: {one.suite.name}, {level_title(level).lower()}"
                table = conditions_table(found, one).unbroken()
                yield GallerySection(title, "Every condition.", table, ())
        for suite in result.suites if run.decisions else ():
            text = "The guarantees of the run's decision, counted on the groups of these images."
            table = decisions_table(run, suite).unbroken()
            yield GallerySection(f"{run.name}: decision under {suite.name}", text, table, ())
