"""Facts of a draw of samples: every record is read and decoded once, for all checks."""

from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.audit.audited import Audited
from hffkit.audit.stored_facts import FACTS, NAN, row_of, stored_facts
from hffkit.audit.trivial_pixels import PIXEL_FACTS, RECODED_FACTS, pixel_facts, recoded_facts
from hffkit.errors import CorpusError, HffkitError
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus

SIDE = 128  # px, of the common re-encoding
_WIDTHS = (len(FACTS), len(PIXEL_FACTS), len(RECODED_FACTS))
FactRow = list[float] | str
"""The facts of a record one after the other, or the reason why it has none."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The facts of the drawn samples that could be read, in manifest order."""

    at: Ints  # (M,) places in the index
    cls: Ints  # (M,)
    is_fake: Bools  # (M,)
    groups: Ints  # (M,) numbers of groups, from 0
    stored: Floats64  # (M, F) FACTS
    pixels: Floats64  # (M, P) PIXEL_FACTS
    recoded: Floats64  # (M, R) RECODED_FACTS
    unreadable: tuple[tuple[int, str], ...]  # place in the index, and reason

    @property
    def classes(self) -> Ints:
        """The classes that occur, in order."""
        return np.unique(self.cls)


def collected(data: Audited) -> Collected:
    """Read the facts of up to `samples` of each class, drawn by the seed.

    Raises
    ------
    CorpusError
        If no record can be read.
    """
    index = data.index
    at = _drawn(data)
    rows = list(data.read(at, facts_of, label="facts"))
    is_bad = np.array([isinstance(row, str) for row in rows], bool)
    if is_bad.all():
        raise CorpusError(f"{data.names}: no record can be read; `hffkit verify` says why.")
    values = np.array([row for row in rows if not isinstance(row, str)], np.float64)
    good = at[~is_bad]
    stored, pixels, recoded = np.split(values, np.cumsum(_WIDTHS)[:-1], axis=1)
    unreadable = zip(
        at[is_bad].tolist(), (row for row in rows if isinstance(row, str)), strict=True
    )
    return Collected(
        good,
        index.cls[good],
        index.is_fake[index.cls[good]],
        np.unique(index.group[good], return_inverse=True)[1].astype(np.int64),
        stored,
        pixels,
        recoded,
        tuple(unreadable),
    )


def _drawn(data: Audited) -> Ints:
    """Return the places of up to `samples` audited samples of each class, in order."""
    index, chosen = data.index, []
    for place, name in enumerate(index.class_names):
        of_class = np.flatnonzero(index.is_audited & (index.cls == place))
        n = min(len(of_class), data.request.samples)
        chosen.append(data.rng("facts", name).choice(of_class, n, replace=False))
    return np.sort(np.concatenate(chosen))


def facts_of(corpus: Corpus, sample: Sample) -> FactRow:
    """Read the facts of a record."""
    try:
        datum = corpus.datum(sample)
        image = datum.image()
        stored = stored_facts(sample, datum)
        pixels = pixel_facts(image, stored.get("jpeg_quality", NAN))
        return [*row_of(stored), *pixels, *recoded_facts(image, SIDE)]
    except HffkitError as error:
        return str(error)
