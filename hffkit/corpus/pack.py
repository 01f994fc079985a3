"""`hffkit pack`: raw Datums of one size, made of corpora, for training with Caffe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from hffkit.degrade.rework import Rework, Treatment, plan_of
from hffkit.execution.assemble import assemble
from hffkit.execution.versions import versions
from hffkit.manifest.classes import LabelKind
from hffkit.manifest.samples import SPLITS
from hffkit.manifest.seeds import rank
from hffkit.options import Bounds, Seed
from hffkit.storage.corpora import identities, joint_classes, open_corpora
from hffkit.storage.corpus import Corpus, CorpusInfo, CorpusName, Provenance
from hffkit.storage.record import check_packed_size
from hffkit.storage.selection import Places, places_of, samples_at
from hffkit.storage.staging import Partial


@dataclass(frozen=True, slots=True)
class PackRequest:
    """The arguments of `hffkit pack`."""

    size: int = 128
    labels: LabelKind = "multi"
    per_split: bool = False
    shard_size: Annotated[int | None, Bounds(1)] = None  # records in each LMDB; None: one LMDB
    shuffle: bool = False
    seed: Seed = 0


def pack(
    names: Sequence[str],
    out: Path,
    request: PackRequest,
    *,
    n_workers: int,
    scheduler: str | None = None,
) -> list[tuple[Path, CorpusInfo]]:
    """Pack corpora and return the path and contents of each database written.

    A single database is the corpus `out` itself. With `per_split` or `shard_size`, `out` is a
    folder of corpora: train_lmdb, val_lmdb and test_lmdb, shards with -00000 and so on appended.
    """
    check_packed_size(request.size)
    corpora = open_corpora(names)
    sources = tuple(corpus.name for corpus in corpora)
    places = places_of(corpora)
    if request.shuffle:
        ranks = [rank(request.seed, "shuffle", s.key) for _, s in samples_at(places, sources)]
        places = places[sorted(range(len(places)), key=ranks.__getitem__)]
    provenance = _provenance(corpora, request)
    work = Rework(sources, provenance, Treatment((), None, "native", request.size, request.seed))

    def write(path: Path, places: Places, label: str) -> CorpusInfo:
        plan = plan_of(work, places, label)
        return assemble(path, provenance, plan, n_workers=n_workers, scheduler=scheduler)

    if not request.per_split and request.shard_size is None:
        return [(out, write(out, places, "pack"))]
    done = []
    with Partial(out, provenance.to_json()) as partial:
        partial.make_product()
        for name, share in _databases(sources, places, request):
            path = partial.product / name
            info = Corpus(path).info if path.exists() else write(path, share, name)
            done.append((out / name, info))
        partial.publish()
    return done


def _provenance(corpora: Sequence[Corpus], request: PackRequest) -> Provenance:
    return Provenance(
        classes=joint_classes(corpora),
        size=request.size,
        labels=request.labels,
        verb="pack",
        options={
            **identities(corpora),
            "per_split": request.per_split,
            "shard_size": request.shard_size,
            "shuffle": request.shuffle,
            "seed": request.seed,
        },
        versions=versions(),
        holds=corpora[0].provenance.holds,
    )


def _databases(
    sources: Sequence[CorpusName], places: Places, request: PackRequest
) -> Iterator[tuple[str, Places]]:
    sets = [("shard", places)]
    if request.per_split:
        splits = np.array([sample.split for _, sample in samples_at(places, sources)])
        sets = [(f"{split}_lmdb", places[splits == split]) for split in SPLITS]
    for name, share in sets:
        size = request.shard_size
        if size is None:
            if len(share):
                yield name, share
            continue
        for number, start in enumerate(range(0, len(share), size)):
            yield f"{name}-{number:05d}", share[start : start + size]
