"""Near-duplicates: copies of an image that were encoded, mirrored, cropped, resized or brightened.

Samples with equal pixels count once. Samples of one group are not compared, because frames of a
video and forgeries of a photo are alike and belong together; a group is never in two splits.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from typing import NamedTuple

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hffkit.arrays import Bools, Ints
from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.clusters import Clustered, ClusterKind, Clusters, by_fault, described, judged
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Finding
from hffkit.audit.neighbours import (
    SIDE,
    VIEWS,
    Candidates,
    Thumbnails,
    View,
    candidates,
    describe,
    is_among_closest,
    is_plain,
)
from hffkit.audit.registration import Registered, register
from hffkit.errors import HffkitError
from hffkit.execution.pool import in_order
from hffkit.execution.progress import Progress
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image
from hffkit.storage.corpus import Corpus, CorpusName
from hffkit.storage.selection import Places, samples_at
from hffkit.wording import counted

# See benchmarks/neighbours.py: of 8,505 pairs of StarGAN's images of one photo, or of one and the
# photo, which are of one size, the closest are at 0.064 and 0.075. Resizing without a filter leaves
# a difference that resembles theirs.
MAX_DISTANCE = 0.06
MAX_DISTANCE_RESIZED = 0.072
_LARGEST = 256  # px of the shorter side when two images are compared
_N_PAIRS = 16
_N_KINDS = 3  # of copies, that a caption names
_SAME = 0.04  # difference of scales or of gains that is none


class Copy(NamedTuple):
    """Two samples that show the same image, and what sets them apart."""

    first: int  # places in the index
    second: int
    distance: float
    kind: str  # "encoded again", "mirrored, cropped to 90 %", ...


@dataclass(frozen=True, slots=True)
class NearDuplicates(Clustered):
    """Clusters of copies, and what was compared."""

    n_compared: int
    n_plain: int  # nearly uniform images, which resemble everything
    n_unreadable: int
    n_candidates: int  # pairs whose pixels were compared

    def to_json(self) -> dict[str, object]:
        """Return the numbers as JSON values."""
        numbers = ("n_compared", "n_plain", "n_unreadable", "n_candidates")
        return {**Clustered.to_json(self), **{name: getattr(self, name) for name in numbers}}

    def exhibits(self) -> Exhibits:
        """Return a note on what was not compared: findings show the clusters."""
        notes = []
        if self.n_plain:
            notes.append(f"{counted(self.n_plain, 'image')} too plain to compare.")
        if self.n_unreadable:
            notes.append(f"{counted(self.n_unreadable, 'record')} could not be read.")
        return Exhibits(notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class Compared:
    """The distinct images of all samples, and the pairs of them that are copies."""

    at: Ints  # (M,) place in the index of the first sample of each image
    images: Ints  # (N,) image of each sample
    copies: tuple[Copy, ...]
    n_plain: int
    n_unreadable: int
    n_candidates: int


def measure(data: Audited) -> NearDuplicates:
    """Find the samples that show one image, though their pixels differ."""
    found = compare(data)
    clusters, kinds = _clusters(found)

    def shown(chosen: list[Ints]) -> Clusters:
        made = described(data, chosen, is_one_image=True)
        captions = (kinds[int(found.images[cluster[0]])] for cluster in chosen)
        evidence = tuple(
            replace(one, caption=f"{one.caption}; {caption}")
            for one, caption in zip(made.shown, captions, strict=False)
        )
        return replace(made, shown=evidence)

    return NearDuplicates(
        {name: shown(chosen) for name, chosen in by_fault(data, clusters).items()},
        data.drop_command,
        n_compared=len(found.at),
        n_plain=found.n_plain,
        n_unreadable=found.n_unreadable,
        n_candidates=found.n_candidates,
    )


def compare(data: Audited) -> Compared:
    """Find the pairs of images that are copies, whatever their splits and classes."""
    at, images = np.unique(data.index.pixels, return_index=True, return_inverse=True)[1:]
    order = np.argsort(at)  # images in manifest order, so that results do not depend on digests
    at, images = at[order], np.argsort(order)[images]
    thumbnails, is_read = _thumbnails(data, at)
    found = candidates(thumbnails, _groups(data)[at], n_workers=data.n_workers)
    copies, n_compared = _copies(data, at, found)
    n_plain = int((is_plain(thumbnails) & is_read).sum())
    return Compared(at, images, tuple(copies), n_plain, int((~is_read).sum()), n_compared)


def _groups(data: Audited) -> Ints:
    """Return (N,) numbers of groups; all samples of other corpora have one, and so are not paired.

    A group's name means nothing in another corpus, so their samples are compared with all of ours.
    """
    numbers = np.unique(data.index.group, return_inverse=True)[1]
    return np.where(data.index.is_audited, numbers, -1).astype(np.int64)


def _thumbnails(data: Audited, at: Ints) -> tuple[Thumbnails, Bools]:
    """Return the thumbnails of samples, and False for those that cannot be read."""
    thumbnails = np.zeros((len(at), SIDE, SIDE), np.uint8)
    is_read = np.zeros(len(at), bool)
    for place, found in enumerate(data.read(at, thumbnail_of, label="near-duplicates")):
        if found is not None:
            thumbnails[place], is_read[place] = found, True
    return thumbnails, is_read


def thumbnail_of(corpus: Corpus, sample: Sample) -> Thumbnails | None:
    """Describe the image of a record; None if it cannot be read."""
    image = _image(corpus, sample)
    return None if image is None else describe(image)


def _image(corpus: Corpus, sample: Sample) -> Image | None:
    try:
        return corpus.image(sample)
    except HffkitError:
        return None


def _copies(data: Audited, at: Ints, found: Candidates) -> tuple[list[Copy], int]:
    """Return the candidates whose pixels agree, and how many were compared.

    The closest pairs of each image come first. Two images that copies already join are not
    compared, so n copies of one image cost a few comparisons each in place of n.
    """
    copies: list[Copy] = []
    n_compared, n_most = 0, 1
    left = np.arange(len(found.first))
    with Progress(len(left), unit="pairs", label="compare copies") as progress:
        while len(left):
            is_next = is_among_closest(
                found.first[left], found.second[left], found.distance[left], n_most
            )
            chosen, left = left[is_next], left[~is_next]
            copies += _agreeing(data, at, found, chosen, progress)
            n_compared, n_most = n_compared + len(chosen), 2 * n_most
            joined = _joined(at, copies)
            is_open = joined[found.first[left]] != joined[found.second[left]]
            progress.step(int((~is_open).sum()))
            left = left[is_open]
    return sorted(copies), n_compared


def _joined(at: Ints, copies: Sequence[Copy]) -> Ints:
    """Return (N,) numbers of the clusters that copies make of the images at places `at`."""
    ends = np.searchsorted(at, np.array([copy[:2] for copy in copies], np.int64).reshape(-1, 2))
    edges = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(at), len(at)))
    return np.asarray(connected_components(edges, directed=False)[1], np.int64)


def _agreeing(
    data: Audited, at: Ints, found: Candidates, chosen: Ints, progress: Progress
) -> Iterator[Copy]:
    """Yield the chosen candidates whose pixels agree."""
    first, second = at[found.first[chosen]], at[found.second[chosen]]
    views = [VIEWS[place] for place in found.view[chosen]]
    places = data.index.places[np.stack([first, second], axis=1).ravel()]
    blocks = [
        (places[2 * i : 2 * (i + _N_PAIRS)], views[i : i + _N_PAIRS])
        for i in range(0, len(chosen), _N_PAIRS)
    ]
    work = partial(registered_pairs, names=data.places)
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    for block in in_order(work, blocks, n_workers=data.n_workers):
        progress.step(len(block))
        for found_copy, (a, b) in zip(block, pairs, strict=False):
            if found_copy is not None:
                yield Copy(a, b, *found_copy)


def registered_pairs(
    block: tuple[Places, Sequence[View]], *, names: tuple[CorpusName, ...]
) -> list[tuple[float, str] | None]:
    """Return distance and kind of each pair of records that are copies, else None.

    The records of a pair follow one another.
    """
    places, views = block
    images = (_image(*item) for item in samples_at(places, names))
    rows: list[tuple[float, str] | None] = []
    for view, first, second in zip(views, images, images, strict=True):
        if first is None or second is None:
            rows.append(None)
        else:
            found = register(_smaller(first), _smaller(second), view)
            kind = kind_of(found, view, first, second)
            rows.append((found.distance, kind) if is_copy(found, first, second) else None)
    return rows


def is_copy(found: Registered, first: Image, second: Image) -> bool:
    """Return True if two registered images are the same one."""
    limit = MAX_DISTANCE_RESIZED if _is_resized(found, first, second) else MAX_DISTANCE
    return found.distance <= limit


def _is_resized(found: Registered, first: Image, second: Image) -> bool:
    down = found.window.height * first.shape[0] / second.shape[0]
    across = found.window.width * first.shape[1] / second.shape[1]
    return max(abs(log(down)), abs(log(across))) > _SAME


def _smaller(image: Image) -> Image:
    scale = _LARGEST / min(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def kind_of(found: Registered, view: View, first: Image, second: Image) -> str:
    """Return what sets two registered images apart, in words."""
    window = found.window
    words = []
    if view.is_mirrored:
        words.append("mirrored")
    if not window.is_whole:
        words.append(f"cropped to {100 * min(window.height, window.width):.0f} %")
    if _is_resized(found, first, second):
        words.append("resized")
    if abs(log(max(found.gain, 1e-6))) > _SAME:
        words.append("brightened")
    return ", ".join(words) or "encoded again"


def _clusters(found: Compared) -> tuple[list[Ints], dict[int, str]]:
    """Join copies to clusters of places in the index, and describe each by its images.

    Samples whose pixels equal those of a member belong to the cluster.
    """
    if not found.copies:
        return [], {}
    number = _joined(found.at, found.copies)
    words: dict[int, list[str]] = {}
    for copy in found.copies:
        words.setdefault(int(number[found.images[copy.first]]), []).append(copy.kind)
    clusters: dict[int, list[int]] = {each: [] for each in words}
    for place in np.flatnonzero(np.isin(number[found.images], list(words))):
        clusters[int(number[found.images[place]])].append(int(place))
    kinds = {
        int(image): _kinds_of(words[int(number[image])])
        for image in np.flatnonzero(np.isin(number, list(words)))
    }
    return sorted(map(np.array, clusters.values()), key=lambda cluster: int(cluster[0])), kinds


def _kinds_of(found: Sequence[str]) -> str:
    """Name the commonest kinds of copies in a cluster."""
    kinds = [kind for kind, _ in Counter(sorted(found)).most_common()]
    more = f"; {len(kinds) - _N_KINDS} more kinds" if len(kinds) > _N_KINDS else ""
    return "; ".join(kinds[:_N_KINDS]) + more


_LEAK = "A detector recognises an image that it was trained on, however it was saved."
_CONFLICT = "A detector learns how the copies were saved, or one of the labels is wrong."
_REPEATED = "Copies count more than once; as groups of their own they may fall into two splits."
_KINDS = {
    "across_splits": ClusterKind("high", "image", "Copies of an image are in two splits", _LEAK),
    "conflicting": ClusterKind(
        "high", "image", "Copies of an image are labelled fake and real", _CONFLICT
    ),
    "against": ClusterKind(
        "high", "image", "Copies of samples are in a corpus compared with", _LEAK
    ),
    "repeated": ClusterKind(
        "low", "image", "Copies of an image are in a split as several groups", _REPEATED
    ),
}


def judge(found: NearDuplicates) -> Iterator[Finding]:
    """Return a finding for each kind of cluster that there is."""
    return judged(CHECK.name, _KINDS, found)


CHECK = AuditCheck("near-duplicates", "Copies of images", "leaks", measure, judge)
