"""Make a corpus of units of work: workers write parts, a single writer merges them in order."""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from hffkit.errors import StorageError
from hffkit.execution.jobs import Job, Work, job_of, longest_first
from hffkit.execution.progress import Progress
from hffkit.execution.supervisor import run
from hffkit.fields import Fields
from hffkit.input_files import MAX_TEXT_BYTES, read_object
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import FAILURES_FILE, Corpus, CorpusInfo, Provenance
from hffkit.storage.parts import Event, Record, read_part, recycle, remove
from hffkit.storage.staging import Partial, write_durably
from hffkit.storage.writer import CorpusWriter

_FIRST = "inputs"  # name of the unit of failures that were known before the work began
T = TypeVar("T")

Surplus = Callable[[Iterable[Sample]], set[str]]
"""Selects, from all finished samples, the keys to leave out."""


@dataclass(frozen=True, slots=True)
class WorkPlan(Generic[T]):
    """The units of work for a corpus, in the order of their records."""

    units: Sequence[T]
    name: Callable[[T], str]  # unique, and stable between runs while the inputs do not change
    weight: Callable[[T], int]  # bytes of files; the heaviest units are begun first
    size: Callable[[T], int]  # on the progress bar
    work: Work[T]
    label: str  # of the progress bar
    counted: str  # unit of the progress bar
    failures: Sequence[Failure] = ()  # known before the work begins
    surplus: Surplus | None = None
    streams: bool = False  # parts are merged as soon as they are finished; inputs cannot change
    seed: Callable[[Sequence[Job[T]]], None] | None = None  # writes the parts of known results


def share(n: int, shard: tuple[int, int] | None) -> slice:
    """Return the slice of `n` items that is shard (I, N), or all of them."""
    number, total = shard or (0, 1)
    return slice(number * n // total, (number + 1) * n // total)


@dataclass(frozen=True, slots=True)
class Beside:
    """A second corpus of the same work, for the samples whose keys it takes."""

    out: Path
    provenance: Provenance
    takes: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Product:
    """A corpus under construction, for the samples whose keys it takes."""

    writer: CorpusWriter
    known: Collection[str]  # units that were durable when it was opened
    provenance: Provenance
    takes: Callable[[str], bool]
    holds_samples_alone: bool = False  # failures and boxes are in the other product

    def append(self, unit: str, events: Iterable[Event], left_out: Collection[str]) -> None:
        if unit not in self.known:
            events = (e for e in events if isinstance(e, Record) or not self.holds_samples_alone)
            self.writer.append(unit, events, lambda s: self.takes(s.key) and s.key not in left_out)

    def finish(self, left_out: Collection[str]) -> CorpusInfo:
        return self.writer.finish(self.provenance, sum(map(self.takes, left_out)))


def assemble(
    out: Path,
    provenance: Provenance,
    plan: WorkPlan[T],
    *,
    n_workers: int,
    scheduler: str | None = None,
    beside: Beside | None = None,
) -> CorpusInfo:
    """Do the work of a plan, write the corpus `out` and return its contents.

    The work is in `out`.partial; after an interruption the same call resumes it. A corpus `beside`
    it is returned as the `masks` of its contents.
    """
    command, beside_out = provenance.to_json(), None if beside is None else beside.out
    with Partial(out, command, replaces=plan.seed is not None, beside=beside_out) as partial:
        if not partial.is_complete:
            jobs = _jobs(partial, plan)
            with ExitStack() as stack:
                products = _products(partial, provenance, beside, stack)
                left_out = _Assembly(partial, plan, jobs, products, scheduler).work(n_workers)
                info, *_ = [product.finish(left_out) for product in products]
            if not info.n_samples and provenance.shard is None:
                raise _empty(partial, info)
        partial.publish()
    info = Corpus(out).info
    return info if beside is None else replace(info, masks=Corpus(beside.out).info)


def _jobs(partial: Partial, plan: WorkPlan[T]) -> list[Job[T]]:
    """Return a job for each unit of a plan; those of known results have their parts."""
    jobs = [
        job_of(
            unit,
            partial.part(plan.name(unit)),
            plan.size(unit),
            plan.weight(unit),
            is_durable=not plan.streams,
        )
        for unit in plan.units
    ]
    if plan.seed is not None:
        plan.seed(jobs)
    return jobs


def _empty(partial: Partial, info: CorpusInfo) -> StorageError:
    counts = ", ".join(f"{n} {kind}" for kind, n in info.failures.items())
    return StorageError(
        f"{partial.out}: no input gave a sample ({counts}). The reasons are in "
        f"{partial.product / FAILURES_FILE}. Correct the inputs, delete {partial.path} and "
        "run the command again."
    )


def _products(
    partial: Partial, provenance: Provenance, beside: Beside | None, stack: ExitStack
) -> list[_Product]:
    """Open the corpus of the plan, and the one beside it, to begin or resume them."""
    writer = stack.enter_context(CorpusWriter(partial.product))
    known = frozenset(writer.units)
    if beside is None:
        return [_Product(writer, known, provenance, lambda _: True)]
    other = stack.enter_context(CorpusWriter(partial.beside))
    return [
        _Product(writer, known, provenance, lambda key: not beside.takes(key)),
        _Product(
            other, frozenset(other.units), beside.provenance, beside.takes, holds_samples_alone=True
        ),
    ]


class _Assembly(Generic[T]):
    """The jobs of a plan, and the merge of their parts into the products in order."""

    def __init__(
        self,
        partial: Partial,
        plan: WorkPlan[T],
        jobs: Sequence[Job[T]],
        products: Sequence[_Product],
        scheduler: str | None,
    ) -> None:
        self._partial, self._plan, self._jobs = partial, plan, jobs
        self._products, self._scheduler = products, scheduler
        # Another machine could see the old content of a file that is written over.
        self._drop = recycle if plan.streams and scheduler is None else remove
        self._parts = {job.part.stem: job.part for job in jobs}
        self._durable = set(self._units())
        names = [_FIRST, *(job.part.stem for job in jobs)]
        if any(p.writer.units != names[: len(p.writer.units)] for p in products):
            raise StorageError(
                f"{partial.path}: the inputs changed after it was begun. Delete it and run the "
                "command again."
            )
        self._queue = deque(part for name, part in self._parts.items() if name not in self._durable)

    def work(self, n_workers: int) -> set[str]:
        """Do the unfinished jobs, merge all parts, and return the keys that were left out.

        Records cannot be removed once they are written. So unless the plan streams, parts are
        merged only after the last job: an input may still change, and all samples decide what is
        left out.
        """
        plan = self._plan
        for name, part in self._parts.items():
            # Parts of streams are not durable; others are left by a crash before their deletion.
            if plan.streams or name in self._durable:
                remove(part)
        for product in self._products:
            product.append(_FIRST, plan.failures, ())
        rest = [job for job in self._jobs if job.part.stem not in self._durable]
        total = sum(job.size for job in self._jobs)
        with Progress(total, unit=plan.counted, label=plan.label) as progress:
            progress.step(total - sum(job.size for job in rest if not job.part.exists()))
            jobs, where = longest_first(rest), self._scheduler
            for done in run(jobs, plan.work, n_workers=n_workers, scheduler=where):
                progress.step(done.size, done.failures)
                if plan.streams:
                    self._merge_finished()
        left_out = self._left_out()
        with Progress(len(self._queue), unit="parts", label="write") as progress:
            self._merge_finished(left_out, progress)
        if self._queue:
            raise StorageError(f"{self._queue[0]}: was removed. Run the same command again.")
        return left_out

    def _units(self) -> list[str]:
        """Return the units that are durable in all products, which get them in the same order."""
        return min((product.writer.units for product in self._products), key=len)

    def _merge_finished(
        self, left_out: Collection[str] = (), progress: Progress | None = None
    ) -> None:
        """Merge finished parts, up to the first that is not finished."""
        while self._queue and self._queue[0].exists():
            part = self._queue.popleft()
            for product in self._products:
                product.append(part.stem, read_part(part), left_out)
            # When one product has committed by itself, so must the other: parts can be deleted.
            if any(part.stem in product.writer.units[-1:] for product in self._products):
                self._commit()
            if progress is not None:
                progress.step(1)
        if not self._queue:
            self._commit()

    def _commit(self) -> None:
        """Make what was merged durable, and drop its parts."""
        for product in self._products:
            product.writer.commit()
        for name in self._units()[len(self._durable) :]:
            if name in self._parts:
                self._drop(self._parts[name])
            self._durable.add(name)

    def _left_out(self) -> set[str]:
        """Return the keys to leave out; saved, for a resumed merge no longer has all the parts."""
        if self._plan.surplus is None:
            return set()
        path = self._partial.parts / "left_out.json"
        units = [job.part.stem for job in self._jobs]
        if path.exists():
            row = read_object(path, StorageError, MAX_TEXT_BYTES)
            known = Fields(row, str(path), StorageError)
            if known.texts("units") == units:
                return set(known.texts("keys"))
        keys = self._plan.surplus(_samples(self._parts.values()))
        write_durably(path, json.dumps({"units": units, "keys": sorted(keys)}))
        return keys


def _samples(parts: Iterable[Path]) -> Iterator[Sample]:
    for part in parts:
        for event in read_part(part, with_values=False):
            if isinstance(event, Record):
                yield event.sample
