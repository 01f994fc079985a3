"""Spreading units over the workers of a Dask cluster, which may be on many machines.

The promises are the engine's: a finished part is a finished unit, and a unit that kills its workers
costs nobody else. The workers must see the same folders as this process, under the same names.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from hffkit.errors import HffkitError, StorageError
from hffkit.execution.jobs import UNCLAIMED, Done, Job, Work, do, give_up
from hffkit.execution.pool import set_up_worker
from hffkit.execution.versions import LIBRARIES, versions

_CONNECT = "10s"
_AHEAD = 2  # units sent for each thread of a worker
_LOOK_EVERY = 5.0  # seconds between looks for workers while nothing is finished
_SEEN_WITHIN = 90.0  # seconds until a file written elsewhere must be visible; NFS caches for 60
T = TypeVar("T")


def run_on_cluster(jobs: Sequence[Job[T]], work: Work[T], scheduler: str) -> Iterator[Done]:
    """Do jobs that have no part yet on a cluster and yield as each finishes.

    A unit whose workers die, as often as the scheduler allows, is a suspect: it may only have
    waited where another killed. Suspects run alone at the end, and what kills then is given up.

    Parameters
    ----------
    scheduler
        Its address, such as tcp://node:8786, or its scheduler file.

    Raises
    ------
    HffkitError
        If there is no scheduler, it goes away, or a worker has other versions or folders.
    """
    with _connected(scheduler) as client:
        suspects: list[Job[T]] = []
        yield from _run_together(client, jobs, work, suspects)
        for job in suspects:
            yield _run_alone(client, job, work)


def _run_together(
    client: Any, jobs: Sequence[Job[T]], work: Work[T], suspects: list[Job[T]]
) -> Iterator[Done]:
    """Do all jobs side by side; those whose workers died are `suspects` then."""
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
            yield _done(job, future.result())
        except KilledWorker:
            suspects.append(job)


def _n_threads(client: Any) -> int:
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise CancelledError from error


def _run_alone(client: Any, job: Job[T], work: Work[T]) -> Done:
    from distributed import KilledWorker

    future = _submit(client, job, work)
    try:
        _await(client, future.done)
        return _done(job, future.result())
    except KilledWorker:
        if not _is_seen(job.started):
            raise HffkitError(
                "The cluster's workers die before they begin: too little memory, or a package "
                "that cannot be imported. Their logs say more."
            ) from None
    return give_up(job, work)


def _await(client: Any, is_ready: Callable[[], bool]) -> None:
    """Wait until something is there; say once if nobody is left to do it."""
    look_at, is_told = time.monotonic() + _LOOK_EVERY, False
    while not is_ready():
        time.sleep(0.02)
        if not is_told and time.monotonic() > look_at:
            look_at = time.monotonic() + _LOOK_EVERY
            if not _n_threads(client):
                sys.stderr.write(f"{client.scheduler.address} has no workers; waiting for some.\n")
                is_told = True


def _submit(client: Any, job: Job[T], work: Work[T]) -> Any:
    return client.submit(_do, _elsewhere(job), work, _versions(), Path.cwd(), pure=False)


def _elsewhere(job: Job[T]) -> Job[T]:
    """Return a job as a worker does it: its part has another name until its end is known here.

    Whoever uses parts up takes those that are there; nobody could tell one that was used up from
    one that is not visible yet.
    """
    return replace(job, part=job.part.with_suffix(UNCLAIMED))


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """Yield a client that has workers."""
    try:
        from distributed import Client
    except ImportError:
        raise HffkitError('`scheduler` needs Dask: pip install -e ".[dask]".') from None
    is_address = scheduler.startswith(("tcp://", "tls://"))
    if not is_address and not Path(scheduler).is_file():  # Dask would wait for it
        raise HffkitError(
            f"`scheduler` {scheduler}: neither an address such as tcp://node:8786 nor a file that "
            "a Dask scheduler wrote for its workers."
        )
    where = {"address": scheduler} if is_address else {"scheduler_file": scheduler}
    kind: Any = Client  # it has no types
    try:
        client = kind(**where, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise HffkitError(
            f"`scheduler` {scheduler}: no Dask scheduler answers there: {reason}. Start one with "
            "`dask scheduler` and workers with `dask worker`."
        ) from None
    with client:
        if not _n_threads(client):
            sys.stderr.write(f"{scheduler} has no workers yet; waiting for them.\n")
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
            f"{there}: a worker has written it, and it is not here: the workers need the same "
            "folders."
        )
    there.replace(job.part)
    return Done(job.part, job.size, failures)


def _is_seen(path: Path) -> bool:
    """Tell whether a file that another machine may have written is there."""
    deadline = time.monotonic() + _SEEN_WITHIN
    while not path.exists():
        if not path.parent.is_dir() or time.monotonic() > deadline:
            return False
        any(path.parent.iterdir())  # lets NFS ask its server anew
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
    # Modules are not to be imported from the folder of the command.
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    try:
        os.chdir(folder)  # relative paths mean what they mean there
        any(job.part.parent.iterdir())
    except OSError as error:
        raise StorageError(
            f"A worker on {here} cannot read {folder / job.part.parent} ({error.strerror}): the "
            "workers need the same folders."
        ) from None
    set_up_worker()
    return do(job, work)
