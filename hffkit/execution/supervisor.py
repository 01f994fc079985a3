"""Run jobs on the processes of this machine, or on a cluster, and survive the death of workers.

A job is finished when its part has its final name; a rerun does only the jobs that have no part.
When a worker dies, all workers are restarted. The jobs that were under way are then suspects and
run alone; one that kills its worker twice while alone is given up, and so is one that takes longer
than its limit. Only the inputs that do so are lost, if the unit can be divided.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from joblib.externals.loky import ProcessPoolExecutor, as_completed
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError
from hffkit.execution.jobs import UNCLAIMED, Done, Job, Work, do, give_up
from hffkit.execution.pool import processes

_TRIES_ALONE = 2
_BARREN = 3  # pools that die in a row before any of their workers has begun a job
_AHEAD = 4  # jobs queued for each worker: enough to keep it busy, few enough to stop soon
T = TypeVar("T")


def run(
    jobs: Sequence[Job[T]], work: Work[T], *, n_workers: int, scheduler: str | None = None
) -> Iterator[Done]:
    """Do the jobs that have no part yet, in the given order; yield each when it is finished.

    Parameters
    ----------
    n_workers
        Number of processes on this machine.
    scheduler
        Address or file of a Dask scheduler, whose workers then do the jobs.
    """
    pending = {job.part: job for job in jobs if not job.part.exists()}
    folders = {part.parent for part in pending}
    _clear(folders)
    if scheduler is None:
        yield from _run_here(pending, work, n_workers)
    elif pending:
        from hffkit.execution.dask import run_on_cluster  # late: Dask is optional

        yield from run_on_cluster(list(pending.values()), work, scheduler)
        _clear(folders)


def _run_here(pending: dict[Path, Job[T]], work: Work[T], n_workers: int) -> Iterator[Done]:
    folders = {part.parent for part in pending}
    n_barren = 0
    while pending:
        try:
            for done in _run_pool(list(pending.values()), work, n_workers):
                del pending[done.part]  # its part may already be merged and gone
                yield done
        except BrokenProcessPool:
            suspects = [job for job in pending.values() if job.started.exists()]
            n_barren = 0 if suspects else n_barren + 1
            if n_barren == _BARREN:
                raise HffkitError(
                    "Workers die before they begin: too little memory for so many, or a package "
                    "cannot be imported. Try fewer workers."
                ) from None
            with _Alone(work) as alone:
                for job in suspects:
                    del pending[job.part]
                    if not job.part.exists():
                        yield alone.run(job)
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


class _Alone(Generic[T]):
    """A process for jobs that may kill it, one after the other."""

    def __init__(self, work: Work[T]) -> None:
        self._work = work
        self._pool: ProcessPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "_Alone[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, job: Job[T]) -> Done:
        """Do a job, or give it up if it ends the process each time or did so with a reason."""
        n_tries = 0 if job.fate is not None else _TRIES_ALONE
        for _ in range(n_tries):
            found = self.attempt(job)
            if found is not None:
                return Done(job.part, job.size, found)
        return give_up(job, self._work, self.attempt)

    def attempt(self, job: Job[T]) -> int | None:
        """Do a job and return the number of its unreadable inputs; None if the process died."""
        if self._pool is None:
            self._pool = self._stack.enter_context(processes(1))
        try:
            return int(self._pool.submit(do, job, self._work).result())
        except BrokenProcessPool as error:
            self._stack.__exit__(type(error), error, None)
            self._pool = None
            return None


def _clear(folders: Iterable[Path]) -> None:
    """Remove the files of killed workers: marks of jobs under way, and unfinished parts."""
    for folder in folders:
        for pattern in ("*.started", "*.tmp", f"*{UNCLAIMED}"):
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
