"""Leakage scores of fake against real and of every pair of classes, and their judgement."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hffkit.arrays import Bools, Floats64
from hffkit.audit.audited import Audited
from hffkit.audit.collected import Collected
from hffkit.audit.exhibits import Distribution
from hffkit.audit.findings import Evidence, Finding, Severity, is_at_least
from hffkit.audit.leakage import Leakage, leakage
from hffkit.audit.stored_facts import Fact
from hffkit.errors import MetricError
from hffkit.manifest.samples import SPLITS
from hffkit.reports.text_table import Table

# Lower bounds of the interval. The size of a JPEG file alone reaches 0.63 between photographs and
# images of a network with one history, so what is below 0.65 is no evidence of another history.
_BOUNDS: tuple[tuple[Severity, float], ...] = (("high", 0.8), ("medium", 0.7), ("low", 0.65))
_N_NAMED = 3  # carriers in a sentence
_N_DISTRIBUTIONS = 8
_N_ROWS = 8
_N_DRIFTS = 3  # in the table
_LEAST_OF_SPLIT = 50  # samples of either side: on fewer, chance reaches high scores


@dataclass(frozen=True, slots=True)
class PairLeakages:
    """Leakage scores by some facts."""

    classes: tuple[str, ...]
    overall: Leakage | None  # fake against real; None: not defined
    splits: dict[str, Leakage]  # fake against real within each split of enough samples
    drifts: dict[str, Leakage]  # one split of a class against its others
    pairs: dict[tuple[str, str], Leakage]  # fake against real first, as far as they are defined
    left_out: tuple[str, ...]  # what is not defined, and why

    @property
    def all_scores(self) -> list[tuple[str, Leakage]]:
        """Titles and scores: fake against real, then the pairs from the worst."""
        rows = [(f"{a} / {b}", found) for (a, b), found in self.pairs.items()]
        rows.sort(key=lambda row: -row[1].low)
        if self.overall is None:
            return rows
        return [("fake / real", self.overall), *(rows if len(self.classes) > 2 else ())]

    def to_json(self) -> dict[str, object]:
        """Return the scores as JSON values."""
        return {
            "overall": None if self.overall is None else self.overall.to_json(),
            "splits": {name: found.to_json() for name, found in self.splits.items()},
            "drifts": {name: found.to_json() for name, found in self.drifts.items()},
            "pairs": [
                {"classes": list(pair), **found.to_json()} for pair, found in self.pairs.items()
            ],
            "left_out": list(self.left_out),
        }

    def table(self) -> Table:
        """Return rows for fake against real, for splits, the worst pairs and the worst drifts."""
        of_splits = [(f"fake / real, {name}", found) for name, found in self.splits.items()]
        scores = self.all_scores[:_N_ROWS]
        drifts = sorted(self.drifts.items(), key=lambda row: -row[1].low)[:_N_DRIFTS]
        rows = tuple(
            (
                title,
                f"{found.auc:.3f}",
                f"{found.low:.3f} to {found.high:.3f}",
                f"{found.n_negative}/{found.n_positive}",
                carriers_text(found),
            )
            for title, found in (*scores[:1], *of_splits, *scores[1:], *drifts)
        )
        return Table(("classes", "AUC", "95 % interval", "samples", "carried by"), rows, (0, 4))

    def heat(self) -> Floats64:
        """Return the AUC of each pair of classes in per cent, symmetric; NaN where undefined."""
        n = len(self.classes)
        percent = np.full((n, n), np.nan)
        for (a, b), found in self.pairs.items():
            row, column = self.classes.index(a), self.classes.index(b)
            percent[row, column] = percent[column, row] = 100 * found.auc
        return percent

    def drifting(self, check: str, mend: str) -> Iterator[Finding]:
        """Yield a finding on classes whose samples of one split are of another history."""
        found = [(severity_of(score), name, score) for name, score in self.drifts.items()]
        bad = [(softer(severity), name, score) for severity, name, score in found if severity]
        if not bad:
            return
        bad.sort(key=lambda row: -row[2].low)
        severity, name, worst = bad[0]
        yield Finding(
            check, severity,
            f"A class has another history in one split: {name}, by {by_text(worst)}", str(worst),
            tuple(Evidence(f"{name}: {score}, by {by_text(score)}") for _, name, score in bad),
            _DRIFT, mend,
        )  # fmt: skip

    def worse_split(self, limit: Severity | None) -> tuple[str, Leakage, Severity] | None:
        """Return the worst split if it is worse than `limit`, the severity of all together."""
        for name, found in sorted(self.splits.items(), key=lambda row: -row[1].low)[:1]:
            severity = severity_of(found)
            if severity is not None and (limit is None or not is_at_least(limit, severity)):
                return name, found, severity
        return None


def pair_leakages(
    data: Audited,
    facts: Sequence[Fact],
    values: Floats64,
    found: Collected,
    name: str,
    *,
    by_split: bool = False,
) -> PairLeakages:
    """Compute all leakage scores by facts (M, F), `by_split` also within each split.

    Raises
    ------
    MetricError
        If not a single score is defined.
    """
    names = data.index.class_names
    classes = tuple(names[place] for place in found.classes)
    if len(classes) < 2:
        raise MetricError("No leakage score is defined: all samples are of a single class.")
    scores: dict[tuple[str, str], Leakage] = {}
    overall: Leakage | None = None
    left_out: list[str] = []
    for pair, positive, chosen in _comparisons(found, names):
        title = "fake / real" if pair is None else " / ".join(pair)
        rng = data.rng(name, title)
        try:
            score = leakage(values[chosen], positive[chosen], found.groups[chosen], facts, rng)
        except MetricError as error:
            left_out.append(f"{title}: {error}")
            continue
        if pair is None:
            overall = score
        else:
            scores[pair] = score
    if overall is None and not scores:
        raise MetricError(f"No leakage score is defined: {'; '.join(left_out)}.")
    if overall is not None and len(classes) == 2:
        scores = {(classes[0], classes[1]): overall}
    splits, drifts = _of_splits(data, facts, values, found, name) if by_split else ({}, {})
    return PairLeakages(classes, overall, splits, drifts, scores, tuple(left_out))


def _of_splits(
    data: Audited, facts: Sequence[Fact], values: Floats64, found: Collected, name: str
) -> tuple[dict[str, Leakage], dict[str, Leakage]]:
    """Compute the scores of fake against real within splits, and of splits within classes."""
    splits = data.index.split[found.at]
    numbers = np.unique(splits).tolist()
    scores: tuple[dict[str, Leakage], dict[str, Leakage]] = {}, {}
    if len(numbers) < 2:
        return scores
    rows = [(0, SPLITS[split], found.is_fake, splits == split) for split in numbers]
    for cls in found.classes.tolist():
        of_class = found.cls == cls
        own = np.unique(splits[of_class]).tolist()
        for split in own if len(own) > 2 else own[1:]:  # of two splits, one comparison says all
            title = f"{data.index.class_names[cls]}, {SPLITS[split]} / other splits"
            rows.append((1, title, splits == split, of_class))
    for place, title, positive, chosen in rows:
        n_positive = int((positive & chosen).sum())
        if min(n_positive, int(chosen.sum()) - n_positive) < _LEAST_OF_SPLIT:
            continue
        with suppress(MetricError):
            scores[place][title] = leakage(
                values[chosen], positive[chosen], found.groups[chosen], facts,
                data.rng(name, "split", title),
            )  # fmt: skip
    return scores


def _comparisons(
    found: Collected, names: Sequence[str]
) -> Iterator[tuple[tuple[str, str] | None, Bools, Bools]]:
    """Yield comparisons: two classes (None: fake and real), masks (M,) of positives and of all."""
    has_both = found.is_fake.any() and not found.is_fake.all()
    if has_both:
        yield None, found.is_fake, np.ones(len(found.cls), bool)
    for a, b in combinations(found.classes.tolist(), 2):
        if not has_both or len(found.classes) > 2:  # of two classes it is fake and real again
            yield (names[a], names[b]), found.cls == b, (found.cls == a) | (found.cls == b)


def severity_of(found: Leakage) -> Severity | None:
    """Return how bad a leakage score is, by the lower bound of its interval; None: no evidence."""
    return next((severity for severity, bound in _BOUNDS if found.low >= bound), None)


def softer(severity: Severity) -> Severity:
    """Return the next milder severity: of two real or two fake classes."""
    return "medium" if severity == "high" else "low"


def carriers_text(found: Leakage) -> str:
    """Name the facts that carry a score."""
    named = [each.titles for each in found.carriers[:_N_NAMED]]
    return ", ".join(titles[0] if len(titles) < 3 else " = ".join(titles[:2]) for titles in named)


def by_text(found: Leakage) -> str:
    """Name the facts that carry a score, or say that no single one does."""
    return carriers_text(found) or "several facts together"


_DRIFT = (
    "A network is then trained and tested on files of different histories, and a score says "
    "nothing of either."
)


def distributions(
    facts: Sequence[Fact], values: Floats64, found: Collected, names: Sequence[str], used: set[str]
) -> tuple[Distribution, ...]:
    """Return the distributions of the facts that differ between samples, those `used` first.

    A fact that some samples lack and the others have alike is shown only if it is used.
    """
    order = sorted(range(len(facts)), key=lambda place: facts[place].name not in used)
    shown = []
    for place in order:
        column = values[:, place]
        is_used, known = facts[place].name in used, column[np.isfinite(column)]
        if len(np.unique(column if is_used else known)) < 2:
            continue
        rows = []
        for cls in found.classes.tolist():
            chosen = found.cls == cls
            is_fake = bool(found.is_fake[chosen][0])
            rows.append((names[cls], is_fake, column[chosen]))
        shown.append(Distribution(facts[place].title, tuple(rows), facts[place].names))
    return tuple(shown[:_N_DISTRIBUTIONS])
