"""Balance: samples and groups of each class in each split, and inputs that failed by class."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import numpy as np
from scipy.stats import fisher_exact

from hffkit.arrays import Ints
from hffkit.audit.audited import Audited, SampleIndex
from hffkit.audit.check import AuditCheck
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding
from hffkit.manifest.failures import read_failures
from hffkit.manifest.samples import SPLITS
from hffkit.reports.text_table import Table
from hffkit.storage.corpus import FAILURES_FILE

_LOPSIDED = 10  # times as many samples of one polarity as of the other, in a split
_P_VALUE = 0.01
_LOST = frozenset({"unreadable", "no-face", "unpaired"})  # kinds of failure that lose faces


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The samples of one class."""

    name: str
    is_fake: bool
    samples: tuple[int, ...]  # by split
    groups: tuple[int, ...]  # by split
    n_sources: int  # files that gave samples
    n_failed: int  # files that gave none or too few


@dataclass(frozen=True, slots=True)
class BalanceMeasured:
    """The counts of all classes, and the significance of a difference in failures."""

    classes: tuple[ClassCounts, ...]
    shares_failed: tuple[float, float]  # of the files of real and of fake classes
    p_value: float  # of Fisher's exact test on these shares
    n_one_sided_groups: int  # groups of several samples, all fake or all real
    n_groups: int
    names: str  # of the corpora, for commands

    def to_json(self) -> dict[str, object]:
        """Return the counts as JSON values."""
        return {key: value for key, value in asdict(self).items() if key != "names"}

    def exhibits(self) -> Exhibits:
        """Return the table of classes."""
        rows = tuple(
            (
                row.name,
                "fake" if row.is_fake else "real",
                *(f"{n}/{m}" for n, m in zip(row.samples, row.groups, strict=True)),
                str(row.n_sources),
                str(row.n_failed),
            )
            for row in self.classes
        )
        header = ("class", "is", *SPLITS, "files", "failed")
        return Exhibits(tables=(("Samples/groups in each split.", Table(header, rows)),))


def measure(data: Audited) -> BalanceMeasured:
    """Count samples, groups and failures by class."""
    index = data.index
    failed = _failed(data)
    rows = tuple(
        ClassCounts(
            row.name,
            row.is_fake,
            _by_split(index, index.cls == place),
            _by_split(index, index.cls == place, index.group),
            len(np.unique(index.source[index.is_audited & (index.cls == place)])),
            failed[row.name],
        )
        for place, row in enumerate(data.table)
    )
    shares, p_value = _difference(rows)
    one_sided, n_groups = _one_sided(index)
    return BalanceMeasured(rows, shares, p_value, one_sided, n_groups, data.names)


def _by_split(
    index: SampleIndex, chosen: np.ndarray, values: np.ndarray | None = None
) -> tuple[int, ...]:
    """Count the chosen audited samples, or their distinct values, in each split."""
    counts = []
    for place in range(len(SPLITS)):
        of_split = index.is_audited & chosen & (index.split == place)
        counts.append(int(of_split.sum()) if values is None else len(np.unique(values[of_split])))
    return tuple(counts)


def _failed(data: Audited) -> Counter[str]:
    """Count the files with a failure by class, as far as their folder names one."""
    counts: Counter[str] = Counter()
    for corpus in data.corpora:
        failures = read_failures(corpus.file(FAILURES_FILE))
        paths = {row.path for row in failures if row.kind in _LOST}
        if not paths:
            continue
        folders: dict[str, set[str]] = {}
        for sample in corpus.samples():
            for parent in PurePosixPath(sample.source).parents:
                folders.setdefault(parent.as_posix(), set()).add(sample.cls)
        counts.update(name for path in paths for name in _class_of(path, folders))
    return counts


def _class_of(path: str, folders: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the class of a file: that of all samples from the innermost folder that has any."""
    for parent in PurePosixPath(path).parents:
        found = folders.get(parent.as_posix())
        if found:
            if len(found) == 1:
                yield from found
            return


def _difference(rows: tuple[ClassCounts, ...]) -> tuple[tuple[float, float], float]:
    """Compare the shares of failed files of real and fake classes by Fisher's exact test."""
    counts = np.zeros((2, 2), np.int64)
    for row in rows:
        counts[int(row.is_fake)] += row.n_failed, row.n_sources
    shares = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    return (float(shares[0]), float(shares[1])), float(fisher_exact(counts)[1])


def _one_sided(index: SampleIndex) -> tuple[int, int]:
    at = index.audited
    groups, number = np.unique(index.group[at], return_inverse=True)
    n_fake = np.bincount(number, index.is_fake[index.cls[at]])
    n: Ints = np.bincount(number)
    return int(((n > 1) & ((n_fake == 0) | (n_fake == n))).sum()), len(groups)


def judge(found: BalanceMeasured) -> Iterator[Finding]:
    """Yield findings on empty and lopsided splits, and on failures that favour one polarity."""
    for place, split in enumerate(SPLITS):
        yield from _of_split(found, place, split)
    yield from _of_failures(found)


def _of_split(found: BalanceMeasured, place: int, split: str) -> Iterator[Finding]:
    counts = {row.name: row.samples[place] for row in found.classes}
    if not any(counts.values()):
        return
    absent = [name for name, n in counts.items() if not n]
    if absent:
        yield Finding(
            CHECK.name, "medium", f"{', '.join(absent)}: no sample in {split}",
            f"{len(absent)} of {len(counts)} classes", (Evidence(_listed(counts)),),
            "A class that a split lacks is not learnt there, or not measured.",
            f"hffkit inspect {found.names}",
        )  # fmt: skip
    n_fake = sum(row.samples[place] for row in found.classes if row.is_fake)
    n_real = sum(counts.values()) - n_fake
    if n_fake and n_real and max(n_fake, n_real) >= _LOPSIDED * min(n_fake, n_real):
        yield Finding(
            CHECK.name, "low", f"{split} is lopsided between fake and real",
            f"{n_fake} fake, {n_real} real", (Evidence(_listed(counts)),),
            "Accuracy rewards a detector that always answers with the larger class; AUC does not.",
            "",
        )  # fmt: skip


def _of_failures(found: BalanceMeasured) -> Iterator[Finding]:
    real, fake = found.shares_failed
    if found.p_value >= _P_VALUE:
        return
    lost = {row.name: row.n_failed for row in found.classes}
    yield Finding(
        CHECK.name, "medium", f"More {'fake' if fake > real else 'real'} files failed than others",
        f"{100 * fake:.1f} % of fake, {100 * real:.1f} % of real files, p = {found.p_value:.2g}",
        (Evidence(f"failed files: {_listed(lost)}"),),
        "If the faces that a detector loses are the hard ones, one class is left with easy ones.",
        f"hffkit inspect {found.names}",
    )  # fmt: skip


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


CHECK = AuditCheck("balance", "Balance of classes, splits and failures", "balance", measure, judge)
