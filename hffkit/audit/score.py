"""The score of a run, and how much of it memory, selection on test or shortcuts explain."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.collected import collected
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding, equalize_command
from hffkit.audit.stored_facts import FACTS
from hffkit.audit.strata import Auc, Stratum, grouped_auc, strata_of
from hffkit.audit.trivial_pixels import PIXEL_FACTS
from hffkit.errors import CorpusError, MetricError
from hffkit.manifest.samples import SPLITS
from hffkit.reports.text_table import Table
from hffkit.storage.corpora import Item
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.inference.detector import Detector

_EVALUATED = "test"
_CONTROLLED = ("container", "width", "height", "jpeg_quality", "jpeg_tables", "subsampling")
_FOUND_IN_PIXELS = "earlier_quality"
_MOST_LOST = 0.05  # of AUC
_LEAST_MATCHED = 0.2  # of the samples
_GOOD = 0.6  # lower bound of an AUC that is worth doubting


@dataclass(frozen=True, slots=True)
class ScoreMeasured:
    """The scores of a run on the drawn samples of split test."""

    run: str
    problem: str | None  # why the classes of run and corpus do not fit
    plain: Auc
    controlled: Auc | None  # within strata of equal facts; None: no stratum holds fake and real
    share_matched: float  # of the samples, in strata that hold both
    strata: tuple[Stratum, ...]  # the largest first
    n_trained_on: int | None  # of the held-out samples; None: the run has no record
    n_held_out: int
    n_known_groups: int  # groups of test that the run was trained or selected on
    n_groups: int
    names: str

    def to_json(self) -> dict[str, object]:
        """Return the scores as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "names"}

    def exhibits(self) -> Exhibits:
        """Return the plain and the controlled AUC, and the accuracy in each stratum."""
        rows = [("plain", str(self.plain))]
        rows.append(
            ("shortcut-controlled", "-" if self.controlled is None else str(self.controlled))
        )
        rows.append(("samples with a match", f"{100 * self.share_matched:.0f} %"))
        strata = tuple(
            (
                each.title, str(each.n_real), str(each.n_fake), f"{100 * each.accuracy:.1f} %",
                "-" if each.auc is None else f"{each.auc:.3f}",
            )
            for each in self.strata
        )  # fmt: skip
        header = (", ".join((*_CONTROLLED, _FOUND_IN_PIXELS)), "real", "fake", "accuracy", "AUC")
        return Exhibits(
            tables=(
                ("AUC of fake against real over split test.", Table(("", "value"), tuple(rows))),
                ("Strata of samples with equal facts.", Table(header, strata)),
            )
        )


def measure(data: Audited) -> ScoreMeasured:
    """Score the drawn samples of split test by the run.

    Raises
    ------
    HffkitError
        If the run cannot be loaded, or split test does not hold fake and real samples.
    """
    if data.request.run is None:
        raise MetricError("no run is given")
    from hffkit.evaluation.overlap import overlap_of  # late: they load PyTorch
    from hffkit.inference.detector import load_detector
    from hffkit.networks.devices import device_named

    detector = load_detector(data.request.run, device_named(data.request.device))
    found = data.shared(collected)
    of_test = np.flatnonzero(data.index.split[found.at] == SPLITS.index(_EVALUATED))
    items = list(data.items(found.at[of_test]))
    is_fake, groups = found.is_fake[of_test], found.groups[of_test]
    if len(np.unique(is_fake)) < 2:
        raise MetricError("split test does not hold fake and real samples; nothing to score")
    ranking, decided, problem = _scored(detector, items, data)
    keys = _keys(found.stored[of_test], found.pixels[of_test])
    strata = strata_of(keys, is_fake, ranking, decided == is_fake, _titles(keys))
    rng = data.rng("score")
    matched = np.isin(keys[1], [each.number for each in strata if each.n_real and each.n_fake])
    controlled = None
    if matched.any():
        chosen = keys[1][matched]
        controlled = grouped_auc(is_fake[matched], ranking[matched], groups[matched], chosen, rng)
    overlap = overlap_of(detector, items)
    names = {sample.group for _, sample in items}
    return ScoreMeasured(
        str(detector.path),
        problem,
        grouped_auc(is_fake, ranking, groups, np.zeros(len(items), np.int64), rng),
        controlled,
        float(matched.mean()),
        strata,
        overlap.n_training,
        len(items),
        len(names & detector.groups),
        len(names),
        data.names,
    )


def _scored(
    detector: "Detector", items: list[Item], data: Audited
) -> tuple[Floats64, Bools, str | None]:
    """Return rankings (N,), decisions (N,) True for fake, and what is wrong with the classes."""
    problem = None
    try:
        scored = detector.score(items, data.table, "multi")
    except CorpusError as error:
        problem = str(error)
        scored = detector.score(items, data.table, "binary")
    return scored.ranking, scored.scores >= 0.5, problem


def _keys(stored: Floats64, pixels: Floats64) -> tuple[Floats64, Ints]:
    """Return the distinct combinations of controlled facts (S, K), and that of each sample (N,).

    The quality found in the pixels, which is inexact, counts in steps of five, and only where the
    file is no JPEG.
    """
    names = [fact.name for fact in FACTS]
    table = stored[:, [names.index(name) for name in _CONTROLLED]]
    found = 5 * np.rint(pixels[:, [fact.name for fact in PIXEL_FACTS].index(_FOUND_IN_PIXELS)] / 5)
    found[np.isfinite(stored[:, names.index("jpeg_quality")])] = np.nan
    known = np.nan_to_num(np.column_stack((table, found)), nan=-1)
    distinct, number = np.unique(known, axis=0, return_inverse=True)
    return distinct, number.reshape(-1).astype(np.int64)


def _titles(keys: tuple[Floats64, Ints]) -> list[str]:
    facts = [fact for fact in FACTS if fact.name in _CONTROLLED]
    titles = []
    for row in keys[0]:
        cells = [
            "-" if value < 0 else fact.names[int(value)] if fact.names else f"{value:g}"
            for fact, value in zip(facts, row, strict=False)
        ]
        titles.append(", ".join([*cells, "-" if row[-1] < 0 else f"{row[-1]:g}"]))
    return titles


def judge(found: ScoreMeasured) -> Iterator[Finding]:
    """Yield findings on memory, selection, polarity and shortcuts."""
    if found.n_trained_on:
        yield Finding(
            CHECK.name, "high", "The run was trained on samples of split test",
            f"{found.n_trained_on} of {counted(found.n_held_out, 'sample')}", (),
            "Its score on them measures memorisation, not detection.",
            "hffkit eval RUN --data ANOTHER.lmdb",
        )  # fmt: skip
    elif found.n_known_groups:
        yield Finding(
            CHECK.name, "high", "The run was trained or selected on groups of split test",
            f"{found.n_known_groups} of {counted(found.n_groups, 'group')}", (),
            "A checkpoint chosen on test images overstates the score on new ones.",
            "hffkit eval RUN --data ANOTHER.lmdb",
        )  # fmt: skip
    elif found.n_trained_on is None:
        yield Finding(
            CHECK.name, "low", "The run has no record of its training samples",
            "overlap unknown", (), "An overlap with the test samples cannot be excluded.", "",
        )  # fmt: skip
    if found.problem is not None:
        yield Finding(
            CHECK.name, "medium", "The classes of the run are not those of the corpora",
            "scored as fake against real", (Evidence(found.problem),),
            "Figures for single classes mean nothing.", "hffkit eval RUN --task binary",
        )  # fmt: skip
    if found.plain.high < 0.5:
        yield Finding(
            CHECK.name, "high", "The run calls fake what is real: its polarity is inverted",
            str(found.plain), (), "Labels or class table of the run are exchanged.", "",
        )  # fmt: skip
    yield from _of_shortcuts(found)


def _of_shortcuts(found: ScoreMeasured) -> Iterator[Finding]:
    strata = tuple(
        Evidence(f"{each.title}: {each.n_real} real, {each.n_fake} fake") for each in found.strata
    )
    mend = equalize_command(found.names)
    if found.plain.low < _GOOD:
        return
    if found.controlled is None or found.share_matched < _LEAST_MATCHED:
        yield Finding(
            CHECK.name, "high", "Nothing separates the score from a shortcut",
            f"plain {found.plain}; {100 * found.share_matched:.0f} % of the samples have a match "
            "of the other kind", strata, _ALONE, mend,
        )  # fmt: skip
    elif found.plain.auc - found.controlled.auc > _MOST_LOST:
        yield Finding(
            CHECK.name, "high" if found.controlled.low < 0.6 else "medium",
            "The score falls when files are alike",
            f"plain {found.plain}, controlled {found.controlled}", strata, _FALLS, mend,
        )  # fmt: skip


_ALONE = (
    "Fake and real never share size and JPEG history here, so the score may be that of a detector "
    "of files."
)
_FALLS = "The difference is what the run owes to size and JPEG history, not to forgeries."
CHECK = AuditCheck("score", "The run's score", "score", measure, judge, needs_run=True)
