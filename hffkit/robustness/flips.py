"""Images whose decision flips under the mildest operations."""

from dataclasses import dataclass

import numpy as np

from hffkit.degrade.suites import SuiteEntry
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.findings import LevelFindings, SuiteFindings


@dataclass(frozen=True, slots=True)
class Flip:
    """The first wrong decision about a sample that is rightly decided when clean."""

    place: int  # of the sample
    entry: SuiteEntry
    before: float  # score of the clean image
    after: float


def first_flips(found: LevelFindings, one: SuiteFindings, n: int) -> list[Flip]:
    """Return the `n` samples that flip at the lowest severity, once each.

    Of equal severities the larger change of the score comes first.
    """
    clean = found.values[CLEAN]
    flips: dict[int, Flip] = {}
    for condition in one.conditions:
        entry = condition.entry
        after = found.values[entry.chain.name]
        for place in np.flatnonzero(clean.is_right & ~after.is_right).tolist():
            flip = Flip(place, entry, float(clean.scores[place]), float(after.scores[place]))
            flips[place] = min(flips.get(place, flip), flip, key=_order)
    return sorted(flips.values(), key=_order)[:n]


def _order(flip: Flip) -> tuple[int, float, int]:
    return flip.entry.severity, -abs(flip.after - flip.before), flip.place
