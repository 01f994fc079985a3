"""Run jobs on the workers of a Dask cluster, which may be on many machines.

The guarantees are those of the supervisor: a finished part is a finished job, and a job that kills
its workers does not affect others. Workers must see the folders of this process by the same paths.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from hffkit.errors import HffkitError, StorageError
from hffkit.execution.jobs import UNCLAIMED, Done, Job, Work, do, give_up
from hffkit.execution.pool import set_up_worker
from hffkit.execution.progress import announce
from hffkit.execution.versions import LIBRARIES, versions

_CONNECT = "10s"
_AHEAD = 2  # jobs in flight for each thread of a worker
_CHECK_EVERY_S = 5.0  # for workers, while no job finishes
_VISIBLE_WITHIN_S = 90.0  # for files of other machines; NFS caches for 60
T = TypeVar("T")


def run_on_cluster(jobs: Sequence[Job[T]], work: Work[T], scheduler: str) -> Iterator[Done]:
    """Do jobs that have no part yet on a cluster; yield each when it is finished.

    A job whose workers die, as often as the scheduler allows, is a suspect: it may only have waited
    on a worker that another job killed. Suspects run alone at the end; one that kills its workers
    then is given up.

    Parameters
    ----------
    scheduler
        Address of the scheduler, such as tcp://node:8786, or its scheduler file.

    Raises
    ------
    HffkitError
        If there is no scheduler, it disappears, or a worker has other versions or folders.
    """
    with _connected(scheduler) as client:
        suspects: list[Job[T]] = []
        yield from _run_together(client, jobs, work, suspects)
        for job in suspects:
            yield _run_alone(client, job, work)


def _run_together(
    client: Any, jobs: Sequence[Job[T]], work: Work[T], suspects: list[Job[T]]
) -> Iterator[Done]:
    """Do all jobs in parallel; append those whose workers died to `suspects`."""
    from distributed import KilledWorker, as_completed

    waiting = iter(jobs)
    running: dict[Any, Job[T]] = {}
    finished: Any = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]
    while True:
        room = _AHEAD * _n_threads(client) - len(running)
        for job in islice(waiting, max(room, not running)):
            future = _submit(client, job, work)
            running[future] = job
            finished.add(future)
        if not running:
            return
        _await(client, finished.has_ready)
        future = next(finished)
        job = running.pop(future)
        try:
            yield _done(job, _result(client, future))
        except KilledWorker:
            suspects.append(job)


def _n_threads(client: Any) -> int:
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise CancelledError from error


def _run_alone(client: Any, job: Job[T], work: Work[T]) -> Done:
    found = None if job.fate is not None else _attempt(client, job, work)
    if found is not None:
        return Done(job.part, job.size, found)
    if not _is_seen(job.started):
        raise HffkitError(
            "The cluster's workers die before they begin: too little memory, or a package "
            "cannot be imported. See their logs."
        )
    return give_up(job, work, partial(_attempt, client, work=work))


def _attempt(client: Any, job: Job[T], work: Work[T]) -> int | None:
    """Do a job and return the number of its unreadable inputs; None if its workers died."""
    from distributed import KilledWorker

    future = _submit(client, job, work)
    try:
        return _done(job, _result(client, future)).failures
    except KilledWorker:
        return None


def _result(client: Any, future: Any) -> int:
    """Wait for a result; again if its worker left with it, and the job is done anew."""
    while True:
        _await(client, future.done)
        try:
            return int(future.result(timeout=_CHECK_EVERY_S))
        except TimeoutError:
            if future.status == "error":  # the job's own
                raise


def _await(client: Any, is_ready: Callable[[], bool]) -> None:
    """Wait for a result; report once if the cluster has lost all workers."""
    check_at, is_reported = time.monotonic() + _CHECK_EVERY_S, False
    while not is_ready():
        time.sleep(0.02)
        if not is_reported and time.monotonic() > check_at:
            check_at = time.monotonic() + _CHECK_EVERY_S
            if not _n_threads(client):
                announce(f"{client.scheduler.address} has no workers; waiting for some.")
                is_reported = True


def _submit(client: Any, job: Job[T], work: Work[T]) -> Any:
    return client.submit(_do, _elsewhere(job), work, _versions(), Path.cwd(), pure=False)


def _elsewhere(job: Job[T]) -> Job[T]:
    """Return the job for a worker: its part has another name until this process renames it.

    Otherwise a part that is not visible here yet could be mistaken for one already merged.
    """
    return replace(job, part=job.part.with_suffix(UNCLAIMED))


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler and wait until it has workers."""
    try:
        from distributed import Client
    except ImportError:
        raise HffkitError('`scheduler` needs Dask: pip install -e ".[dask]".') from None
    is_address = scheduler.startswith(("tcp://", "tls://"))
    if not is_address and not Path(scheduler).is_file():  # Dask would wait for the file
        raise HffkitError(
            f"`scheduler` {scheduler}: neither an address such as tcp://node:8786 nor a file that "
            "a Dask scheduler wrote for its workers."
        )
    where = {"address": scheduler} if is_address else {"scheduler_file": scheduler}
    kind: Any = Client  # untyped
    try:
        client = kind(**where, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "it took too long")
        raise HffkitError(
            f"`scheduler` {scheduler}: no Dask scheduler answers there: {reason}. Start one with "
            "`dask scheduler` and workers with `dask worker`."
        ) from None
    with client:
        if not _n_threads(client):
            announce(f"{scheduler} has no workers yet; waiting for them.")
            client.wait_for_workers(1)
        try:
            yield client
        except CancelledError:
            raise HffkitError(
                f"`scheduler` {scheduler} went away. Finished parts are kept: run the same command "
                "again."
            ) from None


def _done(job: Job[T], failures: int) -> Done:
    there = _elsewhere(job).part
    if not _is_seen(there):
        raise StorageError(
            f"{there}: written by a worker, but not visible here. All machines must have the same "
            "folders."
        )
    there.replace(job.part)
    return Done(job.part, job.size, failures)


def _is_seen(path: Path) -> bool:
    """Wait for a file that another machine may have written; return whether it is there."""
    deadline = time.monotonic() + _VISIBLE_WITHIN_S
    while not path.exists():
        if not path.parent.is_dir() or time.monotonic() > deadline:
            return False
        any(path.parent.iterdir())  # makes NFS ask its server
        time.sleep(0.2)
    return True


@cache
def _versions() -> dict[str, str]:
    return versions("dlib", *LIBRARIES)


def _do(job: Job[T], work: Work[T], expected: dict[str, str], folder: Path) -> int:
    """Do a job; runs on a worker."""
    here = socket.gethostname()
    own = _versions()
    wrong = [f"{k} {own[k]}, not {expected[k]}" for k in expected if own[k] != expected[k]]
    if wrong:
        raise HffkitError(
            f"A worker on {here} has {', '.join(wrong)}: its images could differ. Install the "
            "same versions there."
        )
    # Modules must not be imported from the folder of the command.
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    try:
        os.chdir(folder)  # resolves relative paths as in the process of the command
        any(job.part.parent.iterdir())
    except OSError as error:
        raise StorageError(
            f"A worker on {here} cannot read {folder / job.part.parent} ({error.strerror}). All "
            "machines must have the same folders."
        ) from None
    set_up_worker()
    return do(job, work)
