"""`hffkit verify`: compare every record of a corpus with its manifest."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice

from hffkit.errors import HffkitError, ManifestError, StorageError
from hffkit.execution.progress import Progress
from hffkit.faces.detection import read_boxes
from hffkit.manifest.failures import Failure, read_failures
from hffkit.manifest.samples import GroupGuard, Sample
from hffkit.media.headers import kind_of_image
from hffkit.media.image import pixels_sha256
from hffkit.media.messages import caught_messages
from hffkit.storage.corpora import open_corpora
from hffkit.storage.corpus import (
    BOXES_FILE,
    CORPUS_FILE,
    FAILURES_FILE,
    MANIFEST_FILE,
    Corpus,
    nested,
)
from hffkit.storage.datum import decode_datum, encode_datum
from hffkit.storage.digests import Digests
from hffkit.storage.duplicates import Duplicates

_CHUNK = 256
Row = tuple[Sample | None, tuple[bytes, bytes] | None]


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction between a corpus and its manifest."""

    corpus: str
    key: str
    reason: str


def verify(
    names: Sequence[str],
    *,
    n_workers: int,
    on_duplicates: Callable[[Sequence[Failure]], object] = lambda _: None,
    on_older: Callable[[Corpus], object] = lambda _: None,
) -> Iterator[Problem]:
    """Yield a problem for each altered file and each wrong record, group or digest of corpora.

    `on_duplicates` is called at the end with files and images that are in two classes or splits, if
    any are; the records match the manifest all the same. `on_older` is called with each corpus that
    has no digests of its files: what of it is altered is found only where it contradicts a record.

    Raises
    ------
    StorageError, ManifestError
        If a corpus.json was altered, or a file is so damaged that it cannot be read.
    """
    corpora = open_corpora(names)
    for corpus in corpora:
        if not corpus.info.files_sha256:
            on_older(corpus)
    guard, duplicates = GroupGuard(), Duplicates()
    total = sum(corpus.n_samples for corpus in corpora)
    with Progress(total, unit="samples", label="verify") as progress:
        for corpus in corpora:
            for problem in _of_files(corpus):
                yield Problem(str(corpus.path), *problem)
            for problem in _verify_one(corpus, guard, duplicates, n_workers, progress):
                yield Problem(str(corpus.path), *problem)
    found = list(
        duplicates.failures(lambda: chain.from_iterable(c.samples_as_found() for c in corpora))
    )
    if found and corpora[0].provenance.holds == "faces":
        on_duplicates(found)


def _of_files(corpus: Corpus) -> Iterator[tuple[str, str]]:
    """Yield a problem for each file beside the records that was altered or contradicts others."""
    for name in (MANIFEST_FILE, FAILURES_FILE, BOXES_FILE):
        reason = corpus.alteration(name)
        if reason is not None:
            yield name, reason
    kinds = Counter(row.kind for row in read_failures(corpus.path / FAILURES_FILE))
    if kinds != corpus.info.failures:
        told, should = json.dumps(corpus.info.failures), json.dumps(kinds, sort_keys=True)
        yield FAILURES_FILE, f"holds {should}, where {CORPUS_FILE} counts {told}"
    read_boxes(corpus.path / BOXES_FILE)


def _verify_one(
    corpus: Corpus,
    guard: GroupGuard,
    duplicates: Duplicates,
    n_workers: int,
    progress: Progress,
) -> Iterator[tuple[str, str]]:
    digests = Digests()
    counts: Counter[tuple[str, str]] = Counter()
    rows = _joined(corpus)
    with ThreadPoolExecutor(n_workers) as pool:  # decoding and hashing release the lock
        while chunk := list(islice(rows, _CHUNK)):
            for sample, item in chunk:
                if sample is not None:
                    counts[sample.cls, sample.split] += 1
                    duplicates.add(sample)
                    yield from _group_problem(sample, guard)
                if sample is not None and item is not None:
                    with suppress(StorageError):  # not a Datum: `_check` reports it
                        digests.add(sample, *item)
            with caught_messages() as heard:  # of all threads
                found = list(pool.map(lambda row: _check(corpus, row), chunk))
            yield from chain.from_iterable(found)
            if heard.serious:
                yield from _damaged(chunk)
            progress.step(len(chunk))
    recorded = corpus.info.to_json()
    for name, value in (("counts", nested(counts)), *digests.to_json().items()):
        if recorded[name] != value:
            should, told = json.dumps(value), json.dumps(recorded[name])
            yield CORPUS_FILE, f"{name} should be {should}, is {told}"


def _joined(corpus: Corpus) -> Iterator[Row]:
    """Join samples and records by key; both are in key order."""
    samples, items = corpus.samples_as_found(), corpus.records.items()
    sample, item = next(samples, None), next(items, None)
    while sample is not None or item is not None:
        if item is None or (sample is not None and corpus.lmdb_key(sample) < item[0]):
            yield sample, None
            sample = next(samples, None)
        elif sample is None or item[0] < corpus.lmdb_key(sample):
            yield None, item
            item = next(items, None)
        else:
            yield sample, item
            sample, item = next(samples, None), next(items, None)


def _group_problem(sample: Sample, guard: GroupGuard) -> Iterator[tuple[str, str]]:
    try:
        guard.check(sample)
    except ManifestError as error:
        yield sample.key, str(error)


def _check(corpus: Corpus, row: Row) -> list[tuple[str, str]]:
    sample, item = row
    if sample is None:
        key = item[0].decode("utf-8", "replace") if item else ""
        return [(key, "a record that is not in the manifest")]
    if item is None:
        return [(sample.key, "no record of this key in data.mdb")]
    return [(sample.key, reason) for reason in _reasons(corpus, sample, item[1])]


def _damaged(rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """Yield a problem for each image whose decoder complains.

    Such images are left out of corpora, but not of those that versions before 2026-12 made.
    """
    for sample, item in rows:
        with suppress(HffkitError):  # `_check` reports it
            if sample is None or item is None or not (datum := decode_datum(item[1])).encoded:
                continue
            encoded = bytes(datum.data)
            with caught_messages() as heard:
                datum.image()
            if reason := heard.damage(encoded, kind_of_image(encoded)):
                yield sample.key, f"the stored image is damaged: {reason}"


def _reasons(corpus: Corpus, sample: Sample, value: bytes) -> Iterator[str]:
    try:
        datum = decode_datum(value)
        yield from corpus.faults(sample, datum)
        if encode_datum(datum) != value:
            yield "the record holds more than a Datum, or its fields in another order"
        if pixels_sha256(datum.image()) != sample.pixels_sha256:
            yield "sha256 of the decoded pixels differs (another decoder version?)"
    except HffkitError as error:
        yield f"cannot be decoded: {error}"
