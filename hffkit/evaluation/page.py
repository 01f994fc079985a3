"""The section of an HTML page on one evaluation."""

from collections.abc import Callable, Sequence

import numpy as np

from hffkit.evaluation.levels import Evaluation
from hffkit.evaluation.sums import grouped
from hffkit.evaluation.tables import level_notes, levels_table, recall_table
from hffkit.media.image import Image
from hffkit.reports.page import Figure, Mistake, Section
from hffkit.runs.scores import Scored, worst_mistakes

N_MISTAKES = 24


def page_section(
    name: str,
    scored: Scored,
    evaluation: Evaluation,
    *,
    facts: Sequence[tuple[str, str]] = (),
    images_of: Callable[[Sequence[int]], Sequence[tuple[Image, ...]]] | None = None,
    figures: Sequence[Figure] = (),
) -> Section:
    """Return the section of a page on one corpus.

    Parameters
    ----------
    name : str
        Of the corpus.
    scored, evaluation
        The second must be of the first.
    facts : sequence of (name, value)
        What is known of the data: digests, split, operations.
    images_of : callable
        Returns what is shown of places in `scored`, at most `N_MISTAKES`: the RGB image and, where
        there is one, a heat map.
    figures : sequence of Figure
        What is drawn besides.
    """
    level = evaluation.frame
    kinds = [face_class.kind for face_class in scored.classes]
    sums = grouped(scored).sums()
    bins = sums.calibration
    return Section(
        name=name,
        facts=tuple(facts),
        summary=levels_table(evaluation.levels),
        notes=level_notes(evaluation.levels),
        class_names=scored.classes.names,
        confusion=np.array(level.confusion, np.int64),
        recalls=recall_table(scored.classes.names, kinds, level),
        roc=sums.curve.rates("ROC") if level.n_real and level.n_fake else None,
        real_scores=scored.scores[~scored.is_fake],
        fake_scores=scored.scores[scored.is_fake],
        calibration=(bins.counts.astype(np.int64), bins.confidence, bins.accuracy),
        mistakes=_mistakes(scored, images_of) if images_of else (),
        figures=tuple(figures),
    )


def _mistakes(
    scored: Scored, images_of: Callable[[Sequence[int]], Sequence[tuple[Image, ...]]]
) -> tuple[Mistake, ...]:
    names, predicted = scored.classes.names, scored.predicted
    places = worst_mistakes(scored, N_MISTAKES).tolist()
    mistakes = []
    for place, images in zip(places, images_of(places), strict=True):
        true, taken_for = names[scored.labels[place]], names[predicted[place]]
        sureness = 100 * float(scored.probabilities[place].max())
        caption = f"{scored.keys[place]}: {true}, taken for {taken_for} ({sureness:.1f} %)"
        mistakes.append(Mistake(caption, images))
    return tuple(mistakes)
