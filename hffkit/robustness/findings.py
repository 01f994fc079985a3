"""Findings on runs: estimates by condition, over severities and over whole suites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.degrade.rework import Treatment
from hffkit.degrade.suites import Suite, SuiteEntry
from hffkit.evaluation.decision_check import DecisionCheck
from hffkit.evaluation.levels import Estimate
from hffkit.evaluation.metrics import LevelName
from hffkit.evaluation.overlap import Overlap
from hffkit.inference.detector import Detector
from hffkit.manifest.samples import Split
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.values import (
    COLUMNS,
    MEASURED,
    ConditionValues,
    Resampling,
    Threshold,
    area,
    differences_of,
    estimate_of,
    estimates_of,
    pooled_auc,
    share_right_under_all,
)
from hffkit.runs.scores import Scored
from hffkit.storage.corpora import identities
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items
from hffkit.wording import first_of

FORMAT = 1  # of the JSON values
AREA_METRICS = ("accuracy", "auc")
_N_SHOWN = 8  # conditions in a note


@dataclass(frozen=True, slots=True)
class ConditionFindings:
    """The metrics of one operation at one severity."""

    entry: SuiteEntry
    estimates: Mapping[str, Estimate]  # by names of MEASURED
    differences: Mapping[str, Estimate]  # less the clean images
    only_prediction: str | None  # the class, fake or real that all samples are taken for

    def to_json(self) -> dict[str, object]:
        """Return the metrics as JSON values."""
        return {
            "operation": self.entry.operation,
            "severity": self.entry.severity,
            "chain": self.entry.chain.name,
            "only_prediction": self.only_prediction,
            "metrics": _rows(self.estimates),
            "less_clean": _rows(self.differences),
        }


@dataclass(frozen=True, slots=True)
class SuiteFindings:
    """The metrics under one suite."""

    suite: Suite
    conditions: tuple[ConditionFindings, ...]  # in the order of the suite
    areas: Mapping[str, Mapping[str, Estimate]]  # by operation and metric
    robust_auc: Estimate  # of the samples under all conditions together
    robust_auc_difference: Estimate  # less the AUC of the clean images
    resampled_robust_auc: Floats64  # (R,)
    always_right: Estimate  # share of samples right under all conditions, clean among them

    @property
    def worst(self) -> ConditionFindings | None:
        """The condition of the lowest AUC; None if no AUC is defined."""
        known = [one for one in self.conditions if one.estimates["auc"].value is not None]
        return min(known, key=lambda one: one.estimates["auc"].value or 0.0, default=None)

    def to_json(self) -> dict[str, object]:
        """Return the metrics as JSON values."""
        worst = self.worst
        return {
            "suite": self.suite.name,
            "suite_sha256": self.suite.sha256,
            "robust_auc": self.robust_auc.to_json(),
            "robust_auc_less_clean": self.robust_auc_difference.to_json(),
            "resampled_robust_auc": self.resampled_robust_auc.tolist(),
            "always_right": self.always_right.to_json(),
            "worst": None if worst is None else worst.to_json(),
            "areas": {name: _rows(found) for name, found in self.areas.items()},
            "conditions": [each.to_json() for each in self.conditions],
        }


@dataclass(frozen=True, slots=True)
class LevelFindings:
    """The metrics of one run at one level."""

    n_real: int
    n_fake: int
    n_groups: int
    thresholds: tuple[Threshold, ...]
    clean: Mapping[str, Estimate]
    suites: tuple[SuiteFindings, ...]
    values: Mapping[str, ConditionValues]  # by the name of the chain

    def to_json(self) -> dict[str, object]:
        """Return the metrics as JSON values."""
        return {
            "n_samples": self.n_real + self.n_fake,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "n_groups": self.n_groups,
            "thresholds": [each.to_json() for each in self.thresholds],
            "only_prediction": self.values[CLEAN].only_prediction,
            "clean": _rows(self.clean),
            "suites": [each.to_json() for each in self.suites],
        }


@dataclass(frozen=True, slots=True)
class RunFindings:
    """One run, measured."""

    detector: Detector
    overlap: Overlap
    levels: Mapping[LevelName, LevelFindings]  # "frame", and "video_mean" where there are videos
    decisions: Mapping[str, DecisionCheck]  # by the name of the chain; empty without a decision

    @property
    def name(self) -> str:
        """The path of the run."""
        return str(self.detector.path)

    @property
    def collapse(self) -> str | None:
        """The conditions under which all predictions are one, by image; None without such."""
        values = self.levels["frame"].values
        found = {name or "clean": each.only_prediction for name, each in values.items()}
        some = [f"{name} ({only})" for name, only in found.items() if only is not None]
        if not some:
            return None
        return (
            f"all predictions are one under {len(some)} of {len(found)} conditions: "
            f"{first_of(some, _N_SHOWN)}. Accuracy there is that one's share of the samples."
        )

    def to_json(self) -> dict[str, object]:
        """Return the run and its metrics as JSON values."""
        return {
            "run": self.name,
            "network": self.detector.run.network,
            "weights_sha256": self.detector.weights_sha256,
            "overlap": self.overlap.to_json(),
            "levels": {name: level.to_json() for name, level in self.levels.items()},
            **({"decisions": _decisions(self.decisions)} if self.decisions else {}),
        }


@dataclass(frozen=True, slots=True)
class RobustnessResult:
    """All runs, measured on the same samples under the same conditions."""

    split: Split | None  # None: all samples
    data: tuple[str, ...]
    corpora: tuple[Corpus, ...]
    items: Items
    treatments: Mapping[str, Treatment]  # by the name of the chain
    suites: tuple[Suite, ...]
    seed: int
    n_resamples: int
    runs: tuple[RunFindings, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values; rates are in [0, 1], undefined ones null."""
        return {
            "format": FORMAT,
            "split": self.split or "all",
            "data": list(self.data),
            **identities(self.corpora),
            "bootstrap": {"unit": "group", "seed": self.seed, "n_resamples": self.n_resamples},
            "notes": list(self.notes),
            "runs": [run.to_json() for run in self.runs],
        }


def _decisions(found: Mapping[str, DecisionCheck]) -> dict[str, object]:
    """Return the checks by the name of the chain, that of the clean images as "clean"."""
    return {name or "clean": each.to_json() for name, each in found.items()}


def _rows(estimates: Mapping[str, Estimate]) -> dict[str, object]:
    return {name: found.to_json() for name, found in estimates.items()}


def findings_of(
    scored: Scored,
    values: Mapping[str, ConditionValues],
    suites: Sequence[Suite],
    resampling: Resampling,
    thresholds: Sequence[Threshold],
) -> LevelFindings:
    """Sum up the values of all conditions at one level; `scored` are the clean samples."""
    return LevelFindings(
        int(np.sum(~scored.is_fake)),
        int(np.sum(scored.is_fake)),
        len(set(scored.groups)),
        tuple(thresholds),
        estimates_of(values[CLEAN]),
        tuple(_suite_findings(scored, values, suite, resampling) for suite in suites),
        values,
    )


def _suite_findings(
    scored: Scored, values: Mapping[str, ConditionValues], suite: Suite, resampling: Resampling
) -> SuiteFindings:
    clean = values[CLEAN]
    found = [values[entry.chain.name] for entry in suite.entries]
    conditions = tuple(
        ConditionFindings(
            entry, estimates_of(each), differences_of(each, clean), each.only_prediction
        )
        for entry, each in zip(suite.entries, found, strict=True)
    )
    robust = pooled_auc(scored, found, resampling)
    right = share_right_under_all(scored, [clean, *found], resampling)
    return SuiteFindings(
        suite,
        conditions,
        {name: _areas(values, suite, name) for name in suite.operations},
        estimate_of(robust, "percentile"),
        estimate_of(robust - clean.values[:, COLUMNS["auc"]], "percentile"),
        robust[1:],
        estimate_of(right, "percentile"),
    )


def _areas(
    values: Mapping[str, ConditionValues], suite: Suite, operation: str
) -> dict[str, Estimate]:
    """Return the areas under the severity curves of an operation, by metric."""
    some = [values[e.chain.name].values for e in suite.entries if e.operation == operation]
    whole = area(values[CLEAN].values, some)
    return {
        name: estimate_of(whole[:, COLUMNS[name]], MEASURED[name].interval) for name in AREA_METRICS
    }
