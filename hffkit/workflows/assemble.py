"""From units to one corpus: spread the work, then let a single writer put it together in order."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hffkit.errors import StorageError
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import FAILURES_FILE, Recipe
from hffkit.storage.partial import Partial, write_durably
from hffkit.storage.parts import Event, Record, read_part
from hffkit.storage.writer import CorpusWriter
from hffkit.workflows.engine import Job, Work, longest_first, run
from hffkit.workflows.progress import Progress

_FIRST = "inputs"  # the unit of what was known to fail before the work began
T = TypeVar("T")

Surplus = Callable[[Iterable[Sample]], set[str]]
"""Decides over all finished samples which keys to leave out."""


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """The work behind a corpus: its units in the order of their records."""

    units: Sequence[T]
    name: Callable[[T], str]  # unique, the same in every run as long as the unit's inputs are
    weight: Callable[[T], int]  # the heaviest are begun first
    size: Callable[[T], int]  # on the progress bar
    work: Work[T]
    label: str  # of the progress bar
    counted: str  # what the progress bar counts
    failures: Sequence[Failure] = ()
    surplus: Surplus | None = None
    seed: Callable[[Sequence[Job[T]]], None] | None = None  # writes parts that are known already


def assemble(out: Path, recipe: Recipe, plan: Plan[T], *, n_workers: int) -> dict[str, Any]:
    """Do a plan's work, write the corpus `out` and return its corpus.json.

    Everything happens in `out`.partial. Run again after any interruption it goes on where it was.
    """
    with Partial(out, recipe.to_json(), replaces=plan.seed is not None) as partial:
        jobs = [Job(unit, partial.part(plan.name(unit)), plan.size(unit)) for unit in plan.units]
        if plan.seed is not None:
            plan.seed(jobs)
        with CorpusWriter(partial.corpus) as writer:
            names = [_FIRST, *(job.part.stem for job in jobs)]
            if writer.units != names[: len(writer.units)]:
                raise StorageError(
                    f"{partial.path}: the inputs changed while they were put together. Delete it "
                    "and run the command again."
                )
            written = set(writer.units)
            _work(plan, [job for job in jobs if job.part.stem not in written], n_workers)
            left_out = _left_out(partial, plan.surplus, jobs)
            _write(writer, plan, jobs, left_out)
            about = writer.finish(recipe, {"n_left_out": len(left_out)} if left_out else None)
            if not about["n_samples"] and recipe.shard is None:
                raise StorageError(
                    f"{out}: not one sample came of it ({about['failures']}); "
                    f"{partial.corpus / FAILURES_FILE} says why for each input."
                )
        partial.publish()
    return about


def _work(plan: Plan[T], jobs: Sequence[Job[T]], n_workers: int) -> None:
    weights = {job.part: plan.weight(job.unit) for job in jobs}
    n_done = sum(job.size for job in jobs if job.part.exists())
    total = sum(job.size for job in jobs)
    with Progress(total, unit=plan.counted, label=plan.label) as progress:
        progress.step(n_done)
        for done in run(longest_first(jobs, weights), plan.work, n_workers=n_workers):
            progress.step(done.size, done.failures)


def _left_out(partial: Partial, surplus: Surplus | None, jobs: Sequence[Job[T]]) -> set[str]:
    """Return the keys to leave out; kept on disk, for the parts are deleted as they are written."""
    if surplus is None:
        return set()
    path = partial.path / "left_out.json"
    units = [job.part.stem for job in jobs]
    if path.exists():
        known = json.loads(path.read_text("utf-8"))
        if known["units"] == units:
            return set(known["keys"])
    keys = surplus(_samples(job.part for job in jobs))
    write_durably(path, json.dumps({"units": units, "keys": sorted(keys)}))
    return keys


def _samples(parts: Iterable[Path]) -> Iterator[Sample]:
    for part in parts:
        for event in read_part(part, with_values=False):
            if isinstance(event, Record):
                yield event.sample


def _write(writer: CorpusWriter, plan: Plan[T], jobs: Sequence[Job[T]], left_out: set[str]) -> None:
    def keep(sample: Sample) -> bool:
        return sample.key not in left_out

    written = set(writer.units)
    if _FIRST not in written:
        first: Sequence[Event] = list(plan.failures)
        writer.append(_FIRST, first)
    with Progress(len(jobs), unit="parts", label="write") as progress:
        for job in jobs:
            if job.part.stem not in written:
                writer.append(job.part.stem, read_part(job.part), keep)
            job.part.unlink(missing_ok=True)
            progress.step(1)
