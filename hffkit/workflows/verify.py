"""`hffkit verify`: every record of a corpus against its manifest."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, zip_longest

from hffkit.errors import HffkitError, ManifestError
from hffkit.imaging import pixels_sha256
from hffkit.manifest.samples import GroupGuard, Sample
from hffkit.storage.corpus import Corpus, Digests
from hffkit.storage.datum import decode_datum
from hffkit.workflows.corpora import open_corpora
from hffkit.workflows.progress import Progress

_CHUNK = 256
Row = tuple[Sample | None, tuple[bytes, bytes] | None]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as the manifest says."""

    corpus: str
    key: str
    reason: str


def verify(names: Sequence[str], *, n_workers: int) -> Iterator[Problem]:
    """Yield a problem for each bad record, group, or digest of the corpora taken as one."""
    corpora = open_corpora(names)
    guard = GroupGuard()
    total = sum(corpus.n_samples for corpus in corpora)
    with Progress(total, unit="samples", label="verify") as progress:
        for corpus in corpora:
            for problem in _verify_one(corpus, guard, n_workers, progress):
                yield Problem(str(corpus.path), *problem)


def _verify_one(
    corpus: Corpus, guard: GroupGuard, n_workers: int, progress: Progress
) -> Iterator[tuple[str, str]]:
    digests = Digests()
    rows: Iterator[Row] = iter(zip_longest(corpus.samples(), corpus.records.items()))
    n_samples = 0
    with ThreadPoolExecutor(n_workers) as pool:  # decoding and hashing release the lock
        while chunk := list(islice(rows, _CHUNK)):
            n_samples += sum(sample is not None for sample, _ in chunk)
            for row in chunk:
                yield from _take_in(row, guard, digests)
            for found in pool.map(lambda row: _check(corpus, row), chunk):
                yield from found
            progress.step(len(chunk))
    if n_samples != corpus.n_samples:
        yield "manifest.jsonl", f"holds {n_samples} samples, corpus.json says {corpus.n_samples}"
    for name, digest in digests.to_json().items():
        if corpus.json[name] != digest:
            yield "corpus.json", f"{name} is {digest}, it says {corpus.json[name]}"


def _take_in(row: Row, guard: GroupGuard, digests: Digests) -> Iterator[tuple[str, str]]:
    sample, item = row
    if sample is None:
        return
    try:
        guard.check(sample)
    except ManifestError as error:
        yield sample.key, str(error)
    if item is not None:
        digests.add(sample, *item)


def _check(corpus: Corpus, row: Row) -> list[tuple[str, str]]:
    sample, item = row
    if item is None:
        return [(sample.key if sample else "", "no record under its key in data.mdb")]
    key = item[0].decode("utf-8", "replace")
    if sample is None:
        return [(key, "a record that the manifest does not know")]
    if item[0] != sample.lmdb_key:
        return [(sample.key, f"the manifest's key is {sample.lmdb_key!r}, data.mdb has {key!r}")]
    return [(sample.key, reason) for reason in _reasons(corpus, sample, item[1])]


def _reasons(corpus: Corpus, sample: Sample, value: bytes) -> Iterator[str]:
    try:
        datum = decode_datum(value)
        if datum.label != corpus.label(sample):
            yield f"label is {datum.label}, class {sample.cls} has {corpus.label(sample)}"
        if hashlib.sha256(datum.data).hexdigest() != sample.sha256:
            yield "sha256 of the stored bytes differs"
        image = datum.image()
        size = corpus.recipe.size
        if size is not None and image.shape[:2] != (size, size):
            yield f"is {image.shape[1]}x{image.shape[0]} in a corpus packed at {size}"
        if pixels_sha256(image) != sample.pixels_sha256:
            yield "sha256 of the decoded pixels differs (another decoder version?)"
    except HffkitError as error:
        yield f"cannot be decoded: {error}"
