"""Requests of `hffkit robustness`, which are checked before the import of PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hffkit.degrade.own import read_own
from hffkit.degrade.suites import Suite
from hffkit.manifest.samples import Split
from hffkit.options import Bounds, Seed
from hffkit.robustness.conditions import suites_of, treatments_of
from hffkit.storage.labels import Task


@dataclass(frozen=True, slots=True)
class RobustnessRequest:
    """The runs, the samples, the operations and the options of a measurement."""

    runs: tuple[Path, ...]
    data: tuple[str, ...]  # corpora, treated as one
    suites: tuple[str, ...] = ()  # names or files; with no `ops` either, Table IX
    ops: tuple[str, ...] = ()  # codes, values, or chains joined by plus signs
    operations: Path | None = None  # a Python file with operations of the user's own
    split: Split | None = "test"  # None: all samples
    val: tuple[str, ...] = ()  # corpora whose split val chooses thresholds; none: `data`
    task: Task = "multi"
    allow_overlap: bool = False  # measure held-out samples that are training samples of a run
    seed: Seed = 0  # of drawn values, and of the bootstrap
    n_resamples: Annotated[int, Bounds(0, 1_000_000)] = 1000
    device: str = "auto"


def chosen_suites(request: RobustnessRequest) -> tuple[Suite, ...]:
    """Return the suites of a request; HffkitError if it is invalid whatever the data."""
    return suites_of(request.suites, request.ops, read_own(request.operations))


def n_conditions(request: RobustnessRequest) -> int:
    """Return how often each image is scored: under each different chain, and clean."""
    return len(treatments_of(chosen_suites(request), None, None, request.seed))
