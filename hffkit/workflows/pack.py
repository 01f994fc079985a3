"""`hffkit pack`: native corpora to raw Datums of one size, as Caffe trains on them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hffkit.corpus.units import check_size, store
from hffkit.errors import HffkitError, StorageError
from hffkit.manifest.classes import Labels
from hffkit.manifest.samples import SPLITS, GroupGuard, Sample
from hffkit.manifest.seeds import rank
from hffkit.storage.corpus import Corpus, Recipe
from hffkit.storage.partial import Partial
from hffkit.storage.parts import PartWriter, Record
from hffkit.workflows.assemble import Plan, assemble
from hffkit.workflows.corpora import joint_classes, open_corpora
from hffkit.workflows.versions import versions

_PER_UNIT = 512  # samples


@dataclass(frozen=True, slots=True)
class PackRequest:
    """The arguments of `hffkit pack`."""

    size: int = 128
    labels: Labels = "multi"
    per_split: bool = False
    shard_size: int | None = None  # records in each LMDB; None: one LMDB
    shuffle: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Block:
    """Samples of which corpora, to be packed one after the other."""

    number: int
    rows: tuple[tuple[int, Sample], ...]  # number of the corpus, sample


@dataclass(frozen=True, slots=True)
class _PackWork:
    corpora: tuple[Path, ...]
    recipe: Recipe

    def __call__(self, unit: _Block, part: PartWriter) -> None:
        opened = [Corpus(path) for path in self.corpora]
        for number, sample in unit.rows:
            try:
                image = opened[number].image(sample)
            except HffkitError as error:
                raise StorageError(
                    f"{opened[number].path}: record {sample.key!r}: {error}. `hffkit verify` names "
                    "all that are damaged."
                ) from None
            label = self.recipe.classes.label(sample.cls, self.recipe.labels)
            stored = store(image, None, label, self.recipe.size)
            packed = replace(
                sample, sha256=stored.sha256, pixels_sha256=stored.pixels_sha256, index=None
            )
            part.add(Record(packed, stored.value))

    def paths(self, unit: _Block) -> Sequence[str]:
        return [sample.key for _, sample in unit.rows]


def pack(
    names: Sequence[str], out: Path, request: PackRequest, *, n_workers: int
) -> list[tuple[Path, dict[str, Any]]]:
    """Pack corpora taken as one and return (path, corpus.json) of each database written.

    One database is the corpus `out` itself. With `per_split` or `shard_size` `out` is a folder
    of corpora: train_lmdb, val_lmdb, test_lmdb, and -00000 and so on behind the name of a shard.
    """
    check_size(request.size)
    corpora = open_corpora(names)
    rows = [(i, sample) for i, corpus in enumerate(corpora) for sample in corpus.samples()]
    guard = GroupGuard()  # over all of them, before the work
    for _, sample in rows:
        guard.check(sample)
    if request.shuffle:
        rows.sort(key=lambda row: rank(request.seed, "shuffle", row[1].key))
    recipe = Recipe(
        classes=joint_classes(corpora),
        layout="packed",
        size=request.size,
        labels=request.labels,
        verb="pack",
        options={
            "content_sha256": [corpus.content_sha256 for corpus in corpora],
            "per_split": request.per_split,
            "shard_size": request.shard_size,
            "shuffle": request.shuffle,
            "seed": request.seed,
        },
        versions=versions(),
    )
    work = _PackWork(tuple(corpus.path for corpus in corpora), recipe)
    if not request.per_split and request.shard_size is None:
        return [(out, assemble(out, recipe, _plan(work, rows, "pack"), n_workers=n_workers))]
    with Partial(out, recipe.to_json()) as partial:
        partial.corpus.mkdir(exist_ok=True)
        done = []
        for name, share in _databases(rows, request):
            path = partial.corpus / name
            if path.exists():
                about = Corpus(path).json
            else:
                about = assemble(path, recipe, _plan(work, share, name), n_workers=n_workers)
            done.append((out / name, about))
        partial.publish()
    return done


def _databases(
    rows: list[tuple[int, Sample]], request: PackRequest
) -> Iterator[tuple[str, list[tuple[int, Sample]]]]:
    sets = [("shard", rows)]
    if request.per_split:
        sets = [
            (f"{split}_lmdb", [row for row in rows if row[1].split == split]) for split in SPLITS
        ]
    for name, share in sets:
        size = request.shard_size
        if size is None:
            if share:
                yield name, share
            continue
        for number, start in enumerate(range(0, len(share), size)):
            yield f"{name}-{number:05d}", share[start : start + size]


def _plan(work: _PackWork, rows: Sequence[tuple[int, Sample]], label: str) -> Plan[_Block]:
    starts = range(0, len(rows), _PER_UNIT)
    blocks = [
        _Block(number, tuple(rows[start : start + _PER_UNIT]))
        for number, start in enumerate(starts)
    ]
    return Plan(
        units=blocks,
        name=_block_name,
        weight=lambda block: len(block.rows),
        size=lambda block: len(block.rows),
        work=work,
        label=label,
        counted="samples",
    )


def _block_name(block: _Block) -> str:
    digest = hashlib.blake2b(str(block.number).encode(), digest_size=16)
    for _, sample in block.rows:
        digest.update(f"{sample.key} {sample.sha256}\n".encode())
    return digest.hexdigest()
