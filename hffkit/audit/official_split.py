"""Samples of FaceForensics++ that are in another split than the official lists say."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Ints
from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding
from hffkit.audit.origins import LEAST_PAIRED, ffpp_name
from hffkit.manifest.samples import SPLITS, Split
from hffkit.sources.ffpp import official_pairs
from hffkit.wording import counted

_N_SHOWN = 12


@dataclass(frozen=True, slots=True)
class OfficialSplitMeasured:
    """Samples in another split than the official one."""

    n_named: int  # samples with the name of a video of the lists; 0 in other datasets
    n_moved: int
    trained: tuple[str, ...]  # keys of official test samples in train or val
    shown: tuple[Evidence, ...]
    mend: str

    def to_json(self) -> dict[str, object]:
        """Return the numbers of samples as JSON values."""
        n_trained = len(self.trained)
        return {"n_named": self.n_named, "n_moved": self.n_moved, "n_test_trained": n_trained}

    def exhibits(self) -> Exhibits:
        """Return nothing: findings show the samples."""
        return Exhibits()


def measure(data: Audited) -> OfficialSplitMeasured:
    """Compare the splits of the audited samples with the official lists, by their names."""
    official = official_pairs()
    audited = data.index.audited
    n_fake = n_paired = n_named = 0
    moved: list[tuple[int, str, Split]] = []  # place, key, official split
    for place, (_, sample) in zip(audited.tolist(), data.items(audited), strict=True):
        is_fake = bool(data.index.is_fake[data.index.cls[place]])
        name = ffpp_name(sample, is_fake=is_fake)
        n_fake += is_fake
        n_paired += name is not None and name[1] is not None
        if name is not None and name[0] in official:
            n_named += 1
            split = official[name[0]][1]
            if split != sample.split:
                moved.append((place, sample.key, split))
    if not n_paired or n_paired < LEAST_PAIRED * n_fake:  # names of another dataset
        n_named, moved = 0, []
    trained = [row for row in moved if row[2] == "test"]
    places = np.array([place for place, _, _ in trained or moved], np.int64)
    return OfficialSplitMeasured(
        n_named=n_named,
        n_moved=len(moved),
        trained=tuple(key for _, key, _ in trained),
        shown=_shown(data, places[:_N_SHOWN]),
        mend=data.drop_command,
    )


def _shown(data: Audited, places: Ints) -> tuple[Evidence, ...]:
    splits = sorted({SPLITS[split] for split in data.index.split[places].tolist()})
    return (Evidence(f"in {' and '.join(splits)}", data.refs(places)),) if len(places) else ()


def judge(found: OfficialSplitMeasured) -> Iterator[Finding]:
    """Yield a finding if samples are in another split, high if official test videos are trained."""
    of_all = f"of {counted(found.n_named, 'sample')} with a name of its lists"
    if found.trained:
        yield Finding(
            CHECK.name, "high", "Official test videos of FaceForensics++ are in train or val",
            f"{len(found.trained)} {of_all}", found.shown,
            "A network trained on this corpus has seen a part of the official test split.",
            found.mend, found.trained,
        )  # fmt: skip
    elif found.n_moved:
        yield Finding(
            CHECK.name, "low", "Videos of FaceForensics++ are not in their official split",
            f"{found.n_moved} {of_all}", found.shown,
            "Results cannot be compared with published ones.",
            "hffkit build ff++ --src ROOT --out official.lmdb", (),
        )  # fmt: skip


CHECK = AuditCheck(
    "official-split", "The official splits of FaceForensics++", "leaks", measure, judge
)
