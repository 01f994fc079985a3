"""Jobs: units of work, and the parts that workers write of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from hffkit.errors import writing_to
from hffkit.execution.watchdog import LIMIT_S, fate_of, limit_of, watched
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter, read_part, remove
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


@runtime_checkable
class Divisible(Protocol):
    """A unit of several inputs that can be done one at a time, to find one that kills workers."""

    def singly(self) -> Sequence["Divisible"]:
        """Return a unit for each input; together they give the events of this unit."""


@runtime_checkable
class Joint(Protocol):
    """A unit of inputs that depend on each other; it can be done without some of them."""

    def probes(self) -> Sequence[Any]:
        """Return a unit for each input, which reads it as this unit does."""

    def without(self, lost: Mapping[str, str]) -> Any:
        """Return the unit that records inputs as unreadable, by path with the reason."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """A unit of work, the path of its part, and its size on the progress bar."""

    unit: T
    part: Path
    size: int  # number of inputs
    is_durable: bool = True  # the part survives a loss of power
    weight: int = 0  # bytes of the inputs; the heaviest jobs are begun first
    limit_s: float = LIMIT_S  # longest time that it may take

    @property
    def started(self) -> Path:
        """The file that exists while a worker does the job; after its death the job is suspect."""
        return self.part.with_suffix(".started")

    @property
    def fate(self) -> str | None:
        """The reason for the death of the worker that began the job, if it is known."""
        return fate_of(self.started, self.limit_s)


def job_of(unit: T, part: Path, size: int, weight: int, *, is_durable: bool = True) -> Job[T]:
    """Return a job with the limit of time that its inputs need."""
    return Job(unit, part, size, is_durable, weight, limit_of(size, weight))


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
    with watched(job.started, job.limit_s), PartWriter(job.part, is_durable=job.is_durable) as part:
        work(job.unit, part)
    job.started.unlink(missing_ok=True)
    return part.n_unreadable


def give_up(job: Job[T], work: Work[T], attempt: Callable[[Job[T]], int | None]) -> Done:
    """Write the part of a unit that kills its workers: a failure for each input that does.

    `attempt` does a job, and returns the number of unreadable inputs, or None if it kills its
    worker. If the unit can neither be divided nor done without some inputs, all are failures.
    """
    n_failed: int | None = None
    if isinstance(job.unit, Divisible) and job.size > 1:
        n_failed = _one_by_one(job, job.unit.singly(), work, attempt)
    elif isinstance(job.unit, Joint) and job.size > 1:
        n_failed = _without_deadly(job, job.unit, work, attempt)
    return Done(job.part, job.size, _as_failures(job, work) if n_failed is None else n_failed)


def _one_by_one(
    job: Job[T], units: Sequence[Any], work: Work[T], attempt: Callable[[Job[T]], int | None]
) -> int:
    """Do the units of a job one at a time, and write its part from theirs."""
    singles = _temporary(job, units)
    n_failed = 0
    for single in singles:
        found = attempt(single)
        n_failed += _as_failures(single, work) if found is None else found
    with PartWriter(job.part, is_durable=job.is_durable) as part:
        for event in (event for single in singles for event in read_part(single.part)):
            part.add(event)
    for single in singles:
        remove(single.part)
    return n_failed


def _without_deadly(
    job: Job[T], unit: Joint, work: Work[T], attempt: Callable[[Job[T]], int | None]
) -> int | None:
    """Find the inputs of a job that kill workers, and attempt it without them."""
    lost: dict[str, str] = {}
    for probe in _temporary(job, unit.probes()):
        if attempt(probe) is None:
            lost |= dict.fromkeys(work.paths(probe.unit), _reason(probe))
        remove(probe.part)
    return attempt(replace(job, unit=unit.without(lost)))


def _temporary(job: Job[T], units: Sequence[T]) -> list[Job[T]]:
    """Return jobs for parts of a job's unit, whose own parts are temporary."""
    return [
        Job(unit, job.part.with_name(f"{job.part.stem}-{number}.part.tmp"), 1, limit_s=job.limit_s)
        for number, unit in enumerate(units)
    ]


def _as_failures(job: Job[T], work: Work[T]) -> int:
    """Write a part with a failure for each input, and return their number."""
    why = _reason(job)
    paths = work.paths(job.unit)
    with PartWriter(job.part, is_durable=job.is_durable) as part:
        for path in paths:
            part.add(Failure("unreadable", path, None, why))
    return len(paths)


def _reason(job: Job[T]) -> str:
    return job.fate or "its unit twice killed its worker"


def longest_first(jobs: Sequence[Job[T]]) -> list[Job[T]]:
    """Sort jobs by descending weight, so that no worker is left with a long one at the end."""
    return sorted(jobs, key=lambda job: -job.weight)
