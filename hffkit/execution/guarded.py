"""A map over tasks that may hang or crash: each loses its own result, and no other."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError
from hffkit.execution.pool import processes
from hffkit.execution.temporary import temporary_folder
from hffkit.execution.watchdog import fate_of, watched

_AHEAD = 3  # tasks sent to each process, so that it need not wait
_TRIES = 2  # of a task whose process died without a report
_BARREN = 3  # pools that die in a row before any of their processes has begun a task
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lost:
    """The result of a task that hung or crashed."""

    reason: str


def guarded(
    work: Callable[[T], R],
    tasks: Sequence[T],
    limit_s: Callable[[T], float],
    *,
    n_workers: int = 1,
) -> Iterator[R | Lost]:
    """Yield the result of `work` for each task, in order, computed in other processes.

    A task that takes longer than its limit, or ends its process, is `Lost`. Results must be
    independent of each other; `work`, tasks and results must be picklable.

    Raises
    ------
    HffkitError
        If `work` raises it, or no process can begin.
    """
    with temporary_folder() as folder, ExitStack() as stack:
        crew = stack.enter_context(_Crew(work, tasks, limit_s, n_workers, folder))
        for number in range(len(tasks)):
            yield crew.result(number)


class _Crew(Generic[T, R]):
    """Processes that are replaced when one of them dies, and the tasks that they have."""

    def __init__(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        limit_s: Callable[[T], float],
        n_workers: int,
        folder: Path,
    ) -> None:
        self._work, self._tasks, self._limit_s = work, tasks, limit_s
        self._n_workers, self._folder = n_workers, folder
        self._stack = ExitStack()
        self._pool: ProcessPoolExecutor | None = None
        self._begun: dict[int, Future[R]] = {}
        self._lost: dict[int, Lost] = {}
        self._deaths: dict[int, int] = {}  # of processes that had a task and left no report
        self._n_barren = 0

    def __enter__(self) -> "_Crew[T, R]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def result(self, number: int) -> R | Lost:
        """Return the result of a task; earlier ones have been taken."""
        while number not in self._lost:
            try:
                self._send(number)
                found = self._begun[number].result()
            except BrokenProcessPool as error:
                self._after_a_death(error)
                continue
            del self._begun[number]
            return found
        return self._lost.pop(number)

    def _send(self, first: int) -> None:
        """Send a task and those after it, or the task alone if its process died before."""
        if self._pool is None:
            self._pool = self._stack.enter_context(processes(self._n_workers))
        n_sent = 1 if first in self._deaths else _AHEAD * self._n_workers
        for number in range(first, min(first + n_sent, len(self._tasks))):
            if number not in self._begun and number not in self._lost:
                task = self._tasks[number]
                report, limit_s = self._report(number), self._limit_s(task)
                self._begun[number] = self._pool.submit(_do, self._work, task, report, limit_s)

    def _report(self, number: int) -> Path:
        return self._folder / str(number)

    def _after_a_death(self, error: BrokenProcessPool) -> None:
        """Keep finished results after a process died, and find the tasks that ended it."""
        self._stack.__exit__(type(error), error, None)
        self._pool = None
        under_way = [n for n in sorted(self._begun) if self._report(n).exists()]
        fates = {n: fate_of(self._report(n), self._limit_s(self._tasks[n])) for n in under_way}
        ended = {n: Lost(why) for n, why in fates.items() if why is not None}
        for number in under_way if not ended else ():
            self._deaths[number] = self._deaths.get(number, 0) + 1
            # Of several under way only one may be the cause: each gets its last try alone.
            if self._deaths[number] >= _TRIES and len(under_way) == 1:
                ended[number] = Lost("twice killed its worker: too little memory, or a crash")
        self._lost |= ended
        self._n_barren = 0 if under_way else self._n_barren + 1
        if self._n_barren == _BARREN:
            raise HffkitError(
                "Workers die before they begin: too little memory, or a package cannot be "
                "imported. Close other programs and run the same command again."
            ) from None
        for number in under_way:
            self._report(number).unlink()
        self._begun = {
            n: future
            for n, future in self._begun.items()
            if future.done() and not isinstance(future.exception(), BrokenProcessPool)
        }


def _do(work: Callable[[T], R], task: T, report: Path, limit_s: float) -> R:
    """Do a task; runs in a worker."""
    with watched(report, limit_s):
        found = work(task)
    report.unlink()
    return found
