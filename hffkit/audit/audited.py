"""The corpora under audit, and an index of their samples in flat memory."""

import hashlib
import shlex
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Bools, Ints
from hffkit.audit.findings import SampleRef
from hffkit.errors import ManifestError
from hffkit.execution.pool import in_order
from hffkit.execution.progress import Progress
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.manifest.seeds import rng_for
from hffkit.options import Bounds, Seed
from hffkit.runs.samples import video_of
from hffkit.storage.corpora import Item, joint_classes, open_faces
from hffkit.storage.corpus import Corpus, CorpusName
from hffkit.storage.selection import Places, samples_at

_BYTES = 8  # of a fingerprint: two of a million differ by chance with a probability of 3e-8
_BLOCK = 64  # records of a unit of work
T = TypeVar("T")
Fingerprints = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """The arguments of `hffkit audit`."""

    corpora: tuple[str, ...]  # treated as one
    against: tuple[str, ...] = ()  # corpora that must not overlap with them, each by itself
    run: Path | None = None
    samples: Annotated[int, Bounds(10)] = (
        1000  # of each class, for checks that read headers or pixels
    )
    seed: Seed = 0
    device: str = "auto"  # of the run
    report: Path | None = None  # the file of the result, for commands that read it


@dataclass(frozen=True, slots=True)
class SampleIndex:
    """The facts of all manifests, about 70 bytes a sample; first those of `corpora`."""

    places: Places  # (N, 2)
    is_audited: Bools  # (N,) False for samples of `against`
    cls: Ints  # (N,) place of the class in `class_names`
    split: Ints  # (N,) place of the split in SPLITS
    pixels: Fingerprints  # (N,) of the decoded pixels
    origin: Fingerprints  # (N,) of the source file and frame
    source: Fingerprints  # (N,) of the bytes of the source file
    video: Fingerprints  # (N,) of the video's path in its dataset; 0 for an image
    group: Fingerprints  # (N,) of the group's name
    class_names: tuple[str, ...]
    is_fake: Bools  # (C,) of the classes

    def __len__(self) -> int:
        return len(self.cls)

    @property
    def audited(self) -> Ints:
        """(M,) places in this index of the samples of `corpora`."""
        return np.flatnonzero(self.is_audited)


@dataclass
class Audited:
    """The corpora under audit with what checks share; everything is computed on first use."""

    request: AuditRequest
    n_workers: int = 1
    corpora: Sequence[Corpus] = field(init=False)
    against: Sequence[Corpus] = field(init=False)
    _shared: dict[Callable[["Audited"], object], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.corpora = open_faces(self.request.corpora)
        self.against = [one for name in self.request.against for one in open_faces([name])]

    @cached_property
    def table(self) -> ClassTable:
        """The classes of the audited corpora."""
        return joint_classes(self.corpora)

    @cached_property
    def places(self) -> tuple[CorpusName, ...]:
        """The audited corpora, then those they are compared with, to be opened again."""
        return tuple(corpus.name for corpus in chain(self.corpora, self.against))

    @cached_property
    def index(self) -> SampleIndex:
        """The index of all samples."""
        return _index(self)

    @property
    def names(self) -> str:
        """The audited corpora as arguments of a command."""
        return shlex.join(self.request.corpora)

    @property
    def drop_command(self) -> str:
        """The commands that leave out the samples that the audit lists.

        The first one writes the list, unless this audit writes it.
        """
        report = self.request.report
        words = [word for name in self.request.against for word in ("--against", name)]
        listing = shlex.join(["hffkit", "audit", *self.request.corpora, *words])
        first = f"{listing} --out audit.json && " if report is None else ""
        listed = shlex.quote(str(report or "audit.json"))
        return f"{first}hffkit subset {self.names} --drop {listed} --out clean.lmdb"

    def shared(self, compute: Callable[["Audited"], T]) -> T:
        """Return the result of a function of the audited corpora, computed on first use."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        found: T = self._shared[compute]
        return found

    def items(self, at: Ints) -> Iterator[Item]:
        """Yield the samples at places of the index, each with its corpus."""
        yield from samples_at(self.index.places[at], self.places)

    def refs(self, at: Ints) -> tuple[SampleRef, ...]:
        """Return references to the samples at places of the index."""
        return tuple(SampleRef.of(corpus, sample) for corpus, sample in self.items(at))

    def read(self, at: Ints, work: Callable[[Corpus, Sample], T], *, label: str) -> Iterator[T]:
        """Yield the result of `work` for each sample at places of the index, in order, by workers.

        `label` names the work in the display of its progress.
        """
        places = self.index.places[at]
        blocks = [places[start : start + _BLOCK] for start in range(0, len(at), _BLOCK)]
        do = partial(_block_read, names=self.places, work=work)
        with Progress(len(at), unit="samples", label=label) as progress:
            for block in in_order(do, blocks, n_workers=self.n_workers):
                yield from block
                progress.step(len(block))

    def rng(self, *names: str) -> np.random.Generator:
        """Return the generator of a check's draws."""
        return rng_for(self.request.seed, "audit", *names)


def _block_read(
    places: Places, *, names: tuple[CorpusName, ...], work: Callable[[Corpus, Sample], T]
) -> list[T]:
    return [work(corpus, sample) for corpus, sample in samples_at(places, names)]


def fingerprint(*parts: object) -> int:
    """Return an 8-byte digest of some values."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_BYTES).digest(), "big")


def _of_hex(digest: str) -> int:
    return int(digest[: 2 * _BYTES], 16)


def _index(data: Audited) -> SampleIndex:
    numbers, prints = array("q"), array("Q")  # flat, for there may be a million samples
    ids: dict[tuple[str, bool], int] = {}  # a corpus compared with may call real what is fake here
    for row in chain(data.table, *(corpus.provenance.classes for corpus in data.against)):
        ids.setdefault((row.name, row.is_fake), len(ids))
    splits = {name: place for place, name in enumerate(SPLITS)}
    for number, corpus in enumerate(chain(data.corpora, data.against)):
        known = {row.name: ids[row.name, row.is_fake] for row in corpus.provenance.classes}
        for start, sample in zip(corpus.line_starts(), corpus.samples(), strict=True):
            if sample.cls not in known:
                raise ManifestError(
                    f"{corpus.path}: class {sample.cls!r} of {sample.key!r} is not in the class "
                    "table. Build the corpus again."
                )
            numbers.extend((number, start, known[sample.cls], splits[sample.split]))
            prints.extend(_fingerprints(sample, corpus.prefix))
    found = np.frombuffer(numbers, np.int64).reshape(-1, 4)
    pixels, origin, source, video, group = np.frombuffer(prints, np.uint64).reshape(-1, 5).T
    return SampleIndex(
        places=found[:, :2],
        is_audited=found[:, 0] < len(data.corpora),
        cls=found[:, 2],
        split=found[:, 3],
        pixels=pixels,
        origin=origin,
        source=source,
        video=video,
        group=group,
        class_names=tuple(name for name, _ in ids),
        is_fake=np.array([is_fake for _, is_fake in ids], bool),
    )


def _fingerprints(sample: Sample, prefix: str) -> tuple[int, int, int, int, int]:
    video = video_of(sample)
    return (
        _of_hex(sample.pixels_sha256),
        fingerprint(sample.source_sha256, sample.frame, sample.box),
        _of_hex(sample.source_sha256),
        0 if video is None else fingerprint(prefix, video),
        fingerprint(sample.group),
    )
