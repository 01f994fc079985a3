"""Jobs: units of work, and the parts that workers write of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from hffkit.errors import writing_to
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter
from hffkit.storage.staging import RESUME

UNCLAIMED = ".unclaimed"  # suffix of parts that workers of a cluster have finished
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Work(Protocol[T_contra]):
    """The work on a unit; picklable, so that workers can receive it."""

    def __call__(self, unit: T_contra, part: PartWriter) -> None:
        """Write the unit's events to `part`."""

    def paths(self, unit: T_contra) -> Sequence[str]:
        """Return the inputs of a unit, to report them if it is given up."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """A unit of work, the path of its part, and its size on the progress bar."""

    unit: T
    part: Path
    size: int
    is_durable: bool = True  # the part survives a loss of power

    @property
    def started(self) -> Path:
        """The file that exists while a worker does the job; after its death the job is suspect."""
        return self.part.with_suffix(".started")


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: its part, its size on the progress bar, its unreadable inputs."""

    part: Path
    size: int
    failures: int


def do(job: Job[T], work: Work[T]) -> int:
    """Write a job's part and return the number of unreadable inputs; runs in a worker."""
    with writing_to(job.started, RESUME):
        job.started.touch()
    with PartWriter(job.part, is_durable=job.is_durable) as part:
        work(job.unit, part)
    job.started.unlink(missing_ok=True)
    return part.n_unreadable


def give_up(job: Job[T], work: Work[T]) -> Done:
    """Write the part of a unit that kills its workers: a failure for each of its inputs."""
    paths = work.paths(job.unit)
    with PartWriter(job.part) as part:
        for path in paths:
            part.add(Failure("unreadable", path, None, "its unit twice killed its worker"))
    return Done(job.part, job.size, len(paths))


def longest_first(jobs: Sequence[Job[T]], weights: Mapping[Path, int]) -> list[Job[T]]:
    """Sort jobs by descending weight, so that no worker is left with a long one at the end."""
    return sorted(jobs, key=lambda job: -weights[job.part])
