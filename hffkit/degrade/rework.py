"""Rewrite corpora record by record: the unit of work of `pack`, `degrade` and `equalize`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from hffkit.degrade.chain import AnyChain, Chain, Degraded
from hffkit.degrade.own import OwnOperations, read_chain
from hffkit.degrade.suites import SuiteSeverity
from hffkit.errors import ArgumentError, HffkitError, StorageError
from hffkit.execution.assemble import WorkPlan
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.media.image import CONVERT_IMAGESET, Image, resize
from hffkit.media.source_facts import image_facts
from hffkit.storage.corpus import CorpusName, Provenance
from hffkit.storage.datum import Datum
from hffkit.storage.parts import PartWriter, Record
from hffkit.storage.record import store
from hffkit.storage.selection import Places, RecordBlock, block_name, blocks_of, samples_at

PixelStage = Literal["native", "input"]
Prepared = Callable[[Image, str, int], Degraded]
"""The processing of an image, given its key and the number of operations applied to it before."""
_AHEAD_BYTES = 1 << 20


class Processing(Protocol):
    """The processing of every image of a corpus; picklable, so that workers can receive it."""

    def prepared(self) -> Prepared:
        """Return the function that does it; each worker makes its own."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """The processing of each image, from its pixels to those that are stored."""

    names: tuple[str, ...]
    own: OwnOperations | None
    stage: PixelStage
    size: int | None  # px of stored images; None: as the operations leave them
    seed: int
    suite: SuiteSeverity | None = None  # a chain of it is drawn for each image, instead of `names`

    def chain(self) -> Chain | AnyChain:
        """Return the operations; each worker makes its own."""
        if self.suite is None:
            return read_chain(self.names, self.own)
        chains = tuple(read_chain(names, self.own) for names in self.suite.chains)
        return AnyChain(self.suite.name, chains)

    def prepared(self) -> Prepared:
        """Return the function that processes one image."""
        return partial(self, self.chain())

    def __call__(
        self, chain: Chain | AnyChain, image: Image, key: str, position: int = 0
    ) -> Degraded:
        """Process an image, and add the stage to the record of its operations."""
        if self.stage == "input" and self.size is not None:
            image = resize(image, self.size, CONVERT_IMAGESET)
        done = chain(image, seed=self.seed, key=key, position=position)
        image = done.image if self.size is None else resize(done.image, self.size, CONVERT_IMAGESET)
        return Degraded(image, tuple({**row, "stage": self.stage} for row in done.operations))


@dataclass(frozen=True, slots=True)
class Rework:
    """The work on one block: read its records, process their pixels, store them again."""

    corpora: tuple[CorpusName, ...]
    provenance: Provenance
    processing: Processing

    def __call__(self, unit: RecordBlock, part: PartWriter) -> None:
        """Write the block's records to `part`, and a failure for each that cannot be read."""
        process = self.processing.prepared()
        for sample, datum in self._read(unit):
            try:
                record = self._again(process, sample, datum)
            except ArgumentError:  # the operation is wrong for every record
                raise
            except HffkitError as error:
                part.add(Failure("unreadable", sample.key, None, str(error)))
            else:
                part.add(record)

    def _read(self, unit: RecordBlock) -> Iterator[tuple[Sample, Datum | StorageError]]:
        """Yield each sample with its record, or with the error of reading it.

        All lines are read at once and records a megabyte ahead, because reading takes longer
        between images, whose pixels displace everything else from the processor's caches.
        """
        ahead: list[tuple[Sample, Datum | StorageError]] = []
        n_bytes = 0
        for corpus, sample in list(samples_at(unit.places, self.corpora)):
            try:
                datum = corpus.datum(sample)
            except StorageError as error:
                ahead.append((sample, error))
            else:
                ahead.append((sample, datum))
                n_bytes += len(datum.data)
            if n_bytes >= _AHEAD_BYTES:
                yield from ahead
                ahead, n_bytes = [], 0
        yield from ahead

    def _again(self, process: Prepared, sample: Sample, datum: Datum | StorageError) -> Record:
        if isinstance(datum, StorageError):
            raise datum
        treated = process(datum.image(), sample.key, len(sample.operations))
        label = self.provenance.classes.label(sample.cls, self.provenance.labels)
        stored = store(treated.image, treated.encoded, label, self.provenance.size)
        again = sample._replace(
            sha256=stored.sha256,
            pixels_sha256=stored.pixels_sha256,
            operations=sample.operations + treated.operations,
            # Facts of the source say nothing of images that were given one history.
            facts=_facts(sample, datum) if treated.encoded is None else None,
            index=None,
        )
        return Record(again, stored.value)

    def paths(self, unit: RecordBlock) -> Sequence[str]:
        """Return the keys of the block's samples."""
        return [sample.key for _, sample in samples_at(unit.places, self.corpora)]


def _facts(sample: Sample, datum: Datum) -> Mapping[str, str | int | float] | None:
    """Return the facts of a sample's source; those of the record if it is the source's file."""
    if sample.sha256 == sample.source_sha256 and datum.encoded:
        return image_facts(bytes(datum.data)) or None
    return sample.facts


def plan_of(work: Rework, places: Places, label: str) -> WorkPlan[RecordBlock]:
    """Return the plan of doing `work` on all places."""
    return WorkPlan(
        units=blocks_of(places),
        name=block_name,
        weight=len,
        size=len,
        work=work,
        label=label,
        counted="samples",
        streams=True,
    )
