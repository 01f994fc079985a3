"""Origins: files, videos and groups, and pairs of FaceForensics++, in two splits or corpora."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from hffkit.arrays import Ints
from hffkit.audit.audited import Audited, Fingerprints
from hffkit.audit.check import AuditCheck
from hffkit.audit.clusters import Clusters, clusters_of, described
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Finding, Severity
from hffkit.manifest.samples import Sample
from hffkit.media.files import IMAGE_SUFFIXES
from hffkit.wording import counted

_VIDEO = re.compile(r"(\d{3})(?:_(\d{3}))?([_-]\w+)?")
LEAST_PAIRED = 0.9  # of the fake sources: so many are named as pairs in a tree of FaceForensics++


@dataclass(frozen=True, slots=True)
class OriginsMeasured:
    """Clusters of samples of one origin that should not be apart."""

    files: Clusters  # in two splits
    videos: Clusters
    pairs: Clusters  # of FaceForensics++: videos that share a face
    groups: Clusters
    against_files: Clusters
    against_videos: Clusters
    against_pairs: Clusters
    mend: str

    def to_json(self) -> dict[str, object]:
        """Return the numbers of clusters as JSON values."""
        kinds = (
            "files", "videos", "pairs", "groups", "against_files", "against_videos",
            "against_pairs",
        )  # fmt: skip
        return {kind: getattr(self, kind).to_json() for kind in kinds}

    def exhibits(self) -> Exhibits:
        """Return nothing: findings show the clusters."""
        return Exhibits()


def measure(data: Audited) -> OriginsMeasured:
    """Find samples of one origin in two splits, or in a corpus compared with."""
    index = data.index
    seen: set[bytes] = set()

    def across(values: Fingerprints) -> Clusters:
        at = index.audited
        found = clusters_of(values, at[values[at] != 0])
        found = [c for c in found if _differs(index.split, c) and _differs(index.pixels, c)]
        new = [c for c in found if c.tobytes() not in seen]
        seen.update(c.tobytes() for c in new)
        return described(data, new)

    def against(values: Fingerprints) -> Clusters:
        found = clusters_of(values, np.flatnonzero(values != 0))
        found = [c for c in found if _differs(index.is_audited.astype(np.int64), c)]
        found = [c for c in found if _differs(index.pixels, c)]
        new = [c for c in found if c.tobytes() not in seen]
        seen.update(c.tobytes() for c in new)
        return described(data, new)

    pairs = _pairs(data)
    return OriginsMeasured(
        files=across(index.source),
        videos=across(index.video),
        pairs=across(pairs),
        groups=across(index.group),
        against_files=against(index.source),
        against_videos=against(index.video),
        against_pairs=against(pairs),
        mend=data.drop_command,
    )


def _differs(values: Ints | Fingerprints, cluster: Ints) -> bool:
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


def judge(found: OriginsMeasured) -> Iterator[Finding]:
    """Yield a finding for each kind of origin that is in two places."""
    kinds: tuple[tuple[Clusters, Severity, str, str, str], ...] = (
        (found.files, "high", "One file is in two splits", "file", _SPLIT),
        (found.videos, "high", "One video is in two splits", "video", _SPLIT),
        (
            found.pairs, "high",
            "Videos of FaceForensics++ that share a face are in two splits", "group", _SPLIT,
        ),
        (found.groups, "high", "One group is in two splits", "group", _SPLIT),
        (found.against_files, "high", "Files are also in a corpus compared with", "file", _OTHER),
        (
            found.against_pairs, "high",
            "Videos of FaceForensics++ share a face with those of a corpus compared with", "group",
            _OTHER,
        ),
        (
            found.against_videos, "low",
            "Videos have the paths of videos in a corpus compared with", "video", _OTHER,
        ),
    )  # fmt: skip
    for clusters, severity, title, noun, why in kinds:
        if clusters.n_clusters:
            yield Finding(
                CHECK.name, severity, title,
                f"{counted(clusters.n_clusters, noun)} in {clusters.n_samples} samples",
                clusters.shown, why, found.mend, clusters.drop,
            )  # fmt: skip


_SPLIT = "Frames of one video, or faces of one person, are nearly the same image: test is training."
_OTHER = "What was trained on one corpus is measured on its own data in the other."
CHECK = AuditCheck("origins", "Files, videos and groups in two splits", "leaks", measure, judge)
