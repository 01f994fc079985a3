"""`hffkit verify`: compare every record of a corpus with its manifest."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from hffkit.errors import HffkitError, ManifestError, StorageError
from hffkit.execution.progress import Progress
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import GroupGuard, Sample
from hffkit.media.image import pixels_sha256
from hffkit.storage.corpora import open_corpora, samples_of
from hffkit.storage.corpus import CORPUS_FILE, Corpus, Digests, nested
from hffkit.storage.datum import decode_datum
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
) -> Iterator[Problem]:
    """Yield a problem for each bad record, group or digest of corpora, treated as one.

    `on_duplicates` is called at the end with files and images that are in two classes or splits, if
    any are; the records match the manifest all the same.
    """
    corpora = open_corpora(names)
    guard, duplicates = GroupGuard(), Duplicates()
    total = sum(corpus.n_samples for corpus in corpora)
    with Progress(total, unit="samples", label="verify") as progress:
        for corpus in corpora:
            for problem in _verify_one(corpus, guard, duplicates, n_workers, progress):
                yield Problem(str(corpus.path), *problem)
    found = list(duplicates.failures(lambda: (sample for _, sample in samples_of(corpora))))
    if found and corpora[0].provenance.holds == "faces":
        on_duplicates(found)


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
            for found in pool.map(lambda row: _check(corpus, row), chunk):
                yield from found
            progress.step(len(chunk))
    recorded = corpus.info.to_json()
    for name, value in (("counts", nested(counts)), *digests.to_json().items()):
        if recorded[name] != value:
            should, told = json.dumps(value), json.dumps(recorded[name])
            yield CORPUS_FILE, f"{name} should be {should}, is {told}"


def _joined(corpus: Corpus) -> Iterator[Row]:
    """Join samples and records by key; both are in key order."""
    samples, items = corpus.samples(), corpus.records.items()
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


def _reasons(corpus: Corpus, sample: Sample, value: bytes) -> Iterator[str]:
    try:
        datum = decode_datum(value)
        if sample.cls not in corpus.provenance.classes.names:
            yield f"class {sample.cls!r} is not in the class table"
        elif datum.label != corpus.label(sample):
            yield f"label is {datum.label}, class {sample.cls} has {corpus.label(sample)}"
        if hashlib.sha256(datum.data).hexdigest() != sample.sha256:
            yield "sha256 of the stored bytes differs"
        image = datum.image()
        size = corpus.provenance.size
        if size is not None and image.shape[:2] != (size, size):
            yield f"is {image.shape[1]}x{image.shape[0]} in a corpus packed at {size}"
        if pixels_sha256(image) != sample.pixels_sha256:
            yield "sha256 of the decoded pixels differs (another decoder version?)"
    except HffkitError as error:
        yield f"cannot be decoded: {error}"
