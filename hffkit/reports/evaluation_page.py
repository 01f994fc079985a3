"""The HTML page of an evaluation."""

from dataclasses import dataclass

from hffkit.arrays import Floats64, Ints
from hffkit.media.image import Image
from hffkit.reports.html import Figure, html_of, thumbnail
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class Mistake:
    """A misclassified sample."""

    caption: str
    images: tuple[Image, ...]  # the face, then its heat map if there is one


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one run on one corpus; scores are in [0, 1], and fake from 0.5."""

    name: str
    facts: tuple[tuple[str, str], ...]
    summary: Table
    notes: tuple[str, ...]
    class_names: tuple[str, ...]  # (C,)
    confusions: tuple[tuple[str, Ints], ...]  # by level: title, (C, C) with rows of true classes
    recalls: Table
    roc: tuple[Floats64, Floats64] | None  # FPR and TPR, rising from 0 to 1; None if undefined
    real_scores: Floats64
    fake_scores: Floats64
    # (B,) samples, mean confidence, accuracy; None if the scores are no probabilities.
    calibration: tuple[Ints, Floats64, Floats64] | None
    mistakes: tuple[Mistake, ...]  # the worst first
    figures: tuple[Figure, ...] = ()  # of this kind of run only
    qualities: Table | None = None  # of the same images in several qualities
    decision: Table | None = None  # of the run: if its guarantees are kept
    warnings: tuple[str, ...] = ()  # shown first


@dataclass(frozen=True, slots=True)
class Page:
    """The content of the page."""

    title: str
    facts: tuple[tuple[str, str], ...]  # weights, recipe, seed, digests
    sections: tuple[Section, ...]  # one for each run and corpus
    cross: Table | None  # trained on against tested on
    over_seeds: tuple[tuple[str, tuple[Table, ...]], ...] = ()  # title and tables of each


def render(page: Page) -> str:
    """Render the page as HTML; the same page gives the same text."""
    sections = [
        {
            "data": section,
            "id": f"corpus-{number}",
            "figures": _figures(section),
            "mistakes": [(m.caption, list(map(thumbnail, m.images))) for m in section.mistakes],
            "has_heat": any(len(mistake.images) > 1 for mistake in section.mistakes),
        }
        for number, section in enumerate(page.sections, 1)
    ]
    return html_of("evaluation.html.j2", page=page, sections=sections)


def _figures(section: Section) -> list[Figure]:
    from hffkit.reports import plots  # late: matplotlib takes a second

    names = section.class_names
    figures = [
        Figure(
            f"Confusion matrix: {title.lower()}",
            "Rows are true classes; each cell shows the share of its row and the count.",
            f"Confusion matrix of {', '.join(names)}.",
            plots.confusion_plot(names, counts),
        )
        for title, counts in section.confusions
    ]
    if section.roc is not None:
        caption = "Fake is positive. The right plot shows the same curve at low FPR."
        alt = "ROC curve, linear and with a logarithmic axis; the table has its area."
        figures.append(Figure("ROC curve", caption, alt, plots.roc_plot(*section.roc)))
    figures.append(_scores(section))
    if section.calibration is not None:
        figures.append(
            Figure(
                "Calibration",
                "Confidence in the predicted class against its accuracy; bars count images.",
                "Calibration diagram; the table has the calibration error.",
                plots.calibration_plot(*section.calibration),
            )
        )
    return [*figures, *section.figures]


def _scores(section: Section) -> Figure:
    from hffkit.reports import plots  # late: matplotlib takes a second

    name = "probability of fake"
    if section.calibration is None:
        name = "decision value, mapped to 0..1"
    return Figure(
        "Scores",
        f"The score is the {name}; 0.5 or more is called fake.",
        f"Histograms of the scores of {len(section.real_scores)} real and "
        f"{len(section.fake_scores)} fake images.",
        plots.score_plot(section.real_scores, section.fake_scores, name),
    )
