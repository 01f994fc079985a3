"""Shortcuts without pixels: classes that stored files and recorded facts tell apart."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64, Ints
from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.class_pairs import (
    PairLeakages,
    by_text,
    distributions,
    pair_leakages,
    severity_of,
    softer,
)
from hffkit.audit.collected import Collected, collected
from hffkit.audit.exhibits import Distribution, Exhibits
from hffkit.audit.findings import Evidence, Finding, equalize_command
from hffkit.audit.leakage import Leakage, leakage
from hffkit.audit.stored_facts import FACTS, Fact
from hffkit.errors import MetricError
from hffkit.manifest.samples import SPLITS
from hffkit.reports.text_table import Table
from hffkit.wording import counted

_N_COLUMNS = 8  # of the table of typical values
_N_EXAMPLES = 3  # samples of each class


@dataclass(frozen=True, slots=True)
class ShortcutsMeasured:
    """Leakage scores by stored facts, with examples of each class."""

    scores: PairLeakages  # by what a detector may see
    hidden: Leakage | None  # fake against real by what no detector sees; None: not defined
    polarity: dict[str, bool]  # True for fake classes
    typical: Table
    shown: tuple[Distribution, ...]
    examples: dict[str, Evidence]  # by class
    names: str

    def to_json(self) -> dict[str, object]:
        """Return the scores as JSON values."""
        hidden = None if self.hidden is None else self.hidden.to_json()
        return {**self.scores.to_json(), "hidden": hidden}

    def exhibits(self) -> Exhibits:
        """Return the scores, their heat map, typical values and distributions."""
        classes = self.scores.classes
        return Exhibits(
            tables=(
                ("Leakage scores, held out by group.", self.scores.table()),
                ("The most common value of each fact, and its share.", self.typical),
            ),
            pairs=(classes, classes, self.scores.heat()),
            distributions=self.shown,
            notes=self.scores.left_out,
        )


def measure(data: Audited) -> ShortcutsMeasured:
    """Compute leakage scores by the facts of the stored files."""
    found = data.shared(collected)
    seen = [place for place, fact in enumerate(FACTS) if not fact.is_hidden]
    facts = [FACTS[place] for place in seen]
    scores = pair_leakages(data, facts, found.stored[:, seen], found, CHECK.name, by_split=True)
    used = {name for _, one in scores.all_scores for each in one.carriers for name in each.names}
    names = data.index.class_names
    return ShortcutsMeasured(
        scores,
        _hidden(data, found),
        {row.name: row.is_fake for row in data.table},
        _typical(found, data),
        distributions(FACTS, found.stored, found, names, used),
        examples(data, found),
        data.names,
    )


def _hidden(data: Audited, found: Collected) -> Leakage | None:
    places = [place for place, fact in enumerate(FACTS) if fact.is_hidden]
    facts = [FACTS[place] for place in places]
    try:
        return leakage(
            found.stored[:, places], found.is_fake, found.groups, facts, data.rng("hidden facts")
        )
    except MetricError:
        return None


def examples(data: Audited, found: Collected) -> dict[str, Evidence]:
    """Return some samples of each class."""
    names = data.index.class_names
    shown = {}
    for place in found.classes.tolist():
        at = found.at[found.cls == place][:_N_EXAMPLES]
        shown[names[place]] = Evidence(names[place], data.refs(at))
    return shown


def judge(found: ShortcutsMeasured) -> Iterator[Finding]:
    """Yield findings on fake against real and on pairs of classes."""
    scores = found.scores
    severity = None if scores.overall is None else severity_of(scores.overall)
    if scores.overall is not None and severity is not None:
        yield Finding(
            CHECK.name, severity,
            f"Fake and real are told apart without their pixels, by {by_text(scores.overall)}",
            str(scores.overall), tuple(found.examples.values()), _WHY,
            equalize_command(found.names),
        )  # fmt: skip
    if (worse := scores.worse_split(severity)) is not None:
        split, score, of_split = worse
        yield Finding(
            CHECK.name, of_split,
            f"Fake and real of split {split} are told apart without their pixels, by "
            f"{by_text(score)}",
            str(score), (), _WHY, equalize_command(found.names),
        )  # fmt: skip
    if len(scores.classes) > 2:
        yield from _of_pairs(found)
    yield from scores.drifting(CHECK.name, equalize_command(found.names))
    if found.hidden is not None and severity_of(found.hidden):
        yield Finding(
            CHECK.name, "low",
            f"Fake and real are of other sources: told apart by {by_text(found.hidden)}",
            str(found.hidden), (), _HIDDEN, "",
        )  # fmt: skip


def _of_pairs(found: ShortcutsMeasured) -> Iterator[Finding]:
    bad = []
    for (a, b), score in found.scores.pairs.items():
        severity = severity_of(score)
        if severity is not None:
            crosses = found.polarity[a] != found.polarity[b]
            bad.append((severity if crosses else softer(severity), f"{a} / {b}", score))
    if not bad:
        return
    order = ("high", "medium", "low")
    bad.sort(key=lambda row: (order.index(row[0]), -row[2].low))
    worst = bad[0]
    yield Finding(
        CHECK.name, worst[0],
        f"{len(bad)} of {counted(len(found.scores.pairs), 'pair')} of classes are told apart "
        f"without pixels, {worst[1]} by {by_text(worst[2])}",
        str(worst[2]),
        tuple(Evidence(f"{name}: {score}, by {by_text(score)}") for _, name, score in bad),
        _WHY, equalize_command(found.names),
    )  # fmt: skip


def _typical(found: Collected, data: Audited) -> Table:
    """Return the most common value of the facts that vary, by class and split."""
    places = [place for place in range(len(FACTS)) if len(np.unique(found.stored[:, place])) > 1]
    places = places[:_N_COLUMNS]
    splits = data.index.split[found.at]
    rows = []
    for cls in found.classes.tolist():
        for split, name in enumerate(SPLITS):
            chosen = (found.cls == cls) & (splits == split)
            if chosen.any():
                cells = (_common(FACTS[place], found.stored[chosen, place]) for place in places)
                rows.append((f"{data.index.class_names[cls]}, {name}", *cells))
    return Table(("class", *(FACTS[place].title for place in places)), tuple(rows))


def _common(fact: Fact, values: Floats64) -> str:
    if fact.is_content or len(np.unique(values)) > 20:
        return f"{np.nanmedian(values):.3g} (median)" if np.isfinite(values).any() else "-"
    distinct, counts = np.unique(values, return_counts=True)
    n: Ints = counts
    best = int(np.argmax(n))
    value = distinct[best]
    share = 100 * n[best] / n.sum()
    text = fact.names[int(value)] if fact.names and np.isfinite(value) else f"{value:g}"
    text = "none" if np.isnan(value) else text
    return f"{text} ({share:.0f} %)"


_HIDDEN = (
    "No detector sees these numbers, but they correlate with scenes, cameras and positions; take "
    "fake and real from the same frames and videos."
)
_WHY = (
    "A detector can score well by these facts and know nothing of forgeries; on images with "
    "another history it fails."
)
CHECK = AuditCheck("shortcuts", "Shortcuts without pixels", "shortcuts", measure, judge)
