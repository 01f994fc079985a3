"""Metrics of one condition: their values, and those of the same resamples for every condition."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hffkit.arrays import Bools, Floats64
from hffkit.errors import MetricError
from hffkit.evaluation.bootstrap import interval_of, resamples
from hffkit.evaluation.levels import Estimate, only_prediction
from hffkit.evaluation.metrics import METRICS, IntervalKind, LevelName, Metric
from hffkit.evaluation.roc import Ranking
from hffkit.evaluation.sums import GroupedSamples, Sums, grouped
from hffkit.manifest.seeds import rng_for
from hffkit.runs.scores import Scored

FPR_LIMITS = (0.01, 0.05)  # of the thresholds that clean validation samples choose


def _share_called_fake(row: int) -> Metric:
    def compute(sums: Sums) -> float:
        total = sums.calls[row].sum()
        if not total:
            raise MetricError(f"There is no {('fake', 'real')[row]} sample.")
        return float(sums.calls[row, 0] / total)

    return Metric(("TPR", "FPR")[row], "percent", compute)


def _at(limit: float) -> dict[str, Metric]:
    """Return the rows of METRICS_MEASURED at one threshold."""
    found = {"tpr": _share_called_fake(0), "fpr": _share_called_fake(1)}
    where = f"at the threshold of FPR {100 * limit:g} % on clean val"
    return {
        f"{name}_at_clean_fpr_{limit:g}": replace(metric, title=f"{metric.title} {where}")
        for name, metric in found.items()
    }


_OF_SCORES = {
    name: METRICS[name]
    for name in (
        "accuracy", "binary_accuracy", "auc", "eer", "calibration_error",
        "balanced_calibration_error", "cllr",
    )
}  # fmt: skip
MEASURED: Mapping[str, Metric] = {
    **_OF_SCORES,
    **{name: metric for limit in FPR_LIMITS for name, metric in _at(limit).items()},
}
"""The metrics of every condition, in the order of columns of values."""
_NO_THRESHOLD = "No clean validation samples, so no threshold was chosen."
COLUMNS = {name: column for column, name in enumerate(MEASURED)}


@dataclass(frozen=True, slots=True)
class Threshold:
    """The lowest threshold with at most a share of false alarms among clean validation samples."""

    limit: float  # the share
    value: float  # a sample is called fake from this ranking on
    n_real: int  # validation samples that it was chosen on

    def to_json(self) -> dict[str, object]:
        """Return the threshold as JSON values."""
        return {"fpr": self.limit, "threshold": self.value, "n_real": self.n_real}


def threshold_at(scored: Scored, limit: float) -> Threshold:
    """Choose the lowest threshold with at most the share `limit` of false alarms.

    It lies just above the real sample that must not be called fake, so ties stay below it.

    Raises
    ------
    MetricError
        If there is no real sample.
    """
    reals = np.sort(scored.ranking[~scored.is_fake])[::-1]
    if not len(reals):
        raise MetricError(f"No real sample, so no threshold of FPR {100 * limit:g} %.")
    n_allowed = math.floor(limit * len(reals) + 1e-9)
    return Threshold(limit, float(np.nextafter(reals[n_allowed], math.inf)), len(reals))


@dataclass(frozen=True, slots=True)
class Resampling:
    """Resamples of groups: those of `eval`, the same for all conditions of a level."""

    level: LevelName
    seed: int
    n: int

    def counts(self, n_groups: int) -> Iterator[Floats64]:
        """Yield how often each group occurs, (G,); nothing if there is one group only."""
        if n_groups > 1:
            yield from resamples(n_groups, self.n, rng_for(self.seed, "bootstrap", self.level))


@dataclass(frozen=True, slots=True)
class ConditionValues:
    """Metrics of one condition at one level, and decisions about its samples."""

    values: Floats64  # (1 + R, M) all samples, then each resample; NaN where not defined
    reasons: Mapping[str, str]  # by metric, why it is not defined for all samples
    ranking: Floats64  # (N,)
    scores: Floats64  # (N,)
    is_right: Bools  # (N,) fake called fake, or real called real, at 0.5
    only_prediction: str | None  # the class, fake or real that all samples are taken for


def condition_values(
    scored: Scored, thresholds: Sequence[Threshold], resampling: Resampling
) -> ConditionValues:
    """Compute all metrics of the scored samples of one condition."""
    families = _families(scored, thresholds)
    chosen = {each.limit for each in thresholds}
    reasons = {
        name: _NO_THRESHOLD for limit in FPR_LIMITS if limit not in chosen for name in _at(limit)
    }
    rows = [_row(families, None, reasons)]
    ignored: dict[str, str] = {}
    n_groups = families[0][0].n_groups
    rows += [_row(families, counts, ignored) for counts in resampling.counts(n_groups)]
    found, sums = scored.decisions, families[0][0].sums()
    return ConditionValues(
        np.array(rows),
        reasons,
        scored.ranking,
        scored.scores,
        found.called_fake == found.is_fake,
        only_prediction(sums.confusion, sums.calls, scored.classes.names),
    )


_Family = tuple[GroupedSamples, Mapping[str, Metric]]


def _families(scored: Scored, thresholds: Sequence[Threshold]) -> list[_Family]:
    """Return the samples with the decisions at 0.5 and at each threshold, with their metrics."""
    families: list[_Family] = [(grouped(scored), _OF_SCORES)]
    for each in thresholds:
        decisions = replace(scored.decisions, called_fake=scored.ranking >= each.value)
        samples = GroupedSamples(decisions, len(scored.classes.names))
        families.append((samples, _at(each.limit)))
    return families


def _row(families: Sequence[_Family], counts: Floats64 | None, reasons: dict[str, str]) -> Floats64:
    row = np.full(len(MEASURED), np.nan)
    for samples, metrics in families:
        sums = samples.sums(counts)
        for name, metric in metrics.items():
            try:
                row[COLUMNS[name]] = metric.compute(sums)
            except MetricError as error:
                reasons[name] = str(error)
    return row


def pooled_auc(
    scored: Scored, conditions: Sequence[ConditionValues], resampling: Resampling
) -> Floats64:
    """Compute the AUC of the samples of all conditions together: (1 + R,).

    One threshold must serve all conditions, so shifts of the scores between them cost AUC.
    """
    samples, n = grouped(scored), len(conditions)
    ranks = Ranking(
        np.tile(scored.is_fake, n), np.concatenate([each.ranking for each in conditions])
    )
    values = [ranks.curve().auc()]
    for counts in resampling.counts(samples.n_groups):
        try:
            values.append(ranks.curve(np.tile(samples.weights(counts), n)).auc())
        except MetricError:
            values.append(math.nan)
    return np.array(values)


def share_right_under_all(
    scored: Scored, conditions: Sequence[ConditionValues], resampling: Resampling
) -> Floats64:
    """Compute the share of samples rightly called fake or real under each condition: (1 + R,)."""
    samples = grouped(scored)
    is_right = np.logical_and.reduce([each.is_right for each in conditions])
    values = [float(is_right.mean())]
    for counts in resampling.counts(samples.n_groups):
        weights = samples.weights(counts)
        values.append(float(weights @ is_right / weights.sum()))
    return np.array(values)


def area(clean: Floats64, severities: Sequence[Floats64]) -> Floats64:
    """Compute the mean height of the curve from clean, severity 0, to the last: trapezoids.

    Values of any shape are integrated at each place.
    """
    curve = np.array([clean, *severities])
    return np.asarray((curve[1:] + curve[:-1]).mean(axis=0) / 2, np.float64)


def estimate_of(values: Floats64, kind: IntervalKind, reason: str | None = None) -> Estimate:
    """Return the estimate and its 95 % interval from values (1 + R,) of a metric.

    `reason` says why it is not defined, where the first value is NaN.
    """
    value, known = float(values[0]), values[1:][np.isfinite(values[1:])]
    if math.isnan(value):
        return Estimate(None, None, reason or "not defined under each condition")
    n_left_out = len(values) - 1 - len(known)
    return Estimate(
        value, interval_of(kind, value, known, n_left_out) if len(known) else None, None
    )


def estimates_of(found: ConditionValues) -> dict[str, Estimate]:
    """Return the estimate of each metric of a condition."""
    return {
        name: estimate_of(found.values[:, column], MEASURED[name].interval, found.reasons.get(name))
        for name, column in COLUMNS.items()
    }


def differences_of(found: ConditionValues, clean: ConditionValues) -> dict[str, Estimate]:
    """Return each metric less that of the clean images, of the same samples and resamples."""
    less = found.values - clean.values
    reasons = {**clean.reasons, **found.reasons}
    return {
        name: estimate_of(less[:, column], "percentile", reasons.get(name))
        for name, column in COLUMNS.items()
    }
