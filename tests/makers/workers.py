"""Worker processes that outlive a command."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from joblib.externals.loky import ProcessPoolExecutor

from hffkit.execution import supervisor
from hffkit.execution.pool import processes


class LastingWorkers:
    """The workers of the last command, lent to the next one that wants as many.

    To start one takes longer than most tests. They hold nothing that the next command could
    notice, as workers of a cluster, which outlive commands as well.
    """

    def __init__(self) -> None:
        """Begin without workers."""
        self._lent: ExitStack | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._kind: tuple[int, Path] | None = None

    @contextmanager
    def __call__(self, n: int) -> Iterator[ProcessPoolExecutor]:
        """Lend `n` workers; end them if the block raises, as when one of them dies."""
        kind = (n, Path.cwd())
        if kind != self._kind:
            self.end()
            self._lent, self._kind = ExitStack(), kind
            self._pool = self._lent.enter_context(processes(n))
        assert self._pool is not None
        try:
            yield self._pool
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the workers."""
        if self._lent is not None:
            self._lent.close()
        self._lent = self._pool = self._kind = None


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
