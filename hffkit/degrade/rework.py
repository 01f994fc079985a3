"""Corpora read, treated and stored again, record by record: what `pack` and `degrade` share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hffkit.degrade.chain import Chain, Degraded
from hffkit.degrade.own import OwnOperations, read_chain
from hffkit.errors import ArgumentError, HffkitError, StorageError
from hffkit.execution.assemble import WorkPlan
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image, resize
from hffkit.storage.corpus import Provenance
from hffkit.storage.datum import Datum
from hffkit.storage.parts import PartWriter, Record
from hffkit.storage.record import store
from hffkit.storage.selection import Places, RecordBlock, block_name, blocks_of

PixelStage = Literal["native", "input"]
_AHEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to each image, from its pixels to those that are stored."""

    names: tuple[str, ...]
    own: OwnOperations | None
    stage: PixelStage
    size: int | None  # px of what is stored; None: as the operations leave it
    seed: int

    def chain(self) -> Chain:
        """Return the operations; workers make their own."""
        return read_chain(self.names, self.own)

    def __call__(self, chain: Chain, image: Image, key: str, position: int = 0) -> Degraded:
        """Return the treated image, and the record of it with the stage."""
        if self.stage == "input" and self.size is not None:
            image = resize(image, self.size)
        done = chain(image, seed=self.seed, key=key, position=position)
        image = done.image if self.size is None else resize(done.image, self.size)
        return Degraded(image, tuple({**row, "stage": self.stage} for row in done.operations))


@dataclass(frozen=True, slots=True)
class Rework:
    """Reads records, treats their pixels, stores them again; what workers are sent."""

    corpora: tuple[Path, ...]
    provenance: Provenance
    treatment: Treatment

    def __call__(self, unit: RecordBlock, part: PartWriter) -> None:
        """Write the block's records to `part`, and a failure for each that cannot be read."""
        chain = self.treatment.chain()
        for sample, datum in self._read(unit):
            try:
                record = self._again(chain, sample, datum)
            except ArgumentError:  # an operation that is wrong for every record
                raise
            except HffkitError as error:
                part.add(Failure("unreadable", sample.key, None, str(error)))
            else:
                part.add(record)

    def _read(self, unit: RecordBlock) -> Iterator[tuple[Sample, Datum | StorageError]]:
        """Yield each sample with its record, or with what is wrong with that.

        Lines are read all at once, records a megabyte ahead: between images, which sweep the
        processor's caches, the same takes longer.
        """
        ahead: list[tuple[Sample, Datum | StorageError]] = []
        n_bytes = 0
        for corpus, sample in list(unit.samples(self.corpora)):
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

    def _again(self, chain: Chain, sample: Sample, datum: Datum | StorageError) -> Record:
        if isinstance(datum, StorageError):
            raise datum
        n_done = len(sample.operations)
        treated = self.treatment(chain, datum.image(), sample.key, n_done)
        label = self.provenance.classes.label(sample.cls, self.provenance.labels)
        stored = store(treated.image, None, label, self.provenance.size)
        again = sample._replace(
            sha256=stored.sha256,
            pixels_sha256=stored.pixels_sha256,
            operations=sample.operations + treated.operations,
            index=None,
        )
        return Record(again, stored.value)

    def paths(self, unit: RecordBlock) -> Sequence[str]:
        """Return the keys of the block's samples."""
        return [sample.key for _, sample in unit.samples(self.corpora)]


def plan_of(work: Rework, places: Places, label: str) -> WorkPlan[RecordBlock]:
    """Return the plan that does `work` on all the places."""
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
