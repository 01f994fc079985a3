"""One pass over samples: decode each once, apply all treatments, feed all detectors."""

import time
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from hffkit.degrade.rework import Treatment
from hffkit.execution.pool import in_order
from hffkit.execution.progress import Progress
from hffkit.inference.detector import Detector
from hffkit.inference.intake import Fed, Outputs
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.kept_outputs import KeptOutputs, Shelf
from hffkit.robustness.preparation import Made, Preparation, Task
from hffkit.storage.corpora import Item
from hffkit.storage.labels import Items

_BATCH = 128
_SECONDS = 60.0  # between writes of unfinished outputs, at least
_WRITING_SHARE = 20  # ... and that many times as long as the last write took


class _Table:
    """Outputs of a detector under one treatment: kept ones, then new ones."""

    def __init__(self, name: str, file: KeptOutputs) -> None:
        self.name, self._file = name, file
        self.outputs: Outputs | None = None
        found = file.read()
        self.n_kept = 0
        if found is not None:
            self._begin(found.shape[1], found.dtype)[: len(found)] = found
            self.n_kept = len(found)

    def _begin(self, n_columns: int, dtype: Any) -> Outputs:
        self.outputs = np.full((self._file.n_samples, n_columns), np.nan, dtype)
        return self.outputs

    def put(self, number: int, row: Outputs) -> None:
        """Take the outputs (C,) of a sample."""
        table = self._begin(len(row), row.dtype) if self.outputs is None else self.outputs
        table[number] = row

    def write(self, n_done: int) -> None:
        """Keep the outputs of the first samples, if they are more than were kept before."""
        if self.outputs is not None and n_done > self.n_kept:
            self._file.write(self.outputs[:n_done])


class _Line:
    """A detector, its tables, and the images that wait for it."""

    def __init__(self, detector: Detector, tables: Sequence[_Table]) -> None:
        self.detector, self.tables = detector, tables
        self._intake = detector.intake
        self._waiting: list[tuple[int, _Table, Item, Fed]] = []

    def wanted(self, number: int) -> list[_Table]:
        """Return the tables that lack the sample of a number."""
        return [table for table in self.tables if table.n_kept <= number]

    def put(self, number: int, item: Item, made: Mapping[Made, Fed]) -> int:
        """Queue what was made of a sample, score full batches, and return the number queued."""
        wanted = self.wanted(number)
        for table in wanted:
            corpus, sample = item
            if table.name != CLEAN:
                sample = sample._replace(operations=(*sample.operations, {"op": table.name}))
            fed = made[table.name, self._intake]
            self._waiting.append((number, table, (corpus, sample), fed))
            if len(self._waiting) == _BATCH:
                self.flush()
        return len(wanted)

    def flush(self) -> None:
        """Score all that waits."""
        if not self._waiting:
            return
        numbers, tables, items, fed = zip(*self._waiting, strict=True)
        rows = self.detector.outputs(fed, list(items))
        for number, table, row in zip(numbers, tables, rows, strict=True):
            table.put(number, row)
        self._waiting.clear()

    def write(self, n_queued: int) -> None:
        """Keep the outputs of all samples that were scored, of the first `n_queued`."""
        n_done = self._waiting[0][0] if self._waiting else n_queued
        for table in self.tables:
            table.write(n_done)


def outputs_of(
    items: Items,
    detectors: Sequence[Detector],
    treatments: Mapping[str, Treatment],
    shelf: Shelf,
    n_workers: int,
) -> list[dict[str, Outputs]]:
    """Return for each detector its outputs (N, C) for samples by the name of the treatment.

    Outputs that the shelf has are not computed again. New ones are put there at intervals, and
    after an error or an interruption.

    Raises
    ------
    CorpusError
        If an image cannot be read or treated, or a detector cannot be fed with it.
    """
    for detector in detectors:
        detector.check(items)
    lines = [
        _Line(each, [_Table(name, shelf.place(each, how)) for name, how in treatments.items()])
        for each in detectors
    ]
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
    made = in_order(Preparation(treatments), _tasks(items, lines, numbers), n_workers=n_workers)
    n_queued, due = first, time.monotonic() + _SECONDS
    try:
        for number, each in zip(numbers, made, strict=True):
            for line in lines:
                progress.step(line.put(number, items[number], each))
            n_queued = number + 1
            if time.monotonic() > due:
                began = time.monotonic()
                _write(lines, n_queued)
                now = time.monotonic()
                due = now + max(_SECONDS, _WRITING_SHARE * (now - began))
        for line in lines:
            line.flush()
    finally:
        _write(lines, n_queued)


def _write(lines: Sequence[_Line], n_queued: int) -> None:
    for line in lines:
        line.write(n_queued)


def _tasks(items: Items, lines: Sequence[_Line], numbers: range) -> Iterator[Task]:
    for number in numbers:
        corpus, sample = items[number]
        wanted = {
            (table.name, line.detector.intake): None
            for line in lines
            for table in line.wanted(number)
        }
        by_treatment = tuple(sorted(wanted, key=itemgetter(0)))
        yield Task(corpus.name, sample, by_treatment)
