"""Trainings that differ in their seed only: the mean of each metric, and its interval."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from hffkit.errors import MetricError
from hffkit.evaluation.bootstrap import ConfidenceInterval, bootstrap_intervals
from hffkit.evaluation.levels import Estimate, levels_of
from hffkit.evaluation.metrics import METRICS, LevelName, Metric, metrics_of
from hffkit.evaluation.sums import Sums
from hffkit.evaluation.tables import estimate_text, level_title
from hffkit.inference.detector import Detector
from hffkit.manifest.seeds import rng_for
from hffkit.reports.text_table import Table
from hffkit.runs.scores import Scored

# Entries of run.json that may vary; "recipe" has the values that the overrides led to.
_OTHER = ("seed", "threads", "device", "versions", "snapshots", "recipe_name", "overrides")


@dataclass(frozen=True, slots=True)
class SeedEstimate:
    """A metric of several trainings."""

    each: tuple[float | None, ...]  # of the trainings, in their order
    mean: Estimate  # with the interval over seeds and groups

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the trainings; None if one does not define the metric."""
        known = [value for value in self.each if value is not None]
        return stdev(known) if len(known) == len(self.each) else None


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """Several trainings of one recipe, measured on one corpus."""

    network: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str
    levels: Mapping[LevelName, Mapping[str, SeedEstimate]]

    @property
    def title(self) -> str:
        """The network, the number of trainings, and the corpus that measures them."""
        return f"{self.network}, {len(self.seeds)} seeds, on {self.data}"

    def tables(self) -> list[Table]:
        """Return a table for each level: mean and interval, standard deviation, each seed."""
        seeds = [f"seed {seed}" for seed in self.seeds]
        tables = []
        for level, estimates in self.levels.items():
            rows = []
            for name, found in estimates.items():
                texts = map(METRICS[name].text, (found.deviation, *found.each))
                rows.append((METRICS[name].title, estimate_text(name, found.mean), *texts))
            corner = f"{level_title(level)}: mean [95 % interval over seeds and groups]"
            tables.append(Table((corner, "Mean", "Deviation", *seeds), tuple(rows)))
        return tables

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return {
            "network": self.network,
            "runs": self.runs,
            "seeds": self.seeds,
            "data": self.data,
            "levels": {
                level: {
                    name: {"each": found.each, "deviation": found.deviation, **found.mean.to_json()}
                    for name, found in estimates.items()
                }
                for level, estimates in self.levels.items()
            },
        }


def alike(detectors: Sequence[Detector]) -> list[list[int]]:
    """Return the places of detectors that differ in their seed only, of two and more seeds.

    They have the same network, recipe, task, start and training data. A seed counts once: of two
    runs with the same one, the first is taken.
    """
    found: dict[str, dict[int, int]] = {}
    for place, detector in enumerate(detectors):
        made = detector.run.made
        seed = made.get("seed")
        if type(seed) is int:
            rest = {name: value for name, value in made.items() if name not in _OTHER}
            rest["data"] = [{**each, "path": None} for each in made.get("data", ())]
            key = json.dumps([detector.run.network, rest], sort_keys=True)
            found.setdefault(key, {}).setdefault(seed, place)
    return [list(seeds.values()) for seeds in found.values() if len(seeds) > 1]


def over_seeds(
    detectors: Sequence[Detector], scored: Sequence[Scored], data: str, seed: int, n_resamples: int
) -> SeedSummary:
    """Summarise trainings that are `alike`, scored on the same samples of the corpus `data`."""
    each = [levels_of(one) for one in scored]
    levels: dict[LevelName, Mapping[str, SeedEstimate]] = {}
    for level in each[0]:
        samples = [one[level] for one in each]
        rows = metrics_of(level)
        rng = rng_for(seed, "bootstrap over seeds", level)
        intervals = bootstrap_intervals(samples, rows, rng=rng, n_resamples=n_resamples)
        sums = [one.sums() for one in samples]
        levels[level] = {
            name: _estimate(row, sums, intervals.get(name)) for name, row in rows.items()
        }
    runs = tuple(str(one.path) for one in detectors)
    seeds = tuple(one.run.made["seed"] for one in detectors)
    return SeedSummary(detectors[0].run.network, runs, seeds, data, levels)


def _estimate(
    metric: Metric, sums: Sequence[Sums], interval: ConfidenceInterval | None
) -> SeedEstimate:
    each: list[float | None] = []
    reason = None
    for one in sums:
        try:
            each.append(metric.compute(one))
        except MetricError as error:
            each.append(None)
            reason = str(error)
    known = [value for value in each if value is not None]
    mean = fmean(known) if reason is None else None
    return SeedEstimate(tuple(each), Estimate(mean, interval if reason is None else None, reason))
