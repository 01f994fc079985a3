"""Worker processes that outlive a command."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.execution import supervisor
from hffkit.execution.pool import processes

_MOST_POOLS = 2  # that are kept: of one worker and of two, which most commands want


class LastingWorkers:
    """The workers of earlier commands, lent to the next one that wants as many.

    To start one takes longer than most tests. They hold nothing that the next command could
    notice, as workers of a cluster, which outlive commands as well.
    """

    def __init__(self) -> None:
        """Begin without workers."""
        self._kept: dict[
            int, tuple[ProcessPoolExecutor, ExitStack]
        ] = {}  # the last used at the end

    @contextmanager
    def __call__(self, n: int) -> Iterator["_Workers"]:
        """Lend `n` workers; end them after the block, unless its tasks leave them idle."""
        if n in self._kept:
            pool, lent = self._kept.pop(n)
        else:
            lent = ExitStack()
            pool = lent.enter_context(processes(n))
        self._kept[n] = pool, lent
        for oldest in list(self._kept)[:-_MOST_POOLS]:
            self._end(oldest)
        workers = _Workers(pool, Path.cwd())
        try:
            yield workers
        finally:
            if not workers.are_idle():
                self._end(n)

    def end(self) -> None:
        """End the workers."""
        for n in list(self._kept):
            self._end(n)

    def _end(self, n: int) -> None:
        if n in self._kept:
            self._kept.pop(n)[1].close()


class _Workers:
    """Workers in the current folder of a command, as those that it would start itself."""

    def __init__(self, pool: ProcessPoolExecutor, folder: Path) -> None:
        self._pool, self._folder = pool, folder
        self._begun: list[Future[Any]] = []

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a task in one of the workers."""
        begun: Future[Any] = self._pool.submit(_in_folder, self._folder, work, *arguments)
        self._begun.append(begun)
        return begun

    def are_idle(self) -> bool:
        """Cancel the tasks that wait; return whether the others end soon, and no worker died."""
        left = [each for each in self._begun if not each.cancel()]
        done, others = wait(left, timeout=1)
        return not others and not any(isinstance(f.exception(), BrokenProcessPool) for f in done)


def _in_folder(folder: Path, work: Callable[..., Any], *arguments: Any) -> Any:
    os.chdir(folder)
    return work(*arguments)


@contextmanager
def lasting_workers() -> Iterator[None]:
    """Let the same worker processes serve all commands of the block, if they do not already."""
    if isinstance(vars(supervisor)["processes"], LastingWorkers):
        yield
        return
    workers = LastingWorkers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hffkit.execution.supervisor.processes", workers)
        try:
            yield
        finally:
            workers.end()
