"""Reasons to doubt the figures of an evaluation which the figures themselves do not show."""

import re
from collections import Counter
from collections.abc import Sequence

from hffkit.degrade.table import OPERATIONS
from hffkit.evaluation.levels import Evaluation
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus
from hffkit.wording import first_of

_NONE = "none"
_SHOWN = 5
_CODES = "|".join(sorted(map(re.escape, OPERATIONS), key=len, reverse=True))
# An operation in the name that `hffkit degrade` gives a corpus: data-jp-mix, data-jp60+sc-45.
_NAMED = re.compile(rf"(?<=[-+])({_CODES})(?:-mix|[-+]?[\d.]*\d)(?=$|[-+.])")


def polarity_note(known: ClassTable, table: ClassTable) -> str | None:
    """Return the classes that are fake for a run and real in a corpus, or the reverse, as a note.

    The corpus determines what is fake, and the run what its outputs mean.
    """
    of_run = {row.name: row for row in known}
    turned = [row for row in table if row.name in of_run and of_run[row.name].kind != row.kind]
    if not turned:
        return None
    told = ", ".join(
        f"{row.name} is {row.kind} (of the run {of_run[row.name].kind})" for row in turned
    )
    return f"Run and corpus disagree on what is fake: in the corpus {told}. One of them is wrong."


def inversion_note(evaluation: Evaluation) -> str | None:
    """Return a note if the scores rank fakes below reals, beyond chance; None if not."""
    auc = evaluation.frame.estimates["auc"]
    if auc.value is None or auc.interval is None or auc.interval.high >= 0.5:
        return None
    return (
        f"The AUC is {auc.value:.3f}, and its interval ends at {auc.interval.high:.3f}: the scores "
        "rank fakes below reals. Fake and real may be exchanged, in the classes of the corpus or "
        "in the outputs of the run; `hffkit convert` takes the order of another program's outputs."
    )


def recorded_operations(samples: Sequence[Sample]) -> str | None:
    """Return the recorded operations, with numbers of samples; None if there are none."""
    counts = Counter("+".join(_operations(sample)) or _NONE for sample in samples)
    if set(counts) == {_NONE}:
        return None
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return first_of([f"{name} ({n} of {len(samples)} samples)" for name, n in rows], _SHOWN)


def operations_note(corpora: Sequence[Corpus], samples: Sequence[Sample]) -> str | None:
    """Return a note if the name of a corpus has an operation that no sample records."""
    recorded = {name for sample in samples for name in _operations(sample)}
    codes = {re.split("-mix$|:", name)[0] for name in recorded}
    for corpus in corpora:
        missing = [code for code in _NAMED.findall(corpus.path.stem) if code not in codes]
        if missing:
            return (
                f"The name {corpus.path.name} has the operation {missing[0]}, but the samples "
                f"record {', '.join(sorted(recorded)) or 'no operation'}: the figures are for what "
                "they record."
            )
    return None


def _operations(sample: Sample) -> list[str]:
    return [str(row["op"]) for row in sample.operations]
