"""Equal pixels: samples of one image in two splits, in two corpora, or with two labels."""

from collections.abc import Iterator

import numpy as np

from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.clusters import (
    Clustered,
    ClusterKind,
    by_fault,
    clusters_of,
    described,
    judged,
)
from hffkit.audit.findings import Finding

_LEAK = "A detector that has seen a test image in training is measured on its memory."
_CONFLICT = "One of the labels is wrong, and no detector can be right on both."
_REPEATED = "Repeated images count more than once, and make intervals too narrow."
_KINDS = {
    "across_splits": ClusterKind("high", "image", "The same pixels are in two splits", _LEAK),
    "conflicting": ClusterKind(
        "high", "image", "The same pixels are labelled fake and real", _CONFLICT
    ),
    "repeated": ClusterKind(
        "low", "image", "The same pixels occur several times in a split", _REPEATED
    ),
    "against": ClusterKind("high", "image", "Samples are also in a corpus compared with", _LEAK),
}


def measure(data: Audited) -> Clustered:
    """Find the samples with equal pixels."""
    faults = by_fault(data, clusters_of(data.index.pixels, np.arange(len(data.index))))
    clusters = {name: described(data, faults[name], is_one_image=True) for name in _KINDS}
    return Clustered(clusters, data.drop_command)


def judge(found: Clustered) -> Iterator[Finding]:
    """Return a finding for each kind of cluster that there is."""
    return judged(CHECK.name, _KINDS, found)


CHECK = AuditCheck("equal-pixels", "Samples with equal pixels", "leaks", measure, judge)
