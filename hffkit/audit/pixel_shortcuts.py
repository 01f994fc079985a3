"""Shortcuts in trivial pixels, before and after one re-encoding of all classes."""

from collections.abc import Iterator
from dataclasses import dataclass

from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.class_pairs import (
    PairLeakages,
    by_text,
    carriers_text,
    distributions,
    pair_leakages,
    severity_of,
)
from hffkit.audit.collected import SIDE, collected
from hffkit.audit.exhibits import Distribution, Exhibits
from hffkit.audit.findings import Evidence, Finding, equalize_command
from hffkit.audit.shortcuts import examples
from hffkit.audit.trivial_pixels import HISTORY, PIXEL_FACTS, RECODED, RECODED_FACTS
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class PixelShortcutsMeasured:
    """Leakage scores by trivial facts of pixels."""

    whole: PairLeakages  # by all facts
    history: PairLeakages  # by borders, the 8-px grid and quantisation alone
    recoded: PairLeakages  # by colours, contrast, borders and frequencies of re-encoded images
    shown: tuple[Distribution, ...]
    examples: dict[str, Evidence]
    names: str

    def to_json(self) -> dict[str, object]:
        """Return the scores as JSON values."""
        return {
            "all": self.whole.to_json(),
            "history": self.history.to_json(),
            "after_recoding": self.recoded.to_json(),
        }

    def exhibits(self) -> Exhibits:
        """Return the three tables of scores and the distributions."""
        classes = self.whole.classes
        parts: tuple[tuple[str, Table], ...] = (
            ("By all trivial facts of the pixels.", self.whole.table()),
            ("By borders, the 8-px grid and quantisation alone.", self.history.table()),
            (
                f"After {SIDE}x{SIDE} px and JPEG {RECODED} for all classes: what is left is not "
                "the codec, but content or the generator.",
                self.recoded.table(),
            ),
        )
        return Exhibits(
            tables=parts,
            pairs=(classes, classes, self.history.heat()),
            distributions=self.shown,
            notes=self.whole.left_out,
        )


def measure(data: Audited) -> PixelShortcutsMeasured:
    """Compute leakage scores by the pixels as they are, and re-encoded."""
    found = data.shared(collected)
    history = [PIXEL_FACTS[place] for place in HISTORY]
    whole = pair_leakages(data, PIXEL_FACTS, found.pixels, found, "pixels")
    values = found.pixels[:, list(HISTORY)]
    made = pair_leakages(data, history, values, found, "pixel history", by_split=True)
    again = pair_leakages(data, RECODED_FACTS, found.recoded, found, "recoded pixels")
    used = {name for _, one in made.all_scores for each in one.carriers for name in each.names}
    names = data.index.class_names
    shown = distributions(PIXEL_FACTS, found.pixels, found, names, used)
    return PixelShortcutsMeasured(whole, made, again, shown, examples(data, found), data.names)


def judge(found: PixelShortcutsMeasured) -> Iterator[Finding]:
    """Yield a finding on the history that pixels show, and one on what re-encoding leaves."""
    title, worst = max(found.history.all_scores, key=lambda row: row[1].low)
    if severity := severity_of(worst):
        yield Finding(
            CHECK.name, severity,
            f"{title}: the pixels show how they were made, by {by_text(worst)}",
            str(worst), tuple(found.examples.values()), _HISTORY,
            equalize_command(found.names),
        )  # fmt: skip
    if (worse := found.history.worse_split(severity)) is not None:
        split, score, of_split = worse
        yield Finding(
            CHECK.name, of_split,
            f"fake / real of split {split}: the pixels show how they were made, by "
            f"{by_text(score)}",
            str(score), (), _HISTORY, equalize_command(found.names),
        )  # fmt: skip
    yield from found.history.drifting(CHECK.name, equalize_command(found.names))
    left = found.recoded.overall
    if left is not None and severity_of(left) == "high":
        yield Finding(
            CHECK.name, "low",
            f"Fake and real differ in {carriers_text(left) or 'trivial facts'} even when all are "
            "encoded alike",
            str(left), tuple(found.examples.values()), _CONTENT, "",
        )  # fmt: skip


_HISTORY = (
    "Borders, the grid of an earlier JPEG and its quantisation are seen by every network, and are "
    "no forgery."
)
_CONTENT = (
    "Either the generator leaves this trace or the classes show different things; compare a "
    "detector with this score before you call it an advance."
)
CHECK = AuditCheck("pixel-shortcuts", "Shortcuts in trivial pixels", "shortcuts", measure, judge)
