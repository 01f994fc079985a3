"""Clusters of samples that share a value and should not, and which of them to drop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hffkit.arrays import Ints
from hffkit.audit.audited import Audited, Fingerprints
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding, Severity
from hffkit.manifest.samples import SPLITS
from hffkit.wording import counted

_N_SHOWN = 12  # clusters of a finding
_N_SAMPLES = 6  # of a cluster that are shown


@dataclass(frozen=True, slots=True)
class Clusters:
    """Samples that share a value and should not."""

    n_clusters: int
    n_samples: int
    shown: tuple[Evidence, ...]
    drop: tuple[str, ...]  # keys: without them no cluster is left

    def to_json(self) -> dict[str, object]:
        """Return the numbers as JSON values."""
        return {"n_clusters": self.n_clusters, "n_samples": self.n_samples}


def clusters_of(values: Fingerprints, chosen: Ints) -> list[Ints]:
    """Return the places among `chosen` that share a value, cluster by cluster, in order."""
    order = chosen[np.argsort(values[chosen], kind="stable")]
    if not len(order):
        return []
    cuts = np.flatnonzero(values[order][1:] != values[order][:-1]) + 1
    found = [cluster for cluster in np.split(order, cuts) if len(cluster) > 1]
    return sorted(found, key=lambda cluster: int(cluster[0]))


class ClusterKind(NamedTuple):
    """A kind of clusters: its severity, and its texts in a finding."""

    severity: Severity
    noun: str  # of what the samples of a cluster share
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class Clustered:
    """The measurement of a check that looks for clusters: those of each kind."""

    clusters: Mapping[str, Clusters]
    mend: str  # the command that drops samples

    def to_json(self) -> dict[str, object]:
        """Return the numbers of clusters as JSON values."""
        return {name: found.to_json() for name, found in self.clusters.items()}

    def exhibits(self) -> Exhibits:
        """Return nothing: findings show the clusters."""
        return Exhibits()


def judged(check: str, kinds: Mapping[str, ClusterKind], found: Clustered) -> Iterator[Finding]:
    """Yield a finding for each kind of which there are clusters."""
    for name, kind in kinds.items():
        clusters = found.clusters[name]
        if clusters.n_clusters:
            number = f"{counted(clusters.n_clusters, kind.noun)} in {clusters.n_samples} samples"
            yield Finding(
                check, kind.severity, kind.title, number, clusters.shown, kind.why, found.mend,
                clusters.drop,
            )  # fmt: skip


def by_fault(data: Audited, everything: Sequence[Ints]) -> dict[str, list[Ints]]:
    """Sort clusters of samples that show one image by what is wrong with them.

    They are across splits, conflicting (labelled fake and real), repeated (neither of these), or
    against a corpus compared with, which has some of the samples.
    """
    index = data.index
    inside = [cluster[index.is_audited[cluster]] for cluster in everything]
    inside = [cluster for cluster in inside if len(cluster) > 1]
    polarity = index.is_fake[index.cls]
    conflicting = [c for c in inside if len(set(polarity[c].tolist())) > 1]
    split = [c for c in inside if len(set(index.split[c].tolist())) > 1]
    rest = {id(c) for c in (*conflicting, *split)}
    return {
        "across_splits": split,
        "conflicting": conflicting,
        "against": [c for c in everything if len(set(index.is_audited[c].tolist())) == 2],
        "repeated": [c for c in inside if id(c) not in rest],
    }


def described(data: Audited, clusters: list[Ints], *, is_one_image: bool = False) -> Clusters:
    """Describe clusters: those shown, and the audited samples to drop so that none is left.

    Of a cluster that another corpus shares, all audited samples are dropped. Else those of the
    split with most of its samples stay, of equal ones the later: test before val before train. If
    the cluster `is_one_image`, only the first of them stays, and none if its labels differ.
    """
    drop = [place for cluster in clusters for place in _dropped(data, cluster, is_one_image)]
    dropped = np.sort(np.array(drop, np.int64))
    shown = tuple(
        Evidence(caption_of(data, cluster), data.refs(_some(data, cluster)))
        for cluster in clusters[:_N_SHOWN]
    )
    keys = tuple(sample.key for _, sample in data.items(dropped))
    return Clusters(len(clusters), sum(map(len, clusters)), shown, keys)


def _dropped(data: Audited, cluster: Ints, is_one_image: bool) -> list[int]:  # noqa: FBT001
    index = data.index
    ours = cluster[index.is_audited[cluster]]
    if len(ours) < len(cluster):
        return [int(place) for place in ours]
    if is_one_image:
        if len(np.unique(index.is_fake[index.cls[ours]])) > 1:
            return [int(place) for place in ours]
        kept = ours[np.argsort(-index.split[ours], kind="stable")][0]
        return [int(place) for place in ours if place != kept]
    n = np.bincount(index.split[ours], minlength=len(SPLITS))
    split = len(n) - 1 - int(np.argmax(n[::-1]))
    return [int(place) for place in ours[index.split[ours] != split]]


def _some(data: Audited, cluster: Ints) -> Ints:
    """Return a few samples of a cluster, of all its splits and corpora by turns."""
    index = data.index
    kinds = 2 * index.split[cluster] + ~index.is_audited[cluster]
    ranks = np.zeros(len(cluster), np.int64)
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        ranks[of_kind] = np.arange(of_kind.sum())
    return np.sort(cluster[np.argsort(ranks, kind="stable")[:_N_SAMPLES]])


def caption_of(data: Audited, cluster: Ints) -> str:
    """Name the classes and splits of a cluster."""
    index = data.index
    facts = dict.fromkeys(
        f"{index.class_names[index.cls[place]]} in {SPLITS[index.split[place]]}"
        f"{'' if index.is_audited[place] else ' of the other corpus'}"
        for place in cluster.tolist()
    )
    return ", ".join(facts)
