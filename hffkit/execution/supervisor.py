"""Spreading units over processes, and outliving the processes that die.

A unit is finished when its part has its final name. Whatever happens, a rerun does only what has
no part yet. When a worker dies all of them are restarted; units that were under way then are
suspects and run alone, and one that twice takes its worker down while alone is given up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from joblib.externals.loky import as_completed

from hffkit.errors import HffkitError
from hffkit.execution.pool import BrokenProcessPool, processes
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter

_TRIES_ALONE = 2
_BARREN = 3  # deaths in a row, of pools none of whose workers had begun a unit
_AHEAD = 4  # units queued for each worker: enough to keep it busy, few enough to stop soon
UNCLAIMED = ".unclaimed"  # suffix of parts that a worker elsewhere has finished
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Work(Protocol[T_contra]):
    """What is done with a unit: a picklable object, so that workers can have it."""

    def __call__(self, unit: T_contra, part: PartWriter) -> None:
        """Write the unit's events to `part`."""

    def paths(self, unit: T_contra) -> Sequence[str]:
        """Return the inputs of a unit, to name them if it is given up."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """A unit, where its part goes, and how much it is on the progress bar."""

    unit: T
    part: Path
    size: int
    is_durable: bool = True  # the part, against a loss of power

    @property
    def started(self) -> Path:
        """The mark of a worker that has begun: what was under way when a worker died."""
        return self.part.with_suffix(".started")


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: its part, its size on the progress bar, its unreadable inputs."""

    part: Path
    size: int
    failures: int


def run(
    jobs: Sequence[Job[T]], work: Work[T], *, n_workers: int, scheduler: str | None = None
) -> Iterator[Done]:
    """Do the jobs that have no part yet, in the given order, and yield as each finishes.

    Parameters
    ----------
    n_workers
        Processes on this machine.
    scheduler
        Of a Dask cluster, whose workers do the jobs instead.
    """
    pending = {job.part: job for job in jobs if not job.part.exists()}
    folders = {part.parent for part in pending}
    _clear(folders)
    if scheduler is None:
        yield from _run_here(pending, work, n_workers)
    elif pending:
        from hffkit.execution.dask import run_on_cluster  # only there Dask is needed

        yield from run_on_cluster(list(pending.values()), work, scheduler)
        _clear(folders)


def _run_here(pending: dict[Path, Job[T]], work: Work[T], n_workers: int) -> Iterator[Done]:
    folders = {part.parent for part in pending}
    n_barren = 0
    while pending:
        try:
            for done in _run_pool(list(pending.values()), work, n_workers):
                del pending[done.part]  # the part itself may be used up by now
                yield done
        except BrokenProcessPool:
            suspects = [job for job in pending.values() if job.started.exists()]
            n_barren = 0 if suspects else n_barren + 1
            if n_barren == _BARREN:
                raise HffkitError(
                    "Workers die before they begin: too little memory for so many, or a package "
                    "that cannot be imported. Try fewer workers."
                ) from None
            for job in suspects:
                del pending[job.part]
                if not job.part.exists():
                    yield _run_alone(job, work)
            _clear(folders)
            pending = {part: job for part, job in pending.items() if not part.exists()}


def _run_pool(jobs: Sequence[Job[T]], work: Work[T], n_workers: int) -> Iterator[Done]:
    waiting = iter(jobs)
    n_workers = min(n_workers, len(jobs))
    with processes(n_workers) as pool:
        running = {pool.submit(do, job, work): job for job in islice(waiting, n_workers * _AHEAD)}
        while running:
            future = next(iter(as_completed(list(running))))
            job = running.pop(future)
            yield Done(job.part, job.size, future.result())
            for job in waiting:
                running[pool.submit(do, job, work)] = job
                break


def _run_alone(job: Job[T], work: Work[T]) -> Done:
    for _ in range(_TRIES_ALONE):
        try:
            with processes(1) as pool:
                return Done(job.part, job.size, pool.submit(do, job, work).result())
        except BrokenProcessPool:
            continue
    return give_up(job, work)


def give_up(job: Job[T], work: Work[T]) -> Done:
    """Write the part of a unit that kills its workers: a failure for each of its inputs."""
    paths = work.paths(job.unit)
    with PartWriter(job.part) as part:
        for path in paths:
            part.add(Failure("unreadable", path, None, "its unit twice killed its worker"))
    return Done(job.part, job.size, len(paths))


def _clear(folders: Iterable[Path]) -> None:
    """Remove what killed workers left: marks of a beginning, and half-written parts."""
    for folder in folders:
        for pattern in ("*.started", "*.tmp", f"*{UNCLAIMED}"):
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)


def do(job: Job[T], work: Work[T]) -> int:
    """Write a job's part and return how many inputs were unreadable; runs in a worker."""
    job.started.touch()
    with PartWriter(job.part, is_durable=job.is_durable) as part:
        work(job.unit, part)
    job.started.unlink(missing_ok=True)
    return part.n_unreadable


def longest_first(jobs: Sequence[Job[T]], weights: Mapping[Path, int]) -> list[Job[T]]:
    """Return the heaviest jobs first, so that no worker is left with one at the end."""
    return sorted(jobs, key=lambda job: -weights[job.part])
