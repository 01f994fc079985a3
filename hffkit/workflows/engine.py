"""Spreading units over processes, and outliving the processes that die.

A unit is finished when its part has its final name. Whatever happens, a rerun does only what has
no part yet. When a worker dies all of them are restarted; units that were under way then are
suspects and run alone, and one that twice takes its worker down while alone is given up.
"""

import ctypes
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from joblib.externals.loky import ProcessPoolExecutor, as_completed
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter

_TRIES_ALONE = 2
_BARREN = 3  # deaths in a row, of pools none of whose workers had begun a unit
_AHEAD = 4  # units queued for each worker: enough to keep it busy, few enough to stop soon
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 1 << 27
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
        from hffkit.workflows.cluster import run_on_cluster  # only there Dask is needed

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
                    "that cannot be imported. Try fewer --workers."
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
    executor = _executor(n_workers)
    try:
        running = {
            executor.submit(do, job, work): job for job in islice(waiting, n_workers * _AHEAD)
        }
        while running:
            future = next(iter(as_completed(list(running))))
            job = running.pop(future)
            yield Done(job.part, job.size, future.result())
            for job in waiting:
                running[executor.submit(do, job, work)] = job
                break
    finally:
        _end(executor)


def _end(executor: ProcessPoolExecutor) -> None:
    """Kill the workers; what loky's own thread says about results that came too late is noise."""
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        executor.shutdown(wait=True, kill_workers=True)
    finally:
        threading.excepthook = hook


def _run_alone(job: Job[T], work: Work[T]) -> Done:
    for _ in range(_TRIES_ALONE):
        executor = _executor(1)
        try:
            return Done(job.part, job.size, executor.submit(do, job, work).result())
        except BrokenProcessPool:
            continue
        finally:
            _end(executor)
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


def _executor(n_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, initializer=_begin, initargs=(os.getpid(),))


def do(job: Job[T], work: Work[T]) -> int:
    """Write a job's part and return how many inputs were unreadable; runs in a worker."""
    job.started.touch()
    with PartWriter(job.part, is_durable=job.is_durable) as part:
        work(job.unit, part)
    job.started.unlink(missing_ok=True)
    return part.n_unreadable


def _begin(parent: int) -> None:
    """Set up a worker of this machine: it ends soon after its parent ended in any way."""
    set_up_worker()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def set_up_worker() -> None:
    """Let a worker use one OpenCV thread and keep its memory."""
    import cv2  # after hffkit.imaging, which tells it to be silent

    cv2.setNumThreads(1)
    keep_memory()


def keep_memory() -> None:
    """Let glibc keep freed pixels: else each large picture's pages are fetched anew.

    benchmarks/formats.py shows what that is worth in decoding.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def longest_first(jobs: Sequence[Job[T]], weights: Mapping[Path, int]) -> list[Job[T]]:
    """Return the heaviest jobs first, so that no worker is left with one at the end."""
    return sorted(jobs, key=lambda job: -weights[job.part])
