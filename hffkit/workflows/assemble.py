"""From units to one corpus: spread the work, then let a single writer put it together in order."""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hffkit.errors import StorageError
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import FAILURES_FILE, Recipe
from hffkit.storage.partial import Partial, write_durably
from hffkit.storage.parts import Record, read_part
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
    streams: bool = False  # parts are written at once, and short-lived: no input can change
    seed: Callable[[Sequence[Job[T]]], None] | None = None  # writes parts that are known already


def share(n: int, shard: tuple[int, int] | None) -> slice:
    """Return which of `n` a shard (I, N) takes: the I-th of N consecutive shares, or all."""
    number, total = shard or (0, 1)
    return slice(number * n // total, (number + 1) * n // total)


def assemble(
    out: Path, recipe: Recipe, plan: Plan[T], *, n_workers: int, scheduler: str | None = None
) -> dict[str, Any]:
    """Do a plan's work, write the corpus `out` and return its corpus.json.

    Everything happens in `out`.partial. Run again after any interruption it goes on where it was.
    """
    with Partial(out, recipe.to_json(), replaces=plan.seed is not None) as partial:
        jobs = [
            Job(unit, partial.part(plan.name(unit)), plan.size(unit), not plan.streams)
            for unit in plan.units
        ]
        if plan.seed is not None:
            plan.seed(jobs)
        with CorpusWriter(partial.product) as writer:
            names = [_FIRST, *(job.part.stem for job in jobs)]
            if writer.units != names[: len(writer.units)]:
                raise StorageError(
                    f"{partial.path}: the inputs changed while they were put together. Delete it "
                    "and run the command again."
                )
            left_out = _work(partial, plan, writer, jobs, n_workers, scheduler)
            about = writer.finish(recipe, {"n_left_out": len(left_out)} if left_out else None)
            if not about["n_samples"] and recipe.shard is None:
                raise StorageError(
                    f"{out}: not one sample came of it ({about['failures']}); "
                    f"{partial.product / FAILURES_FILE} says why for each input. Mend that, delete "
                    f"{partial.path} and run the command again."
                )
        partial.publish()
    return about


def _work(
    partial: Partial,
    plan: Plan[T],
    writer: CorpusWriter,
    jobs: Sequence[Job[T]],
    n_workers: int,
    scheduler: str | None,
) -> set[str]:
    """Do what is to be done, write all of it, and return the keys that were left out.

    What is written cannot be taken back, so parts wait for the last one where an input may still
    be replaced, or where all of them decide what is left out.
    """
    merged = _Merge(writer, plan, jobs)
    weights = {job.part: plan.weight(job.unit) for job in jobs}
    with Progress(sum(job.size for job in jobs), unit=plan.counted, label=plan.label) as progress:
        progress.step(sum(job.size for job in jobs if merged.has(job) or job.part.exists()))
        rest = [job for job in jobs if not merged.has(job)]
        ordered = longest_first(rest, weights)
        for done in run(ordered, plan.work, n_workers=n_workers, scheduler=scheduler):
            progress.step(done.size, done.failures)
            if plan.streams:
                merged.write_finished()
    left_out = _left_out(partial, plan.surplus, jobs)
    with Progress(len(merged.queue), unit="parts", label="write") as progress:
        merged.write_finished(left_out, progress)
    if merged.queue:
        raise StorageError(f"{merged.queue[0]}: was removed meanwhile. Run the same command again.")
    return left_out


class _Merge:
    """Finished parts on their way into the corpus, in order; a part goes when it is durable."""

    def __init__(self, writer: CorpusWriter, plan: Plan[T], jobs: Sequence[Job[T]]) -> None:
        self._writer = writer
        self._durable = set(writer.units)
        self._parts = {job.part.stem: job.part for job in jobs}
        self.queue = deque(job.part for job in jobs if job.part.stem not in self._durable)
        for name, part in self._parts.items():
            if plan.streams or name in self._durable:  # not durable, or a crash came between
                part.unlink(missing_ok=True)
        if _FIRST not in self._durable:
            writer.append(_FIRST, plan.failures)

    def has(self, job: Job[T]) -> bool:
        return job.part.stem in self._durable

    def write_finished(
        self, left_out: Collection[str] = (), progress: Progress | None = None
    ) -> None:
        """Write the parts that are there, up to the first that is not."""
        while self.queue and self.queue[0].exists():
            part = self.queue.popleft()
            self._writer.append(part.stem, read_part(part), lambda s: s.key not in left_out)
            self._delete_durable()
            if progress is not None:
                progress.step(1)
        if not self.queue:
            self._writer.commit()
            self._delete_durable()

    def _delete_durable(self) -> None:
        for name in self._writer.units[len(self._durable) :]:
            if name in self._parts:
                self._parts[name].unlink(missing_ok=True)
            self._durable.add(name)


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
