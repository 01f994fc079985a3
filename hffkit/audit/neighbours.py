"""Search for images that may be copies of each other, in time that grows with N times its root.

A copy may be encoded again, mirrored, cropped to 90 % or more of each side, resized or brightened.
Each image is described by a grey thumbnail of 1 kB; a view of it is a crop, mirrored or not, as its
copy may show it. The features of a view are the 48 lowest frequencies of its cosine transform,
scaled to length 1. Three steps narrow down the pairs, and `registration` compares the pixels of
those that are left:

1. Features of all images are divided into about 2 sqrt(N) cells around random ones. Each view is
   compared with the images of its 12 nearest cells; those within 0.34 go on.
2. Pairs of one group are dropped: frames of one video are alike, and never in two splits.
3. The tangent distance (Simard et al. 1993) allows for a small shift, scale and change of tone in
   between the views: what is left of the difference of the features must be at most 0.15, or 0.2
   if nothing was cropped.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from hffkit.arrays import Bools, Floats32, Floats64, Ints
from hffkit.manifest.seeds import rng_for
from hffkit.media.image import Image, grey

S = TypeVar("S", bound=np.generic)

SIDE = 32  # px of a thumbnail
Thumbnails = npt.NDArray[np.uint8]
"""(N, SIDE, SIDE) grey."""

_BAND = 12  # cosines of a thumbnail, in each direction
_KEPT = 8  # of them in the features of a view
_MAX_ORDER = 9  # sum of the two orders of a feature
_RADIUS = 0.34  # between the features of a view and of its copy
_TANGENT_RADIUS = 0.15  # of crops
_TANGENT_RADIUS_WHOLE = 0.2  # without a crop, for strongly brightened copies
_N_PROBES = 12  # cells searched for each view
_CELLS_PER_ROOT = 2
_CHUNK = 4096  # rows of features at once
_PRODUCTS = 1 << 20  # of features at once
_QUERIES = 1 << 15  # views searched for at once: their memory does not grow with the corpus
_PAIRS_AT_ONCE = 2048
_MOST = 16  # pairs of an image; all frames of one portrait resemble one another
_STEP = 0.0125  # of a side: shift and scale of one unit of a tangent
_RIDGE = 1e-4  # on tangents, so that they span small changes only
_CLIP = 190  # brightened copies lose what was above
_PLAIN = 3.0  # standard deviation of a thumbnail with too little to compare


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image, in shares of its height and width."""

    top: float
    height: float
    left: float
    width: float

    @property
    def is_whole(self) -> bool:
        """Return True if the window covers the image, up to 2.5 % of a side."""
        return min(self.height, self.width) >= 0.975


@dataclass(frozen=True, slots=True)
class View:
    """An image as its copy may show it."""

    window: Window
    is_mirrored: bool = False
    is_clipped: bool = False  # bright pixels cut off, as in a brightened copy


def _windows() -> Iterator[Window]:
    yield Window(0, 1, 0, 1)
    for side, n in ((0.95, 2), (0.9, 4)):
        for top, left in itertools.product(np.linspace(0, 1 - side, n).tolist(), repeat=2):
            yield Window(top, side, left, side)


VIEWS: tuple[View, ...] = (
    *(View(window, mirrored) for window in _windows() for mirrored in (False, True)),
    *(View(Window(0, 1, 0, 1), mirrored, is_clipped=True) for mirrored in (False, True)),
)


def describe(image: Image) -> Thumbnails:
    """Return the (SIDE, SIDE) grey thumbnail of an (H, W, 3) image; the aspect is not kept."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return grey(np.asarray(small, np.uint8))


def is_plain(thumbnails: Thumbnails) -> Bools:
    """Return (N,) True where a thumbnail is nearly uniform, so that nothing can be compared."""
    deviations = [part.std(axis=(1, 2)) for part in _parts(thumbnails)]
    return np.concatenate([np.zeros(0), *deviations]) < _PLAIN


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs that may be copies: a view of the first image resembles the second."""

    first: Ints  # (M,)
    second: Ints  # (M,)
    view: Ints  # (M,) place in VIEWS
    distance: Floats32  # (M,) tangent distance


def candidates(thumbnails: Thumbnails, groups: Ints, *, n_workers: int = 1) -> Candidates:
    """Return the pairs of different groups that may be copies, each with its closest view.

    Parameters
    ----------
    thumbnails : (N, SIDE, SIDE) uint8
        Of `describe`. Plain ones resemble nothing.
    groups : (N,) int
        Pairs of equal numbers are left out.
    n_workers : int
        Threads, each of which searches for one view at a time.
    """
    kept = np.flatnonzero(~is_plain(thumbnails))
    if len(kept) < 2:
        return Candidates(*_NO_ROWS)
    # Threads of BLAS and of views would hinder each other.
    with threadpool_limits(1), ThreadPoolExecutor(n_workers) as pool:
        cells = _Cells(_features(thumbnails, kept, VIEWS[0]))

        def of_view(place: int) -> list[_Rows]:
            return list(_near_view(cells, thumbnails, kept, groups[kept], place))

        found = [_NO_ROWS]
        for rows in pool.map(of_view, range(len(VIEWS))):
            found += rows
    first, second, view, distance = map(np.concatenate, zip(*found, strict=True))
    return _closest(kept[first], kept[second], view, distance)


_Rows = tuple[Ints, Ints, Ints, Floats32]
"""Columns of `Candidates`."""
_NO_PLACES = np.zeros(0, np.int64)
_NO_ROWS: _Rows = (_NO_PLACES, _NO_PLACES, _NO_PLACES, np.zeros(0, np.float32))


def _near_view(
    cells: "_Cells", thumbnails: Thumbnails, kept: Ints, groups: Ints, place: int
) -> Iterator[_Rows]:
    """Yield the pairs of kept images whose first one has a view that resembles the second."""
    view = VIEWS[place]
    limit = _TANGENT_RADIUS_WHOLE if view.window.is_whole else _TANGENT_RADIUS
    for images in _parts(np.arange(len(kept)), _QUERIES):
        for query, second in cells.near(_features(thumbnails, kept[images], view)):
            first = images[query]
            for other in _parts(np.flatnonzero(groups[first] != groups[second]), _PAIRS_AT_ONCE):
                a, b = first[other], second[other]
                distance = _tangent_distance(thumbnails, view, kept[a], cells.features[b])
                near = distance <= limit
                yield a[near], b[near], np.full(int(near.sum()), place), distance[near]


def _closest(first: Ints, second: Ints, view: Ints, distance: Floats32) -> Candidates:
    """Return one row for each pair, that of its smallest distance, in the order of the pairs.

    A pair that is not among the `_MOST` closest of either image is left out.
    """
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((view, first, distance, high, low))
    low, high = low[order], high[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    at = order[is_new]
    at = at[is_among_closest(first[at], second[at], distance[at], _MOST)]
    return Candidates(first[at], second[at], view[at], distance[at])


def is_among_closest(first: Ints, second: Ints, distance: Floats32, n_most: int) -> Bools:
    """Return (M,) True for the pairs that are among the `n_most` closest of one of their images."""
    pair = np.tile(np.arange(len(first)), 2)
    images = np.concatenate([first, second])
    order = np.lexsort((pair, distance[pair], images))
    _, starts, sizes = np.unique(images[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    kept = np.zeros(len(first), bool)
    kept[pair[order[rank < n_most]]] = True
    return kept


class _Cells:
    """Features in cells around some of them, for searches within `_RADIUS`."""

    def __init__(self, features: Floats32) -> None:
        self.features = features
        n = min(len(features), max(1, int(_CELLS_PER_ROOT * len(features) ** 0.5)))
        at = rng_for(0, "audit", "cells").choice(len(features), n, replace=False)
        self._centres = features[np.sort(at)]
        cell = np.concatenate([self._nearest(part, 1)[:, 0] for part in _parts(features)])
        self._order = np.argsort(cell, kind="stable")
        self._starts = np.searchsorted(cell[self._order], np.arange(n + 1))

    def _nearest(self, features: Floats32, n: int) -> Ints:
        """Return (N, n) the cells nearest to each row, in no order."""
        likeness = features @ self._centres.T
        if n >= likeness.shape[1]:
            return np.broadcast_to(np.arange(likeness.shape[1]), likeness.shape)
        nearest = np.argpartition(likeness, -n, axis=1)[:, -n:]
        return nearest.copy()  # a view would keep all of it in memory

    def near(self, queries: Floats32) -> Iterator[tuple[Ints, Ints]]:
        """Yield (rows of `queries`, rows of the features within the radius), cell by cell."""
        probes = np.concatenate([self._nearest(part, _N_PROBES) for part in _parts(queries)])
        order = np.argsort(probes, axis=None, kind="stable")
        rows = order // probes.shape[1]
        starts = np.searchsorted(probes.ravel()[order], np.arange(len(self._centres) + 1))
        least = 1 - _RADIUS**2 / 2  # scalar product of unit vectors at this distance
        for cell in range(len(self._centres)):
            members = self._order[self._starts[cell] : self._starts[cell + 1]]
            asking = rows[starts[cell] : starts[cell + 1]]
            for part in _parts(asking, max(1, _PRODUCTS // max(1, len(members)))):
                row, column = np.nonzero(queries[part] @ self.features[members].T >= least)
                yield part[row], members[column]


def _parts(rows: npt.NDArray[S], size: int = _CHUNK) -> Iterator[npt.NDArray[S]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _cosines(x: Floats64, n: int) -> Floats64:
    """Return (n, X) the first cosines of the transform at positions in [0, 1]."""
    return np.cos(np.pi * np.arange(n)[:, None] * x[None, :])


@cache
def _analysis() -> Floats32:
    """Return the (_BAND, SIDE) matrix that maps samples to amplitudes of cosines."""
    rows = _cosines((np.arange(SIDE) + 0.5) / SIDE, _BAND) * 2 / SIDE
    rows[0] /= 2
    return rows.astype(np.float32)


def _axis(start: float, size: float) -> Floats64:
    """Return the (_KEPT, _BAND) matrix from the cosines of a side to those of a part of it."""
    at = (np.arange(SIDE) + 0.5) / SIDE
    inner = _cosines(at, _KEPT) * np.sqrt(2 / SIDE)
    inner[0] /= np.sqrt(2)
    return np.asarray(inner @ _cosines(start + size * at, _BAND).T)


def _matrix(window: Window, *, is_mirrored: bool) -> Floats32:
    """Return the (_BAND**2, 48) matrix from the cosines of an image to the features of a view."""
    across, down = np.meshgrid(np.arange(_KEPT), np.arange(_KEPT))
    kept = (across + down <= _MAX_ORDER) & (across + down > 0)  # without the mean
    rows, columns = _axis(window.top, window.height), _axis(window.left, window.width)
    if is_mirrored:
        columns[1::2] *= -1  # odd cosines change their sign
    whole = np.einsum("ui,vj->uvij", rows, columns)[kept]
    return np.ascontiguousarray(whole.reshape(len(whole), -1).T, np.float32)


@dataclass(frozen=True)
class _Operators:
    """The matrices of a view, and of its changes by small shifts and scales."""

    view: View

    @cached_property
    def features(self) -> Floats32:
        return _matrix(self.view.window, is_mirrored=self.view.is_mirrored)

    @cached_property
    def tangents(self) -> Floats32:
        """(4, _BAND**2, 48) differences by the start and the size of each side."""
        w, rows = self.view.window, []
        for top, height, left, width in np.eye(4) * _STEP:
            more = Window(w.top + top, w.height + height, w.left + left, w.width + width)
            less = Window(w.top - top, w.height - height, w.left - left, w.width - width)
            mirrored = self.view.is_mirrored
            rows.append(_matrix(more, is_mirrored=mirrored) - _matrix(less, is_mirrored=mirrored))
        return np.array(rows)


@cache
def _operators(view: View) -> _Operators:
    return _Operators(view)


def _amplitudes(thumbnails: npt.NDArray[Any]) -> Floats32:
    """Return (N, _BAND**2) the cosines of thumbnails."""
    found = _analysis() @ thumbnails.astype(np.float32) @ _analysis().T
    return found.reshape(len(thumbnails), -1)


def _toned(thumbnails: Thumbnails, view: View) -> Thumbnails:
    return np.minimum(thumbnails, _CLIP) if view.is_clipped else thumbnails


def _features(thumbnails: Thumbnails, kept: Ints, view: View) -> Floats32:
    """Return (N, 48) the features of a view of the kept images, of length 1."""
    matrix = _operators(view).features
    found = np.empty((len(kept), matrix.shape[1]), np.float32)
    for rows, at in zip(_parts(found), _parts(kept), strict=True):
        np.matmul(_amplitudes(_toned(thumbnails[at], view)), matrix, out=rows)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return found


def _tangent_distance(
    thumbnails: Thumbnails, view: View, rows: Ints, targets: Floats32
) -> Floats32:
    """Return (M,) the distance of targets from views, after the best small change of each view.

    Changes are linear: a gain, shifts and scales of both sides, a gamma, and a loss of highlights.
    """
    distinct, places = np.unique(rows, return_inverse=True)
    chosen = _toned(thumbnails[distinct], view)
    operators, amplitudes = _operators(view), _amplitudes(chosen)
    features = amplitudes @ operators.features
    tones = (chosen / np.float32(255)) ** 1.5 * 255, np.minimum(chosen, _CLIP)
    basis = np.stack(
        [
            features,
            *(amplitudes @ tangent for tangent in operators.tangents),
            *(_amplitudes(tone) @ operators.features - features for tone in tones),
        ],
        axis=1,
    )  # (distinct, 7, 48)
    basis /= np.maximum(np.linalg.norm(features, axis=1), 1e-6)[:, None, None]
    ridge = np.diag([0.0] + [_RIDGE] * (basis.shape[1] - 1)) + 1e-7 * np.eye(basis.shape[1])
    inverse = np.linalg.inv(basis @ basis.transpose(0, 2, 1) + ridge)
    solver = (inverse @ basis).astype(np.float32)
    weights = np.matmul(solver[places], targets[:, :, None])
    rest = targets - np.matmul(basis[places].transpose(0, 2, 1), weights)[:, :, 0]
    return np.asarray(np.linalg.norm(rest, axis=1), np.float32)
