"""A decision on scored samples: what it calls them, and if its guarantees are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hffkit.evaluation.calibration import BalancedScores
from hffkit.evaluation.guarantees import count_mistakes, exact_interval, worst_of_groups
from hffkit.evaluation.metrics import METRICS, UNDEFINED
from hffkit.evaluation.videos import score_files
from hffkit.reports.text_table import Table
from hffkit.runs.decision import Decision, Guarantee, MistakeKind, per_cent
from hffkit.runs.scores import Scored, tempered

GuaranteeOutcome = Literal["kept", "unclear", "broken"]
_TITLES: Mapping[MistakeKind, str] = {
    "false_alarm": "Real groups with a false alarm",
    "miss": "Fake groups with a miss",
}


@dataclass(frozen=True, slots=True)
class GuaranteeCheck:
    """Mistakes counted on other groups than those of the guarantee."""

    guarantee: Guarantee
    n_groups: int
    n_mistakes: int

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the share of groups with a mistake."""
        return exact_interval(self.n_mistakes, self.n_groups)

    @property
    def outcome(self) -> GuaranteeOutcome:
        """Kept if the share is at most the rate, broken if its whole interval is above the rate."""
        if self.n_mistakes <= self.guarantee.rate * self.n_groups:
            return "kept"
        return "broken" if self.interval[0] > self.guarantee.rate else "unclear"

    @property
    def title(self) -> str:
        """The mistake that is counted, as the title of a row."""
        return _TITLES[self.guarantee.mistake]

    @property
    def promised(self) -> str:
        """The rate and its confidence."""
        share = self.guarantee.confidence
        how = "on average" if share is None else f"at {per_cent(share)}"
        return f"at most {per_cent(self.guarantee.rate)}, {how}"

    @property
    def observed(self) -> str:
        """The counts, and the share with its interval."""
        low, high = (per_cent(bound).removesuffix(" %") for bound in self.interval)
        share = per_cent(self.n_mistakes / self.n_groups)
        return f"{self.n_mistakes} of {self.n_groups}: {share} [{low}, {high}]"

    def to_json(self) -> dict[str, object]:
        """Return the counts, the share with its interval, and the outcome as JSON values."""
        low, high = self.interval
        return {
            "mistake": self.guarantee.mistake,
            "promised": self.guarantee.rate,
            "confidence": self.guarantee.confidence,
            "n_groups": self.n_groups,
            "n_mistakes": self.n_mistakes,
            "rate": self.n_mistakes / self.n_groups,
            "low": low,
            "high": high,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True)
class ConditionCheck:
    """The guarantees of a decision under one operation at one severity."""

    title: str  # "jpeg 3 (jp:60)"
    guarantees: tuple[GuaranteeCheck, ...]

    def to_json(self) -> dict[str, object]:
        """Return the counts and the outcomes as JSON values."""
        rows = [each.to_json() for each in self.guarantees]
        return {"condition": self.title, "guarantees": rows}


@dataclass(frozen=True, slots=True)
class SuiteCheck:
    """The guarantees of a decision under each condition of a suite."""

    suite: str
    sha256: str  # of the suite
    seed: int  # of drawn values
    conditions: tuple[ConditionCheck, ...]

    def to_json(self) -> dict[str, object]:
        """Return the conditions as JSON values."""
        return {
            "suite": self.suite,
            "suite_sha256": self.sha256,
            "seed": self.seed,
            "conditions": [each.to_json() for each in self.conditions],
        }

    def by_mistake(self) -> dict[MistakeKind, list[tuple[str, GuaranteeCheck]]]:
        """Return for each guarantee the conditions and checks, the largest share first."""
        found: dict[MistakeKind, list[tuple[str, GuaranteeCheck]]] = {}
        for each in self.conditions:
            for check in each.guarantees:
                found.setdefault(check.guarantee.mistake, []).append((each.title, check))
        for rows in found.values():
            rows.sort(key=lambda row: -row[1].n_mistakes / row[1].n_groups)
        return found


@dataclass(frozen=True, slots=True)
class DecisionCheck:
    """The verdicts of a decision on files, and if it keeps its guarantees on their groups."""

    decision: Decision
    guarantees: tuple[GuaranteeCheck, ...]  # without those that no group is for
    verdicts: Mapping[str, Mapping[str, int]]  # files that are real and fake: number by verdict
    # By metric, before and after the temperature; empty without one, or without real or fake files.
    calibration: Mapping[str, tuple[float, float]]
    under_suites: tuple[SuiteCheck, ...] | None = None  # what `robustness` kept; None: not asked

    def to_json(self) -> dict[str, object]:
        """Return the decision's thresholds and the counts as JSON values."""
        return {
            "threshold": self.decision.threshold,
            "real_below": self.decision.real_below,
            "temperature": self.decision.temperature,
            "data": list(self.decision.data),
            "split": self.decision.split,
            "guarantees": [each.to_json() for each in self.guarantees],
            "verdicts": {kind: dict(counts) for kind, counts in self.verdicts.items()},
            "calibration": {
                name: {"before": before, "after": after}
                for name, (before, after) in self.calibration.items()
            },
            **(
                {}
                if self.under_suites is None
                else {"under_suites": [each.to_json() for each in self.under_suites]}
            ),
        }

    @property
    def tables(self) -> tuple[Table, ...]:
        """The table of these samples and, if there is something, that of suites."""
        here = self.to_table()
        return (here, suites_table(self.under_suites)) if self.under_suites else (here,)

    @property
    def suites_note(self) -> str | None:
        """A sentence on the counts under suites, if none are kept; else None."""
        if self.under_suites is None or self.under_suites:
            return None
        return (
            "There are no counts under suites of operations for this decision and these samples; "
            "`hffkit robustness` makes them."
        )

    def to_table(self) -> Table:
        """Return the guarantees, the verdicts and the calibration as a table."""
        rows: list[tuple[str, ...]] = [
            (each.title, each.promised, each.observed, each.outcome) for each in self.guarantees
        ]
        for kind, counts in self.verdicts.items():
            rows += [
                (
                    f"{kind.capitalize()} files called {name}",
                    UNDEFINED,
                    _share(n, counts),
                    UNDEFINED,
                )
                for name, n in counts.items()
            ]
        for name, (before, after) in self.calibration.items():
            text = METRICS[name].text
            change = f"{text(before)}, calibrated {text(after)}"
            rows.append((f"{METRICS[name].title}, files", UNDEFINED, change, UNDEFINED))
        return Table(
            ("Decision", "Promised", "Here [95 % interval]", "Outcome"), tuple(rows), (0, 3)
        )


def suites_table(checks: Sequence[SuiteCheck]) -> Table:
    """Return a table with a row for each suite and guarantee: outcomes, and the worst condition."""
    outcomes = get_args(GuaranteeOutcome)
    rows = []
    for suite in checks:
        for found in suite.by_mistake().values():
            counts = [sum(check.outcome == name for _, check in found) for name in outcomes]
            worst, check = found[0]
            cells = (check.title, check.promised, *map(str, counts), worst, check.observed)
            rows.append((suite.suite, *cells))
    header = (
        "Decision under suite", "Mistake", "Promised", *outcomes,
        "Worst condition", "There [95 % interval]",
    )  # fmt: skip
    return Table(header, tuple(rows), left=(0, 1, 2, 6))


def check_decision(decision: Decision, scored: Scored) -> DecisionCheck:
    """Apply a decision to scored samples."""
    files = score_files(scored)
    checks = []
    for each in decision.guarantees:
        worst = worst_of_groups(files, each.mistake)
        n = count_mistakes(each.mistake, worst, decision.threshold, decision.real_below)
        if len(worst):
            checks.append(GuaranteeCheck(each, len(worst), n))
    called = np.array(decision.verdicts(files.scores))
    kinds = {"real": ~files.is_fake, "fake": files.is_fake}
    has_band = decision.real_below < decision.threshold
    names = ("fake", "real", "undecided") if has_band else ("fake", "real")
    verdicts = {
        kind: {name: int((called[places] == name).sum()) for name in names}
        for kind, places in kinds.items()
        if places.any()
    }
    calibration = {}
    if decision.temperature is not None and len(verdicts) == 2:
        both = [
            BalancedScores(files.is_fake, scores)
            for scores in (files.scores, tempered(files.scores, decision.temperature))
        ]
        calibration = {
            "balanced_calibration_error": (both[0].error(), both[1].error()),
            "cllr": (both[0].cllr(), both[1].cllr()),
        }
    return DecisionCheck(decision, tuple(checks), verdicts, calibration)


def _share(n: int, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{n} of {total}: {per_cent(n / total)}"
