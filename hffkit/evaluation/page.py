"""The HTML page of an evaluation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.evaluation.levels import Evaluation
from hffkit.evaluation.sums import grouped
from hffkit.evaluation.tables import level_notes, level_title, levels_table, recall_table
from hffkit.media.image import Image
from hffkit.reports.html import Figure, html_of, thumbnail
from hffkit.reports.text_table import Table
from hffkit.runs.scores import Scored, worst_mistakes

N_MISTAKES = 24
ImagesOf = Callable[[Sequence[int]], Sequence[tuple[Image, ...]]]
"""Takes places of scored samples; returns the RGB image of each and, if any, its heat map."""


@dataclass(frozen=True, slots=True)
class Section:
    """One run on one corpus."""

    name: str
    scored: Scored
    evaluation: Evaluation  # of the scores
    images_of: ImagesOf  # called with at most `N_MISTAKES` places
    facts: Sequence[tuple[str, str]] = ()  # origin of the data: digests, split, operations
    figures: Sequence[Figure] = ()  # shown after those of every section
    qualities: Table | None = None  # of the same images in several qualities
    decision: Sequence[Table] = ()  # of the run: if its guarantees are kept
    decision_note: str | None = None
    warnings: Sequence[str] = ()  # shown first


@dataclass(frozen=True, slots=True)
class Page:
    """The content of the page."""

    title: str
    facts: Sequence[tuple[str, str]]  # weights, recipe, seed, digests
    sections: Sequence[Section]  # one for each run and corpus
    cross: Table | None  # trained on against tested on
    over_seeds: Sequence[tuple[str, Sequence[Table]]] = ()  # title and tables of each


def render(page: Page) -> str:
    """Render the page as HTML; the same page gives the same text."""
    sections = [
        {"data": section, "id": f"corpus-{number}", **_shown(section)}
        for number, section in enumerate(page.sections, 1)
    ]
    return html_of("evaluation.html.j2", page=page, sections=sections)


def _shown(section: Section) -> dict[str, object]:
    """Return what the template shows of the scores of a section."""
    levels = section.evaluation.levels
    mistakes = list(_mistakes(section))
    return {
        "summary": levels_table(levels),
        "notes": level_notes(levels),
        "recalls": recall_table(levels),
        "figures": [*_figures(section), *section.figures],
        "mistakes": [(caption, list(map(thumbnail, images))) for caption, images in mistakes],
        "has_heat": any(len(images) > 1 for _, images in mistakes),
    }


def _figures(section: Section) -> Iterator[Figure]:
    from hffkit.reports import plots  # late: matplotlib takes a second

    scored, evaluation = section.scored, section.evaluation
    names, sums = scored.classes.names, grouped(scored).sums()
    for name, level in evaluation.levels.items():
        yield Figure(
            f"Confusion matrix: {level_title(name).lower()}",
            "Rows are true classes; each cell shows the share of its row and the count.",
            f"Confusion matrix of {', '.join(names)}.",
            plots.confusion_plot(names, np.array(level.confusion, np.int64)),
        )
    if evaluation.frame.n_real and evaluation.frame.n_fake:
        caption = "Fake is positive. The right plot shows the same curve at low FPR."
        alt = "ROC curve, linear and with a logarithmic axis; the table has its area."
        yield Figure("ROC curve", caption, alt, plots.roc_plot(*sums.curve.rates("ROC")))
    real, fake = scored.scores[~scored.is_fake], scored.scores[scored.is_fake]
    score = "probability of fake" if scored.is_probability else "decision value, mapped to 0..1"
    yield Figure(
        "Scores",
        f"The score is the {score}; 0.5 or more is called fake.",
        f"Histograms of the scores of {len(real)} real and {len(fake)} fake images.",
        plots.score_plot(real, fake, score),
    )
    if scored.is_probability:
        found = sums.calibration
        counts = found.counts.astype(np.int64)
        yield Figure(
            "Calibration",
            "Confidence in the predicted class against its accuracy; bars count images.",
            "Calibration diagram; the table has the calibration error.",
            plots.calibration_plot(counts, found.confidence, found.accuracy),
        )


def _mistakes(section: Section) -> Iterator[tuple[str, tuple[Image, ...]]]:
    """Yield the caption and the images of the worst mistakes."""
    scored = section.scored
    names, predicted = scored.classes.names, scored.predicted
    places = worst_mistakes(scored, N_MISTAKES).tolist()
    for place, images in zip(places, section.images_of(places), strict=True):
        true, wrong = names[scored.labels[place]], names[predicted[place]]
        sure = _sureness(scored, place)
        yield f"{scored.keys[place]}: {true}, taken for {wrong} ({sure})", images


def _sureness(scored: Scored, place: int) -> str:
    if scored.is_probability or scored.margins is None:
        return f"{100 * float(scored.probabilities[place].max()):.1f} %"
    return f"decision value {scored.margins[place]:+.3g}"
