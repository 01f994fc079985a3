"""Alignment of a derived video with its target, which decides if the target's boxes fit it.

A forgery changes the face only. So thumbnails of both videos, outside the face, must match best
at the same frame and place. On three real pairs of FaceForensics++ the mean squared difference in
grey levels is 0.4 to 4 if aligned, 14 to 37 one frame off where something moves, hundreds one
thumbnail pixel off, and thousands under a zoom of 0.9.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from hffkit.arrays import Bools, Floats32
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, thumbnail

WIDTH = 128  # of a thumbnail, px
_REACH = 2  # largest shift in space that is tried, thumbnail px
_WINDOW = 32  # largest shift in time that is tried, frames
_NEIGHBOURS = (-2, -1, 1, 2)  # frames around a probe whose thumbnails the target keeps
_FACTOR, _SLACK = 1.25, 1.0  # margin by which a shift must beat none; slack in squared grey levels
_FLAT = 25.0  # variance below which the surroundings decide nothing
_ALIKE = 0.1  # largest mean squared difference over variance of a match


FrameThumbnails = Mapping[int, Floats32]
"""Grey thumbnails by frame number."""


class Alignment(Enum):
    """Result of a comparison of thumbnails."""

    ALIGNED = "aligned"
    SHIFTED = "shifted"
    DIFFERENT = "different"
    UNCLEAR = "unclear"


@dataclass(slots=True)
class Surroundings:
    """Thumbnails of some of a video's frames, and the size of the frames."""

    thumbnails: dict[int, Floats32] = field(default_factory=dict)  # (h, 128), by frame number
    frame_size: tuple[int, int] | None = None  # width, height in px

    def add(self, number: int, grey_image: Image) -> None:
        """Add the thumbnail of a frame, from its (H, W) uint8 luma."""
        self.frame_size = (grey_image.shape[1], grey_image.shape[0])
        self.thumbnails[number] = thumbnail(grey_image, WIDTH).astype(np.float32)


def worth_keeping(planned: Iterable[int], probes: Sequence[int]) -> set[int]:
    """Return the frames whose thumbnails a target keeps: planned ones near probes, neighbours."""
    near = {n for n in planned if any(abs(n - probe) <= _WINDOW for probe in probes)}
    return near | {probe + step for probe in probes for step in (0, *_NEIGHBOURS)}


def compare(
    target: Surroundings,
    derived: Surroundings,
    faces: Mapping[int, Box] | None,
    probes: Sequence[int],
) -> tuple[Alignment, str]:
    """Compare a derived video with its target.

    Parameters
    ----------
    target, derived : Surroundings
        Of the target the probes, their neighbours and the planned frames near them; of the derived
        video the probes.
    faces : mapping of int to box, optional
        Crops of the target by frame number; pixels inside are not compared. None compares whole
        frames, for two qualities of one video.
    probes : sequence of int
        Numbers of the frames to compare.

    Returns
    -------
    Alignment, str
        The result and its reason in words, empty if aligned.
    """
    if derived.frame_size not in (None, target.frame_size):  # None: no frame was kept
        sizes = [
            "x".join(map(str, size)) if size else "nothing"
            for size in (derived.frame_size, target.frame_size)
        ]
        return Alignment.SHIFTED, f"frames are {sizes[0]}, the target's {sizes[1]}"
    probes = [
        n
        for n in probes
        if (faces is None or n in faces)
        and n in target.thumbnails
        and n in derived.thumbnails
        and derived.thumbnails[n].shape == next(iter(target.thumbnails.values())).shape
    ]
    if not probes:
        return Alignment.UNCLEAR, "no frame to compare"
    what = "the frames" if faces is None else "the surroundings of the face"
    masks = {n: _compared(target, None if faces is None else faces[n]) for n in probes}
    ours, theirs = derived.thumbnails, target.thumbnails
    at_zero = _median([_difference(ours[n], theirs[n], masks[n]) for n in probes])
    spread = _median([float(theirs[n][masks[n]].var()) for n in probes])
    when, least = _best_time(theirs, ours, masks)
    if when != 0 and least * _FACTOR + _SLACK < at_zero:
        return Alignment.SHIFTED, f"matches the target's frames {when:+d} better than its own"
    for part in _parts(next(iter(masks.values())).shape):
        place, least, here = _best_place(theirs, ours, {n: m & part for n, m in masks.items()})
        if place != (0, 0) and least * _FACTOR + _SLACK < here:
            return Alignment.SHIFTED, f"part of the frame matches best {place} thumbnail px away"
    if spread < _FLAT:
        return Alignment.UNCLEAR, f"{what} are flat"
    if at_zero > _ALIKE * spread:
        return Alignment.DIFFERENT, f"{what} differ"
    return Alignment.ALIGNED, ""


def _compared(target: Surroundings, face: Box | None) -> Bools:
    """Return a mask of the pixels to compare: outside the crop and off the border by the reach."""
    shape = next(iter(target.thumbnails.values())).shape
    mask = np.zeros(shape, bool)
    mask[_REACH : -_REACH or None, _REACH : -_REACH or None] = True
    if face is None:
        return mask
    scale = shape[1] / target.frame_size[0] if target.frame_size else 1.0
    x, y, size = (value * scale for value in face)
    mask[int(y) : int(y + size) + 1, int(x) : int(x + size) + 1] = False
    return mask


def _parts(shape: tuple[int, ...]) -> list[Bools]:
    """Return masks of the four quarters of a thumbnail, which a zoom shifts in different ways."""
    rows, columns = np.indices(shape)
    low, right = rows >= shape[0] // 2, columns >= shape[1] // 2
    return [low & right, low & ~right, ~low & right, ~low & ~right]


def _best_time(
    target: FrameThumbnails, derived: FrameThumbnails, masks: Mapping[int, Bools]
) -> tuple[int, float]:
    by_shift: dict[int, list[float]] = {}
    for probe, mask in masks.items():
        for number, theirs in target.items():
            if abs(number - probe) <= _WINDOW:
                value = _difference(derived[probe], theirs, mask)
                by_shift.setdefault(number - probe, []).append(value)
    # A shift that few probes show may be chance: more than half of them must.
    enough = {s: _median(v) for s, v in by_shift.items() if 2 * len(v) > len(masks)}
    return min(enough.items(), key=lambda row: row[1])


def _best_place(
    target: FrameThumbnails, derived: FrameThumbnails, masks: Mapping[int, Bools]
) -> tuple[tuple[int, int], float, float]:
    steps = range(-_REACH, _REACH + 1)
    values = {
        (dx, dy): _median(
            [_difference(derived[n], target[n], mask, (dx, dy)) for n, mask in masks.items()]
        )
        for dx in steps
        for dy in steps
    }
    place, least = min(values.items(), key=lambda row: row[1])
    return place, least, values[0, 0]


def _difference(
    derived: Floats32, target: Floats32, mask: Bools, shift: tuple[int, int] = (0, 0)
) -> float:
    """Return the mean squared difference of two thumbnails, the target's moved right and down."""
    if not mask.any():
        return 0.0
    moved = np.roll(target, shift, axis=(1, 0))
    return float(np.mean((derived[mask] - moved[mask]) ** 2))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
