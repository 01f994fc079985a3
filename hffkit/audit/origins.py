"""Origins: files, videos and groups, and pairs of FaceForensics++, in two splits or corpora."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from hffkit.arrays import Bools, Ints
from hffkit.audit.audited import Audited, Fingerprints
from hffkit.audit.check import AuditCheck
from hffkit.audit.clusters import Clustered, ClusterKind, Clusters, clusters_of, described, judged
from hffkit.audit.findings import Finding
from hffkit.manifest.samples import Sample
from hffkit.media.files import IMAGE_SUFFIXES

_VIDEO = re.compile(r"(\d{3})(?:_(\d{3}))?([_-]\w+)?")
LEAST_PAIRED = 0.9  # of the fake sources: so many are named as pairs in a tree of FaceForensics++


def measure(data: Audited) -> Clustered:
    """Find samples of one origin in two splits, or in a corpus compared with."""
    index, pairs = data.index, _pairs(data)
    seen: set[bytes] = set()

    def apart(values: Fingerprints, at: Ints, sides: Ints | Bools) -> Clusters:
        """Describe the samples `at` places that share a value, not pixels, and are on two sides."""
        new = [
            cluster
            for cluster in clusters_of(values, at[values[at] != 0])
            if _differs(sides, cluster)
            and _differs(index.pixels, cluster)
            and cluster.tobytes() not in seen
        ]
        seen.update(cluster.tobytes() for cluster in new)
        return described(data, new)

    origins = {"files": index.source, "videos": index.video, "pairs": pairs, "groups": index.group}
    clusters = {name: apart(each, index.audited, index.split) for name, each in origins.items()}
    everything = np.arange(len(index))
    for name in ("files", "videos", "pairs"):  # a group's name means nothing in another corpus
        clusters[f"against_{name}"] = apart(origins[name], everything, index.is_audited)
    return Clustered(clusters, data.drop_command)


def _differs(values: Ints | Bools | Fingerprints, cluster: Ints) -> bool:
    return len(np.unique(values[cluster])) > 1


def _pairs(data: Audited) -> Fingerprints:
    """Return a number for each component of videos that share a face; 0 where there is none.

    A forgery 000_003 shows the face of 003 in the video 000, so both originals and all their
    forgeries belong together: the official splits are of such pairs. Other trees keep the names.
    """
    index = data.index
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while joined.setdefault(name, name) != name:
            name = joined[name]
        return name

    videos: list[tuple[int, str]] = []
    n_fake, n_paired = np.zeros(2, np.int64), np.zeros(2, np.int64)  # compared with, audited
    everything = np.arange(len(index))
    for place, (_, sample) in zip(everything.tolist(), data.items(everything), strict=True):
        is_fake, side = bool(index.is_fake[index.cls[place]]), int(index.is_audited[place])
        name = ffpp_name(sample, is_fake=is_fake)
        n_fake[side] += is_fake
        if name is not None:
            target, source = name
            if source is not None:
                n_paired[side] += 1
                joined[root(target)] = root(source)
            videos.append((place, target))
    is_ffpp = (n_paired > 0) & (n_paired >= LEAST_PAIRED * n_fake)
    found = np.zeros(len(index), np.uint64)
    for place, target in videos:
        if is_ffpp[int(index.is_audited[place])]:
            found[place] = 1 + int(root(target))
    return found


def ffpp_name(sample: Sample, *, is_fake: bool) -> tuple[str, str | None] | None:
    """Return the numbers of target and source video in a sample's path; None if there are none.

    The path may end in a video 000_003.mp4, in a frame of a folder 000_003, or in a frame
    000_003_0042.png. Only forgeries have a source.
    """
    for part in reversed(PurePosixPath(sample.source).parts):
        name = PurePosixPath(part)
        match = _VIDEO.fullmatch(name.stem)
        if match is None:
            continue
        source = match[2] if is_fake else None
        if name.suffix.lower() not in IMAGE_SUFFIXES or match[2] or match[3]:
            return match[1], source
    return None


_SPLIT = "Frames of one video, or faces of one person, are nearly the same image: test is training."
_OTHER = "What was trained on one corpus is measured on its own data in the other."
_KINDS = {
    "files": ClusterKind("high", "file", "One file is in two splits", _SPLIT),
    "videos": ClusterKind("high", "video", "One video is in two splits", _SPLIT),
    "pairs": ClusterKind(
        "high", "group", "Videos of FaceForensics++ that share a face are in two splits", _SPLIT
    ),
    "groups": ClusterKind("high", "group", "One group is in two splits", _SPLIT),
    "against_files": ClusterKind(
        "high", "file", "Files are also in a corpus compared with", _OTHER
    ),
    "against_pairs": ClusterKind(
        "high",
        "group",
        "Videos of FaceForensics++ share a face with those of a corpus compared with",
        _OTHER,
    ),
    "against_videos": ClusterKind(
        "low", "video", "Videos have the paths of videos in a corpus compared with", _OTHER
    ),
}


def judge(found: Clustered) -> Iterator[Finding]:
    """Return a finding for each kind of origin that is in two places."""
    return judged(CHECK.name, _KINDS, found)


CHECK = AuditCheck("origins", "Files, videos and groups in two splits", "leaks", measure, judge)
