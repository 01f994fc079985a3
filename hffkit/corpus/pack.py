"""`hffkit pack`: native corpora to raw Datums of one size, as Caffe trains on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from hffkit.degrade.rework import Rework, Treatment, plan_of
from hffkit.execution.assemble import assemble
from hffkit.execution.versions import versions
from hffkit.manifest.classes import LabelKind
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.manifest.seeds import rank
from hffkit.options import Bounds, Seed
from hffkit.storage.corpora import joint_classes, open_corpora
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance
from hffkit.storage.record import check_size
from hffkit.storage.selection import Places, RecordBlock, places_of
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
    """Pack corpora taken as one and return the path and contents of each database written.

    One database is the corpus `out` itself. With `per_split` or `shard_size` `out` is a folder
    of corpora: train_lmdb, val_lmdb, test_lmdb, and -00000 and so on behind the name of a shard.
    """
    check_size(request.size)
    corpora = open_corpora(names)
    places = places_of(corpora)
    if request.shuffle:
        ranks = [rank(request.seed, "shuffle", sample.key) for sample in _samples(corpora, places)]
        places = places[sorted(range(len(places)), key=ranks.__getitem__)]
    provenance = Provenance(
        classes=joint_classes(corpora),
        layout="packed",
        size=request.size,
        labels=request.labels,
        verb="pack",
        options={
            "content_sha256": [corpus.content_sha256 for corpus in corpora],
            "manifest_sha256": [corpus.manifest_sha256() for corpus in corpora],
            "per_split": request.per_split,
            "shard_size": request.shard_size,
            "shuffle": request.shuffle,
            "seed": request.seed,
        },
        versions=versions(),
        holds=corpora[0].provenance.holds,
    )
    treatment = Treatment((), None, "native", request.size, request.seed)
    work = Rework(tuple(corpus.path for corpus in corpora), provenance, treatment)
    if not request.per_split and request.shard_size is None:
        plan = plan_of(work, places, "pack")
        return [(out, assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler))]
    with Partial(out, provenance.to_json()) as partial:
        partial.product.mkdir(exist_ok=True)
        done = []
        for name, share in _databases(corpora, places, request):
            path = partial.product / name
            if path.exists():
                info = Corpus(path).info
            else:
                plan = plan_of(work, share, name)
                info = assemble(path, provenance, plan, n_workers=n_workers, scheduler=scheduler)
            done.append((out / name, info))
        partial.publish()
    return done


def _samples(corpora: Sequence[Corpus], places: Places) -> Iterator[Sample]:
    paths = [corpus.path for corpus in corpora]
    return (sample for _, sample in RecordBlock(0, places).samples(paths))


def _databases(
    corpora: Sequence[Corpus], places: Places, request: PackRequest
) -> Iterator[tuple[str, Places]]:
    sets = [("shard", places)]
    if request.per_split:
        splits = np.array([sample.split for sample in _samples(corpora, places)])
        sets = [(f"{split}_lmdb", places[splits == split]) for split in SPLITS]
    for name, share in sets:
        size = request.shard_size
        if size is None:
            if len(share):
                yield name, share
            continue
        for number, start in enumerate(range(0, len(share), size)):
            yield f"{name}-{number:05d}", share[start : start + size]
