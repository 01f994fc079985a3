"""`hffkit subset`: a corpus without some samples, or a small one with its classes and splits."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hffkit.corpus.derived import derived_provenance, pieces_of, write_derived
from hffkit.corpus.drop_list import check_known, read_drop_list
from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.pairs import frame_of
from hffkit.manifest.seeds import rank
from hffkit.options import Seed
from hffkit.storage.corpora import Item, identities, open_corpora, paths_text, samples_of
from hffkit.storage.corpus import Corpus, CorpusInfo
from hffkit.storage.parts import Record


@dataclass(frozen=True, slots=True)
class SubsetRequest:
    """The arguments of `hffkit subset`."""

    share: float  # of each class in each split
    seed: Seed = 0
    drop: Path | None = None  # a list of samples that are left out before


def check_share(share: float) -> None:
    """Raise ArgumentError unless `share` is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise ArgumentError(f"`share` must be above 0 and at most 1, got {share:g}.")


def quota(n: int, share: float) -> int:
    """Return the number of samples to keep of `n`: the share, rounded up."""
    return math.ceil(n * share - 1e-9)


def subset(names: Sequence[str], out: Path, request: SubsetRequest) -> CorpusInfo:
    """Write a part of corpora, treated as one, to the corpus `out` and return its contents.

    The samples that `drop` lists are left out first. The share of each class in each split is
    rounded up. Samples are drawn by their keys; records, keys and order do not change. The
    qualities of a frame are drawn together, up to rounding. `out` must not exist; the same call
    resumes an interrupted one.

    Raises
    ------
    CorpusError
        If the list of samples to drop names others, or all.
    """
    check_share(request.share)
    corpora = open_corpora(names)
    options: dict[str, object] = {
        **identities(corpora),
        "share": request.share,
        "seed": request.seed,
    }
    dropped: frozenset[str] = frozenset()
    if request.drop is not None:
        dropped = _dropped(corpora, request.drop)
        listed = "\0".join(sorted(dropped)).encode("utf-8", "surrogateescape")
        options["dropped"] = {"n": len(dropped), "sha256": hashlib.sha256(listed).hexdigest()}
    provenance = derived_provenance(corpora, "subset", options)
    chosen = _chosen(corpora, request, dropped)
    items = (item for item in samples_of(corpora) if item[1].key in chosen)
    pieces = pieces_of(items, _records)
    return write_derived(out, provenance, pieces, label="subset", n_samples=len(chosen))


def _dropped(corpora: Sequence[Corpus], path: Path) -> frozenset[str]:
    keys = read_drop_list(path)
    unknown = set(keys)
    n_samples = 0
    for _, sample in samples_of(corpora):
        unknown.discard(sample.key)
        n_samples += 1
    names = paths_text(corpora)
    check_known(path, sorted(unknown), len(keys), names)
    if len(keys) == n_samples:
        raise CorpusError(f"{path}: lists all {n_samples} samples of {names}; none would be left.")
    return keys


def _chosen(corpora: Sequence[Corpus], request: SubsetRequest, dropped: frozenset[str]) -> set[str]:
    ranked: dict[tuple[str, str], list[tuple[bytes, str]]] = {}
    for _, sample in samples_of(corpora):
        if sample.key in dropped:
            continue
        row = (rank(request.seed, "subset", frame_of(sample.key)), sample.key)
        ranked.setdefault((sample.cls, sample.split), []).append(row)
    return {
        key
        for rows in ranked.values()
        for _, key in sorted(rows)[: quota(len(rows), request.share)]
    }


def _records(item: Item) -> Iterator[Record]:
    corpus, sample = item
    yield Record(sample._replace(index=None), corpus.value(sample))


def smallest(corpora: Sequence[Corpus], share: float) -> dict[str, tuple[str, int]]:
    """Return, by split, the smallest class of a subset and its number of samples."""
    counts: Counter[tuple[str, str]] = Counter()
    for corpus in corpora:
        for name, splits in corpus.info.counts.items():
            for split, n in splits.items():
                counts[name, split] += n
    found: dict[str, tuple[str, int]] = {}
    for (name, split), n in sorted(counts.items()):
        kept = quota(n, share)
        if split not in found or kept < found[split][1]:
            found[split] = (name, kept)
    return found
