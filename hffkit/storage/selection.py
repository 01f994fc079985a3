"""Which records of which corpora, held as places in their manifests: 16 bytes a record."""

import hashlib
import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hffkit.errors import CorpusError
from hffkit.manifest.samples import GroupGuard, Sample, sample_of_line
from hffkit.manifest.seeds import rank
from hffkit.storage.corpus import MANIFEST_FILE, Corpus

_MOST = 512  # records in a block: 25 MB packed at 128 px
_LEAST = 16
_BLOCKS = 64  # at least, where there are records enough: no worker waits long for the last one

Places = npt.NDArray[np.int64]
"""(N, 2): the number of the corpus, and the byte at which the sample's line begins."""


@dataclass(frozen=True, slots=True)
class RecordBlock:
    """Neighbouring records, a unit of work."""

    number: int
    places: Places

    def __len__(self) -> int:
        return len(self.places)

    def samples(self, paths: Sequence[Path]) -> Iterator[tuple[Corpus, Sample]]:
        """Yield the samples with the corpus that each is in; `paths` are those of all corpora.

        Raises
        ------
        ManifestError
            If a line of a manifest is damaged.
        """
        numbers = set(self.places[:, 0].tolist())
        corpora = {number: Corpus(paths[number]) for number in numbers}
        with ExitStack() as stack:
            manifests = {
                number: stack.enter_context((paths[number] / MANIFEST_FILE).open("rb"))
                for number in numbers
            }
            for number, start in self.places.tolist():
                manifests[number].seek(start)
                line = manifests[number].readline()
                yield corpora[number], sample_of_line(line, f"{paths[number]} at byte {start}")


def places_of(corpora: Sequence[Corpus], keep: Callable[[Sample], bool] | None = None) -> Places:
    """Return the places of the samples that are to be kept, or of all, in order.

    Raises
    ------
    CorpusError
        If none are.
    ManifestError
        If the corpora together hold a key twice or a group in two splits.
    """
    found = array("q")
    if keep is None and len(corpora) == 1:  # nothing to look at the samples for
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
        names = ", ".join(str(corpus.path) for corpus in corpora)
        raise CorpusError(f"{names}: not one sample is selected; `hffkit inspect` counts them.")
    return np.frombuffer(found, np.int64).reshape(-1, 2)


def drawn(corpora: Sequence[Corpus], places: Places, n: int, seed: int) -> Places:
    """Return `n` of the places, in order, drawn by the keys of their samples."""
    samples = RecordBlock(0, places).samples([corpus.path for corpus in corpora])
    ranked = ((rank(seed, "limit", sample.key), i) for i, (_, sample) in enumerate(samples))
    return places[sorted(i for _, i in heapq.nsmallest(n, ranked))]


def blocks_of(places: Places) -> list[RecordBlock]:
    """Return the places in blocks, whose size depends on their number alone."""
    size = min(max(len(places) // _BLOCKS, _LEAST), _MOST)
    starts = range(0, len(places), size)
    return [RecordBlock(i, places[start : start + size]) for i, start in enumerate(starts)]


def block_name(block: RecordBlock) -> str:
    """Return a name for a block's part."""
    digest = hashlib.blake2b(str(block.number).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(block.places).data)
    return digest.hexdigest()
