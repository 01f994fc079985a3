"""What a network's outputs stand for, and which of them a sample belongs to."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hffkit.errors import CorpusError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.samples import Sample, Split
from hffkit.storage.corpus import Corpus

Task = Literal["multi", "binary"]
Item = tuple[Corpus, Sample]
Items = list[Item]


def items_of(corpora: Sequence[Corpus], split: Split | None) -> Items:
    """Return the samples of a split, or all, with the corpora that they are in, in order.

    Raises
    ------
    CorpusError
        If there are none.
    """
    items = [
        (corpus, sample)
        for corpus in corpora
        for sample in corpus.samples()
        if split is None or sample.split == split
    ]
    if not items:
        names = ", ".join(str(corpus.path) for corpus in corpora)
        raise CorpusError(
            f"{names}: no sample is {split or 'there'}; `hffkit inspect` counts them."
        )
    return items


def outputs_of(table: ClassTable, task: Task) -> ClassTable:
    """Return what a network trained on a corpus with this table tells apart."""
    return BINARY if task == "binary" else table.renumbered()


def labels_of(items: Items, table: ClassTable, outputs: ClassTable) -> npt.NDArray[np.int64]:
    """Return the output that each sample belongs to, (N,).

    Classes are matched by name; where the outputs are fake and real, by polarity.

    Raises
    ------
    CorpusError
        If a class of the samples is none of the outputs, or of the other polarity there.
    """
    ids: dict[str, int] = {}
    for name in sorted({sample.cls for _, sample in items}):
        if outputs == BINARY:
            ids[name] = table.label(name, "binary")
            continue
        known = {row.name: row for row in outputs}.get(name)
        if known is None or known.is_fake != table[name].is_fake:
            raise CorpusError(
                f"class {name!r} ({table[name].kind}) is none that the network "
                f"knows: {', '.join(f'{row.name} ({row.kind})' for row in outputs)}. "
                "Set `task` to binary to score fake against real."
            )
        ids[name] = known.id
    return np.array([ids[sample.cls] for _, sample in items], np.int64)
