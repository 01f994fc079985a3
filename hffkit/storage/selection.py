"""Selections of records, held as places in manifests: 16 bytes for each record."""

import hashlib
import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
import numpy.typing as npt

from hffkit.errors import CorpusError
from hffkit.manifest.samples import GroupGuard, Sample
from hffkit.manifest.seeds import rank
from hffkit.storage.corpora import Item, paths_text
from hffkit.storage.corpus import Corpus, CorpusName

_MAX_RECORDS = 512  # in a block: 25 MB packed at 128 px
_MIN_RECORDS = 16
_MAX_OPEN = 16  # manifests of one selection
_MIN_BLOCKS = 64  # if there are enough records: workers then finish at about the same time

Places = npt.NDArray[np.int64]
"""(N, 2): the number of the corpus, and the byte where the sample's line begins."""


@dataclass(frozen=True, slots=True)
class RecordBlock:
    """Consecutive records, as a unit of work."""

    number: int
    places: Places

    def __len__(self) -> int:
        return len(self.places)

    def singly(self) -> "list[RecordBlock]":
        """Return a unit for each record."""
        return [replace(self, places=self.places[i : i + 1]) for i in range(len(self))]


def samples_at(places: Places, names: Sequence[CorpusName]) -> Iterator[Item]:
    """Yield the samples at some places, each with its corpus; `names` are those of all corpora.

    Raises
    ------
    ManifestError
        If a line of a manifest is damaged.
    """
    corpora = {number: Corpus(*names[number]) for number in set(places[:, 0].tolist())}
    manifests: dict[int, IO[bytes]] = {}  # open ones, the one used last at the end
    try:
        for number, start in places.tolist():
            corpus = corpora[number]
            manifest = manifests.pop(number, None) or corpus.open_manifest()
            manifests[number] = manifest
            if len(manifests) > _MAX_OPEN:
                manifests.pop(next(iter(manifests))).close()
            manifest.seek(start)
            yield corpus, corpus.sample_at(manifest.readline(), start)
    finally:
        for manifest in manifests.values():
            manifest.close()


def places_of(corpora: Sequence[Corpus], keep: Callable[[Sample], bool] | None = None) -> Places:
    """Return the places of the samples to keep, or of all, in order.

    Raises
    ------
    CorpusError
        If no sample is kept.
    ManifestError
        If the corpora together have a key twice or a group in two splits.
    """
    found = array("q")
    if keep is None and len(corpora) == 1:  # no need to parse the manifest
        for start in corpora[0].line_starts():
            found.extend((0, start))
    else:
        guard = GroupGuard()
        for number, corpus in enumerate(corpora):
            for start, sample in zip(corpus.line_starts(), corpus.samples(), strict=True):
                guard.check(sample)
                if keep is None or keep(sample):
                    found.extend((number, start))
    if not found:
        raise CorpusError(
            f"{paths_text(corpora)}: no sample is selected; `hffkit inspect` counts them."
        )
    return np.frombuffer(found, np.int64).reshape(-1, 2)


def drawn(corpora: Sequence[Corpus], places: Places, n: int, seed: int) -> Places:
    """Draw `n` of the places by the keys of their samples and return them in order."""
    samples = samples_at(places, [corpus.name for corpus in corpora])
    ranked = ((rank(seed, "limit", sample.key), i) for i, (_, sample) in enumerate(samples))
    return places[sorted(i for _, i in heapq.nsmallest(n, ranked))]


def blocks_of(places: Places) -> list[RecordBlock]:
    """Split places into blocks of a size that depends only on the number of places."""
    size = min(max(len(places) // _MIN_BLOCKS, _MIN_RECORDS), _MAX_RECORDS)
    starts = range(0, len(places), size)
    return [RecordBlock(i, places[start : start + size]) for i, start in enumerate(starts)]


def block_name(block: RecordBlock) -> str:
    """Return the name of a block's part, a digest of its number and places."""
    digest = hashlib.blake2b(str(block.number).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(block.places).data)
    return digest.hexdigest()
