"""The section of an HTML page on one evaluation."""

from collections.abc import Callable, Sequence

import numpy as np

from hffkit.evaluation.levels import Evaluation
from hffkit.evaluation.sums import grouped
from hffkit.evaluation.tables import level_notes, level_title, levels_table, recall_table
from hffkit.media.image import Image
from hffkit.reports.evaluation_page import Mistake, Section
from hffkit.reports.html import Figure
from hffkit.runs.scores import Scored, worst_mistakes

N_MISTAKES = 24
ImagesOf = Callable[[Sequence[int]], Sequence[tuple[Image, ...]]]
"""Takes places of scored samples; returns the RGB image of each and, if any, its heat map."""


def page_section(
    name: str,
    scored: Scored,
    evaluation: Evaluation,
    *,
    images_of: ImagesOf,
    facts: Sequence[tuple[str, str]] = (),
    figures: Sequence[Figure] = (),
) -> Section:
    """Return the section on one corpus.

    Parameters
    ----------
    scored, evaluation
        The second must be of the first.
    images_of
        Called with at most `N_MISTAKES` places.
    facts
        Origin of the data as names and values: digests, split, operations.
    figures
        Shown after those of every section.
    """
    level = evaluation.frame
    sums = grouped(scored).sums()
    bins = None
    if evaluation.is_probability:
        found = sums.calibration
        bins = (found.counts.astype(np.int64), found.confidence, found.accuracy)
    return Section(
        name=name,
        facts=tuple(facts),
        summary=levels_table(evaluation.levels),
        notes=level_notes(evaluation.levels),
        class_names=scored.classes.names,
        confusions=tuple(
            (level_title(name), np.array(found.confusion, np.int64))
            for name, found in evaluation.levels.items()
        ),
        recalls=recall_table(evaluation.levels),
        roc=sums.curve.rates("ROC") if level.n_real and level.n_fake else None,
        real_scores=scored.scores[~scored.is_fake],
        fake_scores=scored.scores[scored.is_fake],
        calibration=bins,
        mistakes=_mistakes(scored, images_of),
        figures=tuple(figures),
    )


def _mistakes(scored: Scored, images_of: ImagesOf) -> tuple[Mistake, ...]:
    names, predicted = scored.classes.names, scored.predicted
    places = worst_mistakes(scored, N_MISTAKES).tolist()
    mistakes = []
    for place, images in zip(places, images_of(places), strict=True):
        true, wrong = names[scored.labels[place]], names[predicted[place]]
        sure = _sureness(scored, place)
        mistakes.append(
            Mistake(f"{scored.keys[place]}: {true}, taken for {wrong} ({sure})", images)
        )
    return tuple(mistakes)


def _sureness(scored: Scored, place: int) -> str:
    if scored.is_probability or scored.margins is None:
        return f"{100 * float(scored.probabilities[place].max()):.1f} %"
    return f"decision value {scored.margins[place]:+.3g}"
