"""Trivial facts of pixels: colour, contrast, borders, the 8-px grid, high frequencies.

They need no knowledge of faces, so a detector that lives on them has learnt how images were made.
"""

from dataclasses import dataclass
from itertools import takewhile
from math import log10

import cv2
import numpy as np

from hffkit.arrays import Floats32, Floats64, Ints
from hffkit.audit.stored_facts import NAN, Fact
from hffkit.media.image import Image, decode_own_jpeg, encode_jpeg, grey, resize
from hffkit.media.jpeg_facts import ijg_tables

_GRID = 8  # px, of JPEG's blocks
_UNIFORM = 0.16  # variance of a line of a border over that of lines inside; JPEG adds ripples
_DARK = 20  # grey level: black after compression
_MOST_BORDER, _MOST_LINES = 0.25, 64  # of a side
_EDGE_LINES = 12  # the outer half is compared with the inner one
_MOST_SIDE = 256  # px: of larger images the centre is examined, beside their borders
_QUALITIES = range(10, 100)
_N_BLOCKS = 256  # of an image, at most, in the search for an earlier JPEG
_LEAST_USED = 48  # coefficients that are not zero
_NEAR = 3  # steps of quality: tables of neighbours share most low steps
_APART = 4  # steps of quality between two compressions that are told apart
_CLEAR = 0.62  # of the deviation that steps without a meaning would leave
RECODED = 75  # JPEG quality of the common re-encoding

PIXEL_FACTS: tuple[Fact, ...] = (
    Fact("red", "mean red", is_content=True),
    Fact("green", "mean green", is_content=True),
    Fact("blue", "mean blue", is_content=True),
    Fact("contrast", "contrast", is_content=True),
    Fact("saturation", "saturation", is_content=True),
    Fact("dark_rows", "black rows at top and bottom, px"),
    Fact("dark_columns", "black columns at the sides, px"),
    Fact("border", "uniform lines on all sides, px"),
    Fact("edge_step", "step next to the edge", is_content=True),
    Fact("earlier_quality", "JPEG quality found in the pixels"),
    Fact("first_quality", "quality of a JPEG before the file's own"),
    Fact("blockiness", "blockiness at 8 px", is_content=True),  # details hide the steps
    Fact("phase_x", "phase of the grid, columns"),
    Fact("phase_y", "phase of the grid, rows"),
    Fact("high_frequency", "high-frequency energy", is_content=True),
    Fact("middle_frequency", "middle-frequency energy", is_content=True),
)
_UNMADE = {
    "blockiness",
    "phase_x",
    "phase_y",
    "earlier_quality",
    "first_quality",
}  # by a common re-encoding
RECODED_FACTS = tuple(fact for fact in PIXEL_FACTS if fact.name not in _UNMADE)
HISTORY = tuple(place for place, fact in enumerate(PIXEL_FACTS) if not fact.is_content)


def pixel_facts(image: Image, quality: float = NAN) -> list[float]:
    """Return the facts of (H, W, 3) RGB pixels in the order of PIXEL_FACTS; NaN where undefined.

    `quality` is that of the JPEG file which holds them; NaN if none does.
    """
    whole = grey(image)
    luma = _centre(whole)
    red, green, blue = np.asarray(cv2.mean(image)[:3]).tolist()
    (block_x, phase_x), (block_y, phase_y) = _grid(luma, 1), _grid(luma, 0)
    return [
        red, green, blue, _contrast(luma), _saturation(image),
        *_borders(whole),
        *earlier_qualities(luma, quality), (block_x + block_y) / 2, phase_x, phase_y,
        *_frequencies(luma),
    ]  # fmt: skip


def recoded_facts(image: Image, side: int) -> list[float]:
    """Return those of PIXEL_FACTS that `RECODED_FACTS` names, of the re-encoded image."""
    again = recoded(image, side)
    luma = grey(again)
    colours = np.asarray(cv2.mean(again)[:3]).tolist()
    return [
        *colours, _contrast(luma), _saturation(again), *_borders(luma), *_frequencies(luma)
    ]  # fmt: skip


def recoded(image: Image, side: int) -> Image:
    """Return an image resized to a square and compressed as JPEG: one history for all classes."""
    small = resize(image, side, "pillow-bilinear")
    return decode_own_jpeg(encode_jpeg(small, RECODED))


def _contrast(luma: Image) -> float:
    """Return the standard deviation of the grey levels."""
    return float(cv2.meanStdDev(luma)[1][0, 0])


def _saturation(image: Image) -> float:
    """Return the mean difference of the largest and the smallest channel."""
    red, green, blue = cv2.split(image)
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(largest)[0] - cv2.mean(smallest)[0])


def _centre(luma: Image) -> Image:
    """Return the centre of an image, cut at the 8-px grid."""
    top, left = (max(0, side - _MOST_SIDE) // 2 // _GRID * _GRID for side in luma.shape)
    return luma[top : top + _MOST_SIDE, left : left + _MOST_SIDE]


def _borders(luma: Image) -> tuple[float, float, float, float]:
    """Return the black rows and columns, the uniform lines on all sides, and the step inside.

    A border is at most a quarter of its side and 64 px wide.
    """
    rows, columns = (max(1, min(_MOST_LINES, int(n * _MOST_BORDER))) for n in luma.shape)
    top, bottom = luma[:rows], luma[: -rows - 1 : -1]
    left, right = luma.T[:columns], luma.T[: -columns - 1 : -1]
    uniform = _MOST_LINES
    for lines in (left, right, top, bottom):
        uniform = min(uniform, _n_uniform(lines)) if uniform else 0
    dark_rows, dark_columns = _n_dark(top) + _n_dark(bottom), _n_dark(left) + _n_dark(right)
    return float(dark_rows), float(dark_columns), float(uniform), _edge_step(luma)


def _n_dark(lines: Image) -> int:
    """Return how many lines (N, L), from the first on, are black."""
    return sum(1 for _ in takewhile(lambda line: int(line.max()) < _DARK, lines))


def _n_uniform(lines: Image) -> int:
    """Return how many of the outermost lines (N, L) are uniform beside those further inside."""
    across = np.ascontiguousarray(lines.T)
    means = cv2.reduce(across, 0, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[0]
    squares = cv2.reduce(across, 0, cv2.REDUCE_SUM2, dtype=cv2.CV_64F)[0] / len(across)
    variances = (squares - means * means).tolist()
    inside = sorted(variances)[len(lines) * 4 // 5]
    limit = max(_UNIFORM * inside, 0.25)
    return sum(1 for _ in takewhile(lambda variance: variance <= limit, variances))


def _edge_step(luma: Image) -> float:
    """Return the largest step between the outermost lines, relative to the mean step inside."""
    steps = []
    for lines in (luma.T, luma):
        n = min(_EDGE_LINES, lines.shape[1])
        if n < _EDGE_LINES - 2:
            continue
        outer = np.concatenate((lines[:, :n], lines[:, : -n - 1 : -1]), axis=1)
        differences = cv2.absdiff(outer[:, 1:], outer[:, :-1])
        means = cv2.reduce(differences, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0].tolist()
        for side in (means[: n - 1], means[n:]):
            outside, inside = side[: _EDGE_LINES // 2], side[_EDGE_LINES // 2 :]
            steps.append(max(outside) / (sum(inside) / len(inside) + 1))
    return min(steps) if steps else NAN


_BEND = np.array([[1, -3, 3, -1]], np.float32)  # the third difference of four lines


def _grid(luma: Image, axis: int) -> tuple[float, float]:
    """Return the strength and phase of steps at every eighth line along an axis.

    The third differences |a - 3b + 3c - d| over four lines are averaged by the place of their
    middle, mod 8. The strength is the largest mean over the mean of the others.
    """
    if luma.shape[axis] < 4 * _GRID:
        return NAN, NAN
    third = cv2.filter2D(luma, cv2.CV_16S, _BEND if axis else _BEND.T, anchor=(0, 0))
    bent = cv2.threshold(cv2.convertScaleAbs(third), 40, 0, cv2.THRESH_TRUNC)[1]
    sums = cv2.reduce(bent, 1 - axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    n = (len(sums) - 3) // _GRID * _GRID  # the last three have no four lines
    by_phase = sums[:n].reshape(-1, _GRID).mean(axis=0) / luma.shape[1 - axis]
    largest = int(np.argmax(by_phase))
    rest = (by_phase.sum() - by_phase[largest]) / (_GRID - 1)
    return float(by_phase[largest] / (rest + 0.05)), float((largest + 2) % _GRID)


def _frequencies(luma: Image) -> tuple[float, float]:
    """Return the log energy of a Laplacian at the full and at half the resolution."""
    size = (max(1, luma.shape[1] // 2), max(1, luma.shape[0] // 2))
    half = cv2.resize(luma.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    bent = cv2.Laplacian(luma, cv2.CV_16S), cv2.Laplacian(half, cv2.CV_32F)
    full, middle = (log10(cv2.norm(each, cv2.NORM_L2SQR) / each.size + 0.1) for each in bent)
    return full, middle


_LOW_MODES = np.array([1, 2, 8, 9, 10, 16, 17, 3, 24, 11, 18, 25])  # places in a block of 64


@dataclass(frozen=True, slots=True)
class _Steps:
    """The different steps of quantisation of the low frequencies."""

    mode: Ints  # (S,) places in _LOW_MODES
    inverse: Floats32  # (S, 1)
    by_quality: Ints  # (Q, K) places of the steps of a quality


def _low_steps() -> _Steps:
    tables = ijg_tables()[list(_QUALITIES), 0][:, _LOW_MODES]
    mode = np.broadcast_to(np.arange(len(_LOW_MODES)), tables.shape)
    distinct, places = np.unique(
        np.stack([mode.ravel(), tables.ravel()]), axis=1, return_inverse=True
    )
    inverse = (1 / distinct[1][:, None]).astype(np.float32)
    return _Steps(distinct[0], inverse, places.reshape(tables.shape))


_STEPS = _low_steps()


def _low_dct() -> Floats32:
    """Return the basis of the low frequencies: columns (64, K) for the pixels of a block."""
    row, column = np.indices((_GRID, _GRID))
    basis = np.cos((2 * column + 1) * row * np.pi / (2 * _GRID))
    basis *= np.sqrt(np.where(row == 0, 1, 2) / _GRID)
    return np.asarray(np.kron(basis, basis)[_LOW_MODES].T, np.float32)


_LOW_DCT = _low_dct()


def earlier_qualities(luma: Image, quality: float = NAN) -> tuple[float, float]:
    """Return the IJG quality whose quantisation the pixels show, and that of a JPEG before it.

    The DCT of blocks on the grid of the first pixel is taken, as JPEG does. Steps of quantisation
    that were applied leave each coefficient near a multiple of its step; others leave it anywhere.
    The second one is looked for only in a JPEG file of `quality`, among coarser steps, which finer
    ones do not erase. Either is NaN if nothing is found.

    References
    ----------
    Fan and de Queiroz 2003, Identification of bitmap compression history (IEEE TIP 12, 2).
    """
    shares = _shares(luma)
    n_coarser = 0 if np.isnan(quality) else max(0, int(quality) - _APART - _QUALITIES[0])
    return _clearest(shares), _clearest(shares[:n_coarser])


def shows_quality(luma: Image, quality: int) -> bool:
    """Test whether the pixels show a quantisation of `quality`, or of one that is nearly the same.

    Coarser or finer ones may show as well, of an earlier JPEG, and where steps are multiples.
    """
    near = slice(
        max(0, quality - _NEAR - _QUALITIES[0]), max(0, quality + _NEAR + 1 - _QUALITIES[0])
    )
    return bool((_shares(luma)[near] < _CLEAR).any())


def _shares(luma: Image) -> Floats64:
    """Return the mean remainder of DCT coefficients by quality, 1 if its steps have no meaning."""
    height, width = (side // _GRID for side in luma.shape)
    if not height or not width:
        return np.full(len(_QUALITIES), np.inf)
    grid = luma[: height * _GRID, : width * _GRID].reshape(height, _GRID, width, _GRID)
    every = grid.transpose(0, 2, 1, 3).reshape(-1, _GRID * _GRID)
    blocks = every[:: max(1, len(every) // _N_BLOCKS)].astype(np.float32)
    left, n_used = _remainders(np.abs(blocks @ _LOW_DCT))
    sums = left[_STEPS.by_quality].sum(axis=1)
    n = n_used[_STEPS.by_quality].sum(axis=1)
    shares = 4 * sums / np.maximum(n, 1)  # uniform remainders have a mean of a quarter step
    shares[n < _LEAST_USED] = np.inf
    return np.asarray(shares, np.float64)


def _clearest(shares: Floats64) -> float:
    """Return the quality with the smallest remainders, the highest of equals; NaN if none fits."""
    if not len(shares):
        return NAN
    best = len(shares) - 1 - int(np.argmin(shares[::-1]))  # the steps of 74 are those of 75
    return float(_QUALITIES[best]) if shares[best] < _CLEAR else NAN


def _remainders(values: Floats32) -> tuple[Floats32, Floats32]:
    """Return the sum and number of the remainders of coefficients (N, K), by step.

    A coefficient of less than half a step is not counted: zeros fit every step.
    """
    steps = np.ascontiguousarray(values.T)[_STEPS.mode]
    steps *= _STEPS.inverse
    cv2.threshold(steps, 0.5, 0, cv2.THRESH_TOZERO, steps)
    whole = np.rint(steps)
    sums = cv2.reduce(cv2.absdiff(steps, whole), 1, cv2.REDUCE_SUM)
    used = cv2.threshold(whole, 0.5, 1, cv2.THRESH_BINARY)[1]
    numbers = cv2.reduce(used, 1, cv2.REDUCE_SUM)
    return np.asarray(sums[:, 0], np.float32), np.asarray(numbers[:, 0], np.float32)
