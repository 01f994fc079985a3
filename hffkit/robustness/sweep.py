"""One pass over samples: decode each once, apply all treatments, feed all detectors."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from hffkit.degrade.rework import Treatment
from hffkit.execution.pool import in_order
from hffkit.execution.progress import Progress
from hffkit.inference.detector import Detector
from hffkit.inference.intake import Fed, Outputs
from hffkit.inference.shelf import Shelf
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.kept_outputs import KeptOutputs, kept_outputs
from hffkit.robustness.preparation import Order, Preparation, Wanted
from hffkit.storage.corpora import Item
from hffkit.storage.labels import Items

_BATCH_BYTES = 1 << 20  # of what a detector is fed with at once; each condition waits with as much
_SECONDS = 60.0  # between writes of unfinished outputs, at least
_WRITING_SHARE = 20  # ... and that many times as long as the last write took


class _Table:
    """Outputs of a detector under one treatment: kept ones, then new ones."""

    def __init__(self, name: str, file: KeptOutputs, n_block: int) -> None:
        self.name, self._file = name, file
        self.outputs: Outputs | None = None
        self.n_kept = 0
        found = file.read()
        if found is not None:
            self.put(0, found)
            is_whole = len(found) == file.n_samples
            self.n_kept = len(found) if is_whole else len(found) // n_block * n_block

    def put(self, first: int, rows: Outputs) -> None:
        """Take the outputs (B, C) of consecutive samples."""
        if self.outputs is None:
            self.outputs = np.full((self._file.n_samples, rows.shape[1]), np.nan, rows.dtype)
        self.outputs[first : first + len(rows)] = rows

    def write(self, n_done: int) -> None:
        """Keep the outputs of the first samples, if they are more than were kept before."""
        if self.outputs is not None and n_done > self.n_kept:
            self._file.write(self.outputs[:n_done])


@dataclass(slots=True)
class _Batch:
    """Consecutive samples under one treatment."""

    first: int
    table: _Table
    items: Items = field(default_factory=list)
    fed: list[Fed] = field(default_factory=list)


class _Line:
    """A detector, its tables, and the images that wait for it; `scorers` are threads that score.

    A batch is a block of consecutive samples under one treatment, the same whatever else is
    measured and wherever an earlier command stopped: outputs depend on their batch in the last
    bits.
    """

    def __init__(
        self,
        detector: Detector,
        treatments: Mapping[str, Treatment],
        shelf: Shelf,
        scorers: ThreadPoolExecutor,
    ) -> None:
        self.detector, self._n_samples, self._scorers = detector, shelf.n_samples, scorers
        self._intake = detector.intake
        self._n_block = max(8, _BATCH_BYTES // detector.intake.n_bytes)
        self.tables = [
            _Table(name, kept_outputs(shelf, detector, how), self._n_block)
            for name, how in treatments.items()
        ]
        self._begun: dict[str, _Batch] = {}
        self._sent: deque[tuple[_Batch, Future[Outputs]]] = deque()

    def wanted(self, number: int) -> list[_Table]:
        """Return the tables that lack the sample of a number."""
        return [table for table in self.tables if table.n_kept <= number]

    def put(self, number: int, item: Item, made: Mapping[Wanted, Fed]) -> int:
        """Take what was made of a sample, and return how many samples were scored meanwhile.

        A full block is sent to the scorers, after the block before is scored: no more than two
        are in memory.
        """
        for table in self.wanted(number):
            corpus, sample = item
            if table.name != CLEAN:
                sample = sample._replace(operations=(*sample.operations, {"op": table.name}))
            batch = self._begun.setdefault(table.name, _Batch(number, table))
            batch.items.append((corpus, sample))
            batch.fed.append(made[table.name, self._intake])
        if number + 1 not in (self._n_samples, self._end_of_block(number)):
            return self.collect(waits=False)
        n_scored = self.collect(waits=True)
        for batch in self._begun.values():
            scoring = self._scorers.submit(self.detector.outputs, batch.fed, batch.items)
            self._sent.append((batch, scoring))
        self._begun = {}
        return n_scored

    def _end_of_block(self, number: int) -> int:
        return (number // self._n_block + 1) * self._n_block

    def collect(self, *, waits: bool) -> int:
        """Take the outputs of batches that are scored, or of all; return the number of samples."""
        n_scored = 0
        while self._sent and (waits or self._sent[0][1].done()):
            batch, scoring = self._sent[0]
            batch.table.put(batch.first, scoring.result())
            self._sent.popleft()
            n_scored += len(batch.items)
        return n_scored

    def write(self, n_put: int) -> None:
        """Keep the outputs of the blocks that are scored, of the first `n_put` samples."""
        waiting = [*(batch for batch, _ in self._sent), *self._begun.values()]
        n_done = min((batch.first for batch in waiting), default=n_put)
        for table in self.tables:
            table.write(n_done)


def outputs_of(
    items: Items,
    detectors: Sequence[Detector],
    treatments: Mapping[str, Treatment],
    shelf: Shelf,
    n_workers: int,
    scorers: ThreadPoolExecutor,
) -> list[dict[str, Outputs]]:
    """Return for each detector its outputs (N, C) for samples by the name of the treatment.

    `n_workers` processes, this one among them, apply operations while the threads `scorers` score.
    Outputs that the shelf has are not computed again. New ones are put there at intervals, and
    after an error or an interruption.

    Raises
    ------
    CorpusError
        If an image cannot be read or treated.
    """
    lines = [_Line(each, treatments, shelf, scorers) for each in detectors]
    n_kept = [table.n_kept for line in lines for table in line.tables]
    total = len(items) * len(n_kept)
    if sum(n_kept) < total:
        with Progress(total, unit="scores", label="robustness", done=sum(n_kept)) as progress:
            _score(items, lines, treatments, progress, n_workers, first=min(n_kept))
    return [
        {table.name: table.outputs for table in line.tables if table.outputs is not None}
        for line in lines
    ]


def _score(
    items: Items,
    lines: Sequence[_Line],
    treatments: Mapping[str, Treatment],
    progress: Progress,
    n_workers: int,
    *,
    first: int,
) -> None:
    numbers = range(first, len(items))
    corpora = {id(corpus): corpus for corpus, _ in items}
    work = Preparation(tuple(corpora.values()), treatments)
    orders = _orders(items, list(corpora), lines, numbers)
    made = in_order(work, orders, n_workers=n_workers)
    n_put, due = first, time.monotonic() + _SECONDS
    try:
        for number, each in zip(numbers, made, strict=True):
            for line in lines:
                progress.step(line.put(number, items[number], each))
            n_put = number + 1
            if time.monotonic() > due:
                began = time.monotonic()
                _write(lines, n_put)
                now = time.monotonic()
                due = now + max(_SECONDS, _WRITING_SHARE * (now - began))
        for line in lines:
            progress.step(line.collect(waits=True))
    finally:
        _write(lines, n_put)


def _write(lines: Sequence[_Line], n_put: int) -> None:
    for line in lines:
        line.write(n_put)


def _orders(
    items: Items, corpora: Sequence[int], lines: Sequence[_Line], numbers: range
) -> Iterator[Order]:
    for number in numbers:
        corpus, sample = items[number]
        wanted = {
            (table.name, line.detector.intake): None
            for line in lines
            for table in line.wanted(number)
        }
        by_treatment = tuple(sorted(wanted, key=itemgetter(0)))
        yield Order(corpora.index(id(corpus)), sample, by_treatment)
