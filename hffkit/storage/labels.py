"""Outputs of networks, and the labels of samples among them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hffkit.arrays import Ints
from hffkit.errors import CorpusError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.samples import Split
from hffkit.storage.corpora import Item, paths_text, samples_of
from hffkit.storage.corpus import Corpus

Task = Literal["multi", "binary"]
Items = list[Item]


def items_of(corpora: Sequence[Corpus], split: Split | None) -> Items:
    """Return the samples of a split, or all samples, each with its corpus, in order.

    Raises
    ------
    CorpusError
        If there are none.
    """
    items = [item for item in samples_of(corpora) if split in (None, item[1].split)]
    if not items:
        raise _none_in(corpora, split)
    return items


def check_split(corpora: Sequence[Corpus], split: Split | None) -> None:
    """Raise CorpusError if corpora have no sample of a split, by the counts that they state."""
    rows = [row for corpus in corpora for row in corpus.info.counts.values()]
    if not any(n for row in rows for name, n in row.items() if split in (None, name)):
        raise _none_in(corpora, split)


def _none_in(corpora: Sequence[Corpus], split: Split | None) -> CorpusError:
    where = "" if split is None else f" in split {split}"
    return CorpusError(f"{paths_text(corpora)}: no sample{where}; `hffkit inspect` counts them.")


def outputs_of(table: ClassTable, task: Task) -> ClassTable:
    """Return the classes that a network trained on a corpus with this table distinguishes."""
    return BINARY if task == "binary" else table.renumbered()


def labels_of(items: Items, table: ClassTable, outputs: ClassTable) -> Ints:
    """Return the label of each sample among the outputs of a network, (N,).

    Classes are matched by name, or by polarity if the outputs are fake and real.

    Raises
    ------
    CorpusError
        If a class of the samples is not among the outputs, or has the other polarity there.
    """
    ids: dict[str, int] = {}
    for name in sorted({sample.cls for _, sample in items}):
        if outputs == BINARY:
            ids[name] = table.label(name, "binary")
            continue
        known = {row.name: row for row in outputs}.get(name)
        if known is None or known.is_fake != table[name].is_fake:
            raise CorpusError(
                f"class {name!r} ({table[name].kind}) is none of the network's classes, "
                f"{', '.join(f'{row.name} ({row.kind})' for row in outputs)}. "
                "Set `task` to binary to score fake against real."
            )
        ids[name] = known.id
    return np.array([ids[sample.cls] for _, sample in items], np.int64)
