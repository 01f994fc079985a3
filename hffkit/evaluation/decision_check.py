"""A decision on scored samples: what it calls them, and if its guarantees are kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

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
class DecisionCheck:
    """What a decision makes of files, and if it keeps its guarantees on their groups."""

    decision: Decision
    guarantees: tuple[GuaranteeCheck, ...]  # without those that no group is for
    verdicts: Mapping[str, Mapping[str, int]]  # files that are real and fake: number by verdict
    # By metric, before and after the temperature; empty without one, or without real or fake files.
    calibration: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, object]:
        """Return the decision's thresholds and the counts as JSON values."""
        found = asdict(self)
        return {
            "threshold": self.decision.threshold,
            "real_below": self.decision.real_below,
            "temperature": self.decision.temperature,
            "data": list(self.decision.data),
            "split": self.decision.split,
            "guarantees": [each.to_json() for each in self.guarantees],
            "verdicts": found["verdicts"],
            "calibration": {
                name: {"before": before, "after": after}
                for name, (before, after) in self.calibration.items()
            },
        }

    def to_table(self) -> Table:
        """Return the guarantees, the verdicts and the calibration as a table."""
        rows: list[tuple[str, ...]] = [
            (
                _TITLES[each.guarantee.mistake],
                _promise(each.guarantee),
                _observed(each),
                each.outcome,
            )
            for each in self.guarantees
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


def _promise(guarantee: Guarantee) -> str:
    how = "on average" if guarantee.confidence is None else f"at {per_cent(guarantee.confidence)}"
    return f"at most {per_cent(guarantee.rate)}, {how}"


def _observed(check: GuaranteeCheck) -> str:
    low, high = (per_cent(bound).removesuffix(" %") for bound in check.interval)
    share = per_cent(check.n_mistakes / check.n_groups)
    return f"{check.n_mistakes} of {check.n_groups}: {share} [{low}, {high}]"


def _share(n: int, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{n} of {total}: {per_cent(n / total)}"
