"""Registration: lay one image over another, and measure the difference that is left."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.arrays import Bools, Floats32, Floats64
from hffkit.audit.neighbours import View, Window
from hffkit.media.image import Image

_SIDES = (32, 96)  # px: both images are reduced to these squares, one after the other
_SHARE = 0.75  # at most, of the shorter side of the smaller image
_N_STEPS = 4  # of Gauss-Newton at each size
_MAX_STEP = 0.02  # of a side
_BLACK, _WHITE = 1, 251  # values beyond which a pixel may be clipped
_LEAST = 0.15  # share of the pixels that must be unclipped; else all are compared
_N_KNOTS = 12  # of the curve of tones
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BINOMIAL = np.array([0.25, 0.5, 0.25], np.float32)


@dataclass(frozen=True, slots=True)
class Registered:
    """Result of a registration: the window of the first image that the second shows, the distance.

    The distance is the root mean square of the smoothed difference, after the best curve of tones
    for each channel, over that of the second image's details. Noise of codecs and resizing is
    smoothed away; what an editor changed is not. Colour is smoothed more than luma, because JPEG
    keeps less of it; the larger of the two differences counts.
    """

    window: Window
    gain: float  # mean of the second image over that of the window
    distance: float


def register(first: Image, second: Image, view: View) -> Registered:
    """Lay the view of an image over another, starting at the view's window."""
    w = view.window
    if view.is_mirrored:
        first = np.ascontiguousarray(first[:, ::-1])
        w = replace(w, left=1 - w.left - w.width)
    limit = int(_SHARE * min(*first.shape[:2], *second.shape[:2])) // 8 * 8
    at = np.array([w.top, w.height, w.left, w.width])
    for side in dict.fromkeys(max(16, min(side, limit)) for side in _SIDES):
        a, b = _reduced(first, side), _reduced(second, side)
        at = _aligned(a, b, at)
    return Registered(Window(*map(float, at)), *_difference(a, b, at))


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A smoothed square of an image, and where none of its pixels is clipped."""

    pixels: Floats32  # (S, S, 3)
    is_unclipped: Floats32  # (S, S)


def _reduced(image: Image, side: int) -> _Reduced:
    red, green, blue = cv2.split(image)
    brightest = cv2.max(cv2.max(red, green), blue)
    clipped = (brightest >= _WHITE) | (brightest <= _BLACK)
    small = _resized(image, side).astype(np.float32)
    share = _resized(clipped.astype(np.float32), side)
    return _Reduced(
        np.asarray(cv2.sepFilter2D(small, -1, _BINOMIAL, _BINOMIAL), np.float32),
        (share < 0.02).astype(np.float32),
    )


def _resized(image: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    how = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=how))


def _warped(plane: Floats32, at: Floats64, how: int = cv2.INTER_LINEAR) -> Floats32:
    """Return the part of a square that the window `at` shows, enlarged to the whole square."""
    side = plane.shape[0]
    top, height, left, width = at
    affine = np.array(
        [
            [width, 0, left * side + width / 2 - 0.5],
            [0, height, top * side + height / 2 - 0.5],
        ]
    )
    flags = how | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(
        plane, affine, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found, np.float32)


def _comparable(a: _Reduced, b: _Reduced, at: Floats64) -> Bools:
    found = (_warped(a.is_unclipped, at) > 0.99) & (b.is_unclipped > 0)
    return found if found.mean() >= _LEAST else np.ones_like(found)


def _aligned(a: _Reduced, b: _Reduced, at: Floats64) -> Floats64:
    """Return the window of `a` that `b` shows, by Gauss-Newton on luma with a quadratic tone."""
    side = a.pixels.shape[0]
    luma, target = a.pixels @ _LUMA, b.pixels @ _LUMA
    down, right = (np.asarray(slope * side, np.float32) for slope in np.gradient(luma))
    rows, columns = np.indices(luma.shape, np.float32) / side + 0.5 / side
    ridge = np.diag([1.0] * 4 + [1e-3] * 3)
    for _ in range(_N_STEPS):
        seen, by_top, by_left = (_warped(plane, at) for plane in (luma, down, right))
        tone = (seen, np.ones_like(seen), (seen - 128) ** 2 / 128)
        used = _comparable(a, b, at)
        basis = np.stack([by_top, by_top * rows, by_left, by_left * columns, *tone])[:, used]
        basis = basis.astype(np.float64)
        found = np.linalg.solve(basis @ basis.T + ridge, basis @ target[used])
        at = at + np.clip(found[:4] / max(found[4], 0.2), -_MAX_STEP, _MAX_STEP)
    return at


def _difference(a: _Reduced, b: _Reduced, at: Floats64) -> tuple[float, float]:
    """Return the gain and the distance of two registered images."""
    side = a.pixels.shape[0]
    seen, used = _warped(a.pixels, at, cv2.INTER_CUBIC), _comparable(a, b, at)
    rest = np.zeros_like(b.pixels)
    for channel in range(3):
        target = b.pixels[..., channel][used]
        rest[..., channel][used] = target - _toned(seen[..., channel][used], target)
    details = (b.pixels - _smoothed(b.pixels, side / 16))[used]
    # Pixels that are not compared have no difference, which smoothing spreads to the others.
    scale = max(float(np.mean(details**2)) * float(used.mean()), 1e-6)
    luma = np.mean(_smoothed(rest @ _LUMA, side / 32) ** 2)
    colour = np.mean(_smoothed(rest, side / 16) ** 2)
    gain = float(b.pixels.mean()) / max(float(seen.mean()), 1.0)
    return gain, float(np.sqrt(max(luma, colour) / scale))


def _smoothed(pixels: Floats32, sigma: float) -> Floats32:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)


def _toned(values: Floats32, targets: Floats32) -> Floats64:
    """Return `values` after the smooth curve, linear between knots, that fits `targets` best.

    Knots are denser at dark tones, where a gamma bends most.
    """
    x = np.sqrt(np.clip(values, 0, 255) / 255) * (_N_KNOTS - 1)
    knot = np.minimum(x.astype(np.int64), _N_KNOTS - 2)
    weight = x - knot
    basis = np.zeros((len(values), _N_KNOTS))
    rows = np.arange(len(values))
    basis[rows, knot], basis[rows, knot + 1] = 1 - weight, weight
    bends = np.diff(np.eye(_N_KNOTS), 2, axis=0)
    ridge = bends.T @ bends + 1e-6 * np.eye(_N_KNOTS)
    return np.asarray(basis @ np.linalg.solve(basis.T @ basis + ridge, basis.T @ targets))
