"""Equal pixels: samples of one image in two splits, in two corpora, or with two labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.clusters import Clusters, by_fault, clusters_of, described, judged
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class EqualPixels:
    """Clusters of equal pixels, by what is wrong with them."""

    across_splits: Clusters
    conflicting: Clusters
    repeated: Clusters  # within one split and class
    against: Clusters
    mend: str

    def to_json(self) -> dict[str, object]:
        """Return the numbers of clusters as JSON values."""
        kinds = ("across_splits", "conflicting", "repeated", "against")
        return {kind: getattr(self, kind).to_json() for kind in kinds}

    def exhibits(self) -> Exhibits:
        """Return nothing: findings show the clusters."""
        return Exhibits()


def measure(data: Audited) -> EqualPixels:
    """Find the samples with equal pixels."""
    everything = clusters_of(data.index.pixels, np.arange(len(data.index)))
    found = by_fault(data, everything)
    return EqualPixels(
        described(data, found.across_splits, is_one_image=True),
        described(data, found.conflicting, is_one_image=True),
        described(data, found.repeated, is_one_image=True),
        described(data, found.against, is_one_image=True),
        data.drop_command,
    )


def judge(found: EqualPixels) -> Iterator[Finding]:
    """Return a finding for each kind of cluster that there is."""
    kinds: tuple[tuple[Clusters, Severity, str, str], ...] = (
        (found.across_splits, "high", "The same pixels are in two splits", _LEAK),
        (found.conflicting, "high", "The same pixels are labelled fake and real", _CONFLICT),
        (found.against, "high", "Samples are also in a corpus compared with", _LEAK),
        (found.repeated, "low", "The same pixels occur several times in a split", _REPEATED),
    )
    return judged(CHECK.name, kinds, found.mend)


_LEAK = "A detector that has seen a test image in training is measured on its memory."
_CONFLICT = "One of the labels is wrong, and no detector can be right on both."
_REPEATED = "Repeated images count more than once, and make intervals too narrow."

CHECK = AuditCheck("equal-pixels", "Samples with equal pixels", "leaks", measure, judge)
