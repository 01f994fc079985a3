"""`hffkit mix`: a training set of a corpus and its degraded copies."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Bools, Ints
from hffkit.corpus.derived import derived_provenance, pieces_of, write_derived
from hffkit.errors import ArgumentError, CorpusError, named
from hffkit.manifest.failures import FATAL, Failure, read_failures
from hffkit.manifest.samples import MAX_KEY_BYTES, Sample, Split, lmdb_key
from hffkit.manifest.seeds import rank
from hffkit.options import Seed
from hffkit.storage.corpora import Item, check_alike, joint_classes, open_corpora, samples_of
from hffkit.storage.corpus import FAILURES_FILE, Corpus, CorpusInfo
from hffkit.storage.parts import Record

# Table XI: the middle set of 165k takes 55,000 of each source's 124,000 images.
_MIDDLE = Fraction(55, 124)

Chosen = Bools
"""(S, N): True where image n is taken from source s."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The images to draw training samples from, in corpus order."""

    classes: Ints  # (N,) numbers of classes
    ranks: npt.NDArray[np.uint64]  # (S, N) sort keys that shuffle the images for each source


def _middle(pool: Pool) -> Chosen:
    """Draw 55/124 of the images from each source, the same share of each class."""
    chosen = np.zeros(pool.ranks.shape, bool)
    quotas = quotas_of(np.bincount(pool.classes).tolist(), _MIDDLE)
    for row, ranks in zip(chosen, pool.ranks, strict=True):
        for number, quota in enumerate(quotas):
            members = np.flatnonzero(pool.classes == number)
            row[members[np.argsort(ranks[members])[:quota]]] = True
    return chosen


def _small(pool: Pool) -> Chosen:
    """Divide the images of each class among the sources, so that each image is taken once."""
    chosen = np.zeros(pool.ranks.shape, bool)
    shuffled = np.lexsort((pool.ranks[0], pool.classes))  # grouped by class
    chosen[np.arange(len(shuffled)) % len(chosen), shuffled] = True
    return chosen


PROPORTIONS: Mapping[str, Callable[[Pool], Chosen]] = {
    "small": _small,
    "middle": _middle,
    "large": lambda pool: np.ones(pool.ranks.shape, bool),
}


def quotas_of(sizes: Sequence[int], share: Fraction) -> list[int]:
    """Return `share` of each size, rounded so that the quotas sum to `share` of the total."""
    quotas = [int(size * share) for size in sizes]
    missing = round(sum(sizes) * share) - sum(quotas)
    by_rest = sorted(range(len(sizes)), key=lambda i: quotas[i] - sizes[i] * share)
    for i in by_rest[:missing]:
        quotas[i] += 1
    return quotas


def mixed_size(proportion: str, sizes: Sequence[int], n_sources: int) -> int:
    """Return the number of training samples drawn from a pool, given the size of each class."""
    classes = np.repeat(np.arange(len(sizes)), sizes)
    pool = Pool(classes, np.zeros((n_sources, len(classes)), np.uint64))
    return int(named(PROPORTIONS, proportion, "proportion")(pool).sum())


@dataclass(frozen=True, slots=True)
class MixRequest:
    """The arguments of `hffkit mix`."""

    proportion: str = "large"  # a name of PROPORTIONS
    paper_pool: bool = False  # draw from train and val, as the sizes in the paper imply
    seed: Seed = 0


def mix(names: Sequence[str], out: Path, request: MixRequest) -> CorpusInfo:
    """Write the training set `out`, which must not exist, and return its contents.

    The same call resumes an interrupted one. A sharded corpus is named as a folder or glob.

    The first corpus is raw. The others hold degraded copies of its images under the same keys, in
    the same order. Training samples are drawn from all corpora, and depend on their order; the key
    of a copy names its operations: KEY@jp-mix. Validation and test samples are those of the first
    corpus, unchanged. With `paper_pool` its validation samples are in the pool too, and become
    training samples. An image that is unreadable in a copy is left out of all, and recorded.

    Raises
    ------
    CorpusError
        If the corpora do not hold the same images, or two of them hold the same copies.
    """
    choose = named(PROPORTIONS, request.proportion, "proportion")
    sources = [open_corpora([name]) for name in names]
    if len(sources) < 2:
        raise ArgumentError("mix needs the raw corpus and at least one degraded copy of it.")
    corpora = [corpus for source in sources for corpus in source]
    check_alike(corpora)
    pooled: tuple[Split, ...] = ("train", "val") if request.paper_pool else ("train",)
    chosen = choose(_pool(sources, pooled, request.seed))
    provenance = derived_provenance(
        corpora,
        "mix",
        {
            "content_sha256": [[c.content_sha256 for c in source] for source in sources],
            "manifest_sha256": [[c.manifest_sha256() for c in source] for source in sources],
            "proportion": request.proportion,
            "paper_pool": request.paper_pool,
            "seed": request.seed,
        },
    )
    pieces = pieces_of(_rows(sources, pooled), partial(_events, chosen=chosen))
    n_samples = sum(corpus.n_samples for corpus in sources[0])
    return write_derived(out, provenance, pieces, label="mix", n_samples=n_samples)


@dataclass(frozen=True, slots=True)
class _Version:
    """The image of one source, and its key in the mixed set."""

    corpus: Corpus
    sample: Sample
    key: str


@dataclass(frozen=True, slots=True)
class _Row:
    """An image of the raw corpus, with all its versions if it is in the pool."""

    place: int | None  # in the pool
    versions: tuple[_Version, ...]  # the raw one first; empty if the image is left out
    failure: Failure | None = None  # the reason for leaving it out


def _rows(sources: Sequence[Sequence[Corpus]], pooled: Sequence[Split]) -> Iterator[_Row]:
    """Yield all images; check that the sources hold different copies of the same ones."""
    copies = [
        (item for item in samples_of(source) if item[1].split in pooled) for source in sources[1:]
    ]
    unreadable = [_unreadable(source) for source in sources[1:]]
    places = count()
    for corpus, sample in samples_of(sources[0]):
        raw = _Version(corpus, sample, sample.key)
        if sample.split not in pooled:
            yield _Row(None, (raw,))
            continue
        lost_in = zip(sources[1:], unreadable, strict=True)
        lacking = [source for source, lost in lost_in if sample.key in lost]
        versions = [raw]
        for source, copy in zip(sources[1:], copies, strict=True):
            if source not in lacking:
                versions.append(_copy_of(raw, next(copy, None), source))
        if lacking:
            reason = f"unreadable when {lacking[0][0].path} was made"
            yield _Row(None, (), Failure("unreadable", sample.key, None, reason))
            continue
        _check_keys(versions)
        yield _Row(next(places), tuple(versions))
    for copy in copies:
        left = next(copy, None)
        if left is not None:
            raise CorpusError(
                f"{left[0].path} has {left[1].key!r} after all images of {sources[0][0].path}. "
                "Name first the corpus that the others were made from."
            )


def _unreadable(source: Sequence[Corpus]) -> set[str]:
    """Return the keys of records that were unreadable when a copy was made."""
    failures = (f for corpus in source for f in read_failures(corpus.file(FAILURES_FILE)))
    return {failure.path for failure in failures if failure.kind in FATAL}


def _copy_of(raw: _Version, found: Item | None, source: Sequence[Corpus]) -> _Version:
    """Check that the next sample of a source is a copy of the raw image, and return it."""
    if found is None or _identity(found[1]) != _identity(raw.sample):
        path = source[-1].path if found is None else found[0].path
        got = "nothing more" if found is None else repr(found[1].key)
        if found is not None and found[1].key == raw.key:
            got = "another image, class, split or group of that name"
        raise CorpusError(
            f"{path} does not hold the images of {raw.corpus.path}: at {raw.key!r} it has {got}. "
            "Degrade the whole corpus, and see the failures.jsonl of both."
        )
    corpus, sample = found
    n_done = len(raw.sample.operations)
    if sample.operations[:n_done] != raw.sample.operations:
        raise CorpusError(
            f"{corpus.path} was not made from {raw.corpus.path}, where {raw.key!r} has the "
            f"operations {_names(raw.sample)}. Name first the corpus that the others were made "
            "from."
        )
    suffix = "".join(f"@{name}" for name in _applied(sample.operations[n_done:]))
    return _Version(corpus, sample, sample.key + suffix)


def _applied(operations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of operations, or once that of the suite which several were drawn from."""
    by_suite = groupby(operations, lambda row: row.get("suite"))
    return [
        name
        for suite, several in by_suite
        for name in ([suite] if suite else [str(row["op"]) for row in several])
    ]


def _identity(sample: Sample) -> tuple[str, ...]:
    return (sample.key, sample.cls, sample.split, sample.group, sample.source_sha256)


def _names(sample: Sample) -> str:
    return ", ".join(str(row["op"]) for row in sample.operations) or "none"


def _check_keys(versions: Sequence[_Version]) -> None:
    seen: dict[str, _Version] = {}
    for version in versions:
        other = seen.setdefault(version.key, version)
        if other is not version:
            raise CorpusError(
                f"{other.corpus.path} and {version.corpus.path} are copies by the same "
                f"operations: {_names(version.sample)}."
            )
        if len(lmdb_key(0, version.key)) > MAX_KEY_BYTES:
            raise CorpusError(
                f"{version.key!r}: longer than the {MAX_KEY_BYTES} bytes that LMDB gives a key."
            )


def _pool(sources: Sequence[Sequence[Corpus]], pooled: Sequence[Split], seed: int) -> Pool:
    """Return the pool; check that the sources hold copies of the same images."""
    table = joint_classes([corpus for source in sources for corpus in source])
    numbers = {name: number for number, name in enumerate(table.names)}
    classes, ranks = array("q"), [array("Q") for _ in sources]
    for row in _rows(sources, pooled):
        if row.place is None:
            continue
        sample = row.versions[0].sample
        classes.append(numbers[sample.cls])
        for source, column in enumerate(ranks):
            column.append(int.from_bytes(rank(seed, "mix", str(source), sample.key)[:8], "big"))
    if not classes:
        raise CorpusError(f"{sources[0][0].path}: no sample in {' or '.join(pooled)}.")
    return Pool(np.array(classes), np.array([np.array(column) for column in ranks]))


def _events(row: _Row, chosen: Chosen) -> Iterator[Record | Failure]:
    if row.failure is not None:
        yield row.failure
    for i, version in enumerate(row.versions):
        if row.place is None:
            again = version.sample._replace(index=None)
        elif chosen[i, row.place]:
            again = version.sample._replace(key=version.key, split="train", index=None)
        else:
            continue
        yield Record(again, version.corpus.value(version.sample))
