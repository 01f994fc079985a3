"""From units to one corpus: spread the work, then let a single writer put it together in order."""

import functools
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from hffkit.errors import StorageError
from hffkit.execution.jobs import Done, Job, Work, longest_first
from hffkit.execution.progress import Progress
from hffkit.execution.supervisor import run
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import FAILURES_FILE, Corpus, CorpusInfo, Provenance
from hffkit.storage.parts import Event, Record, read_part, recycle, remove
from hffkit.storage.staging import Partial, write_durably
from hffkit.storage.writer import CorpusWriter

_FIRST = "inputs"  # the unit of what was known to fail before the work began
T = TypeVar("T")

Surplus = Callable[[Iterable[Sample]], set[str]]
"""Decides over all finished samples which keys to leave out."""


@dataclass(frozen=True, slots=True)
class WorkPlan(Generic[T]):
    """The work behind a corpus: its units in the order of their records."""

    units: Sequence[T]
    name: Callable[[T], str]  # unique, the same in every run as long as the unit's inputs are
    weight: Callable[[T], int]  # the heaviest are begun first
    size: Callable[[T], int]  # on the progress bar
    work: Work[T]
    label: str  # of the progress bar
    counted: str  # what the progress bar counts
    failures: Sequence[Failure] = ()
    surplus: Surplus | None = None
    streams: bool = False  # parts are written at once, and short-lived: no input can change
    seed: Callable[[Sequence[Job[T]]], None] | None = None  # writes parts that are known already


def share(n: int, shard: tuple[int, int] | None) -> slice:
    """Return which of `n` a shard (I, N) takes: the I-th of N consecutive shares, or all."""
    number, total = shard or (0, 1)
    return slice(number * n // total, (number + 1) * n // total)


@dataclass(frozen=True, slots=True)
class Beside:
    """A second corpus of the same work: of its samples those with keys that it takes."""

    out: Path
    provenance: Provenance
    takes: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Product:
    """A corpus under construction, and which samples go into it."""

    writer: CorpusWriter
    known: Collection[str]  # units that were durable when it was opened
    provenance: Provenance
    takes: Callable[[str], bool]
    holds_samples_alone: bool = False  # failures and boxes are told once, in the other product

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
    """Do a plan's work, write the corpus `out`, and one `beside` it, and return its contents.

    Everything happens in `out`.partial. Run again after any interruption it goes on where it was.
    """
    with Partial(
        out,
        provenance.to_json(),
        replaces=plan.seed is not None,
        beside=None if beside is None else beside.out,
    ) as partial:
        if not partial.is_complete:
            spread = functools.partial(run, n_workers=n_workers, scheduler=scheduler)
            # Elsewhere a file that was written over may still be seen as it was.
            drop = recycle if plan.streams and scheduler is None else remove
            _put_together(partial, provenance, plan, spread, drop, beside)
        partial.publish()
    info = Corpus(out).info
    return info if beside is None else replace(info, masks=Corpus(beside.out).info)


def _put_together(
    partial: Partial,
    provenance: Provenance,
    plan: WorkPlan[T],
    spread: Callable[..., Iterator[Done]],
    drop: Callable[[Path], None],
    beside: Beside | None,
) -> None:
    """Do the work and finish the products, but for their names."""
    jobs = [
        Job(unit, partial.part(plan.name(unit)), plan.size(unit), not plan.streams)
        for unit in plan.units
    ]
    if plan.seed is not None:
        plan.seed(jobs)
    with ExitStack() as stack:
        products = _products(partial, provenance, beside, stack)
        names = [_FIRST, *(job.part.stem for job in jobs)]
        if any(p.writer.units != names[: len(p.writer.units)] for p in products):
            raise StorageError(
                f"{partial.path}: the inputs changed while they were put together. Delete it "
                "and run the command again."
            )
        left_out = _work(partial, plan, products, jobs, spread, drop)
        info, *_ = [product.finish(left_out) for product in products]
        if not info.n_samples and provenance.shard is None:
            raise StorageError(
                f"{partial.out}: not one sample came of it ({info.failures}); "
                f"{partial.product / FAILURES_FILE} says why for each input. Mend that, delete "
                f"{partial.path} and run the command again."
            )


def _products(
    partial: Partial, provenance: Provenance, beside: Beside | None, stack: ExitStack
) -> list[_Product]:
    """Return the plan's corpus and the one beside it, begun or taken up again."""
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


def _work(
    partial: Partial,
    plan: WorkPlan[T],
    products: Sequence[_Product],
    jobs: Sequence[Job[T]],
    spread: Callable[..., Iterator[Done]],
    drop: Callable[[Path], None],
) -> set[str]:
    """Do what is to be done, write all of it, and return the keys that were left out.

    What is written cannot be taken back, so parts wait for the last one where an input may still
    be replaced, or where all of them decide what is left out.
    """
    merged = _Merge(products, plan, jobs, drop)
    weights = {job.part: plan.weight(job.unit) for job in jobs}
    with Progress(sum(job.size for job in jobs), unit=plan.counted, label=plan.label) as progress:
        progress.step(sum(job.size for job in jobs if merged.has(job) or job.part.exists()))
        rest = [job for job in jobs if not merged.has(job)]
        for done in spread(longest_first(rest, weights), plan.work):
            progress.step(done.size, done.failures)
            if plan.streams:
                merged.write_finished()
    left_out = _left_out(partial, plan.surplus, jobs)
    with Progress(len(merged.queue), unit="parts", label="write") as progress:
        merged.write_finished(left_out, progress)
    if merged.queue:
        raise StorageError(f"{merged.queue[0]}: was removed meanwhile. Run the same command again.")
    return left_out


class _Merge:
    """Finished parts on their way into the products, in order; a part goes when it is durable."""

    def __init__(
        self,
        products: Sequence[_Product],
        plan: WorkPlan[T],
        jobs: Sequence[Job[T]],
        drop: Callable[[Path], None],
    ) -> None:
        self._products = products
        self._drop = drop
        self._durable = set(self._units())
        self._parts = {job.part.stem: job.part for job in jobs}
        self.queue = deque(job.part for job in jobs if job.part.stem not in self._durable)
        for name, part in self._parts.items():
            if plan.streams or name in self._durable:  # not durable, or a crash came between
                remove(part)
        for product in products:
            product.append(_FIRST, plan.failures, ())

    def _units(self) -> list[str]:
        """Return the units that are durable in all products: they take them in one order."""
        return min((product.writer.units for product in self._products), key=len)

    def has(self, job: Job[T]) -> bool:
        return job.part.stem in self._durable

    def write_finished(
        self, left_out: Collection[str] = (), progress: Progress | None = None
    ) -> None:
        """Write the parts that are there, up to the first that is not."""
        while self.queue and self.queue[0].exists():
            part = self.queue.popleft()
            for product in self._products:
                product.append(part.stem, read_part(part), left_out)
            if any(part.stem in product.writer.units[-1:] for product in self._products):
                self._commit()  # one has: so that no part waits for another that seldom does
            if progress is not None:
                progress.step(1)
        if not self.queue:
            self._commit()

    def _commit(self) -> None:
        for product in self._products:
            product.writer.commit()
        for name in self._units()[len(self._durable) :]:
            if name in self._parts:
                self._drop(self._parts[name])
            self._durable.add(name)


def _left_out(partial: Partial, surplus: Surplus | None, jobs: Sequence[Job[T]]) -> set[str]:
    """Return the keys to leave out; kept on disk, for the parts are deleted as they are written."""
    if surplus is None:
        return set()
    path = partial.path / "left_out.json"
    units = [job.part.stem for job in jobs]
    if path.exists():
        known = json.loads(path.read_text("utf-8"))
        if known["units"] == units:
            return set(known["keys"])
    keys = surplus(_samples(job.part for job in jobs))
    write_durably(path, json.dumps({"units": units, "keys": sorted(keys)}))
    return keys


def _samples(parts: Iterable[Path]) -> Iterator[Sample]:
    for part in parts:
        for event in read_part(part, with_values=False):
            if isinstance(event, Record):
                yield event.sample
