"""Units of work that kill their workers, for tests of what outlives that."""

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hffkit.execution.jobs import Job
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter, read_part


@dataclass(frozen=True)
class Suicidal:
    """Writes one failure a unit; some units kill the worker that has them, once or always."""

    deadly: tuple[str, ...] = ()
    deadly_once: tuple[str, ...] = ()
    marks: Path = Path()
    seconds: float = 0.02  # that a unit takes

    def __call__(self, unit: str, part: PartWriter) -> None:
        part.add(Failure("no-face", unit, None, "looked at"))
        mark = self.marks / f"{unit}.died"
        once = unit in self.deadly_once and not mark.exists()
        if once:
            mark.touch()
        if once or unit in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)

    def paths(self, unit: str) -> Sequence[str]:
        return [unit]


def jobs_in(folder: Path, n: int = 12) -> list[Job[str]]:
    return [Job(f"u{i}", folder / f"u{i}.part", 1) for i in range(n)]


def reasons(folder: Path) -> dict[str, str]:
    return {
        event.path: event.reason
        for path in sorted(folder.glob("*.part"))
        for event in read_part(path)
        if isinstance(event, Failure)
    }


def slow_square(n: int) -> tuple[int, int]:
    time.sleep(0.002)
    return n * n, os.getpid()


def never_ends(mark: str) -> None:
    """Write the number of this process to `mark`, and wait with Python's lock held."""
    Path(mark).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)
