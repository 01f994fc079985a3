"""Whether a derived video lines up with its target, so that the target's boxes fit it.

A forgery changes the face and leaves the rest. So small thumbnails of both, away from the face,
must match best where frame and place are the same. Measured on three real pairs of
FaceForensics++: mean squared difference 0.4 to 4 grey levels when aligned; 14 to 37 one frame off
where something moves; hundreds one thumbnail pixel off; thousands under a zoom of 0.9.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from hffkit.manifest.samples import Box
from hffkit.media.image import Image, thumbnail

WIDTH = 128  # of a thumbnail, px
_REACH = 2  # px of thumbnail that a shift in space is looked for
_WINDOW = 32  # frames before and after that a shift in time is looked for
_NEIGHBOURS = (-2, -1, 1, 2)  # frames around a probe whose thumbnails the target keeps
_FACTOR, _SLACK = 1.25, 1.0  # a rival must beat shift 0 by this much; slack in grey levels squared
_FLAT = 25.0  # variance under which the surroundings say nothing
_ALIKE = 0.1  # mean squared difference over variance, up to which shift 0 is a match at all


class Alignment(Enum):
    """What the thumbnails say."""

    ALIGNED = "aligned"
    SHIFTED = "shifted"
    DIFFERENT = "different"
    UNCLEAR = "unclear"


@dataclass(slots=True)
class Surroundings:
    """Thumbnails of one video's frames, and where its face is."""

    thumbnails: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    frame_size: tuple[int, int] | None = None  # width, height in px

    def add(self, number: int, grey_image: Image) -> None:
        """Keep the thumbnail of frame `number`."""
        self.frame_size = (grey_image.shape[1], grey_image.shape[0])
        self.thumbnails[number] = thumbnail(grey_image, WIDTH).astype(np.float32)


def choose_probes(planned: Sequence[int]) -> list[int]:
    """Return at most five frames of the plan, evenly spaced."""
    n = min(5, len(planned))
    return [planned[int((i + 0.5) * len(planned) / n)] for i in range(n)]


def worth_keeping(planned: Iterable[int], probes: Sequence[int]) -> set[int]:
    """Return the frames whose thumbnails a target keeps: planned ones near a probe, neighbours."""
    near = {n for n in planned if any(abs(n - probe) <= _WINDOW for probe in probes)}
    return near | {probe + step for probe in probes for step in (0, *_NEIGHBOURS)}


def compare(
    target: Surroundings,
    derived: Surroundings,
    faces: Mapping[int, Box] | None,
    probes: Sequence[int],
) -> tuple[Alignment, str]:
    """Return the verdict on a derived video and, in words, why.

    Parameters
    ----------
    target, derived : Surroundings
        The target's holds the probes, their neighbours and the planned frames; the derived
        video's the probes.
    faces : mapping of frame number to box
        The target's crops; what lies inside is not compared. None: whole frames are, for both show
        the same.
    probes : sequence of int
        Frames to compare.
    """
    if derived.frame_size not in (None, target.frame_size):  # None: not one frame was kept
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
    at_zero = _median([_difference(derived, n, target, n, masks[n]) for n in probes])
    spread = _median([float(target.thumbnails[n][masks[n]].var()) for n in probes])
    when, least = _best_time(target, derived, masks)
    if when != 0 and least * _FACTOR + _SLACK < at_zero:
        return Alignment.SHIFTED, f"matches the target's frames {when:+d} better than its own"
    for part in _parts(next(iter(masks.values())).shape):
        place, least, here = _best_place(target, derived, {n: m & part for n, m in masks.items()})
        if place != (0, 0) and least * _FACTOR + _SLACK < here:
            return Alignment.SHIFTED, f"part of the frame matches best {place} thumbnail px away"
    if spread < _FLAT:
        return Alignment.UNCLEAR, f"{what} are flat"
    if at_zero > _ALIKE * spread:
        return Alignment.DIFFERENT, f"{what} differ"
    return Alignment.ALIGNED, ""


def _compared(target: Surroundings, face: Box | None) -> npt.NDArray[np.bool_]:
    """Return where thumbnails are compared: not in the crop, not within reach of the border."""
    shape = next(iter(target.thumbnails.values())).shape
    mask = np.zeros(shape, bool)
    mask[_REACH : -_REACH or None, _REACH : -_REACH or None] = True
    if face is None:
        return mask
    scale = shape[1] / target.frame_size[0] if target.frame_size else 1.0
    x, y, size = (value * scale for value in face)
    mask[int(y) : int(y + size) + 1, int(x) : int(x + size) + 1] = False
    return mask


def _parts(shape: tuple[int, ...]) -> list[npt.NDArray[np.bool_]]:
    """Return the four quarters of a thumbnail: a zoom shifts each one its own way."""
    rows, columns = np.indices(shape)
    low, right = rows >= shape[0] // 2, columns >= shape[1] // 2
    return [low & right, low & ~right, ~low & right, ~low & ~right]


def _best_time(
    target: Surroundings, derived: Surroundings, masks: Mapping[int, npt.NDArray[np.bool_]]
) -> tuple[int, float]:
    by_shift: dict[int, list[float]] = {}
    for probe, mask in masks.items():
        for number in target.thumbnails:
            if abs(number - probe) <= _WINDOW:
                value = _difference(derived, probe, target, number, mask)
                by_shift.setdefault(number - probe, []).append(value)
    # A shift seen at one probe only may be chance; three in five make a median that counts.
    enough = {s: _median(v) for s, v in by_shift.items() if 2 * len(v) > len(masks)}
    return min(((s, value) for s, value in enough.items()), key=lambda row: row[1])


def _best_place(
    target: Surroundings, derived: Surroundings, masks: Mapping[int, npt.NDArray[np.bool_]]
) -> tuple[tuple[int, int], float, float]:
    steps = range(-_REACH, _REACH + 1)
    values = {
        (dx, dy): _median(
            [_difference(derived, n, target, n, mask, (dx, dy)) for n, mask in masks.items()]
        )
        for dx in steps
        for dy in steps
    }
    place = min(values, key=lambda key: values[key])
    return place, values[place], values[0, 0]


def _difference(
    derived: Surroundings,
    probe: int,
    target: Surroundings,
    number: int,
    mask: npt.NDArray[np.bool_],
    shift: tuple[int, int] = (0, 0),
) -> float:
    if not mask.any():
        return 0.0
    moved = np.roll(target.thumbnails[number], shift, axis=(1, 0))
    return float(np.mean((derived.thumbnails[probe][mask] - moved[mask]) ** 2))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
