"""Azimuthal averaging: the coefficients of a half spectrum that belong to each radius."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hffkit.errors import ImageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_N_CACHED = 8  # shapes; 1024x1024 takes 12 MB


# The position of radius 0 in a spectrum whose DC is shifted to (H // 2, W // 2). The paper takes
# the middle of the pixels, which for even sides is half a coefficient beside the DC.
CENTRES: Mapping[str, Callable[[int, int], tuple[float, float]]] = {
    "paper": lambda height, width: ((height - 1) / 2, (width - 1) / 2),
    "true": lambda height, width: (height // 2, width // 2),
}


def n_radii(height: int, width: int, centre: str) -> int:
    """Return the length of the profile of a shape, without the first and the last radius."""
    y, x = CENTRES[centre](height, width)
    return int(np.hypot(max(y, height - 1 - y), max(x, width - 1 - x))) - 1


@lru_cache(_N_CACHED)
def radial_means(height: int, width: int, centre: str) -> "csr_array":
    """Return the matrix (R, H * (W // 2 + 1)) that averages coefficients over each radius.

    The spectrum of a real image is symmetric, so only half of it is computed; the coefficients of
    the other half are counted at their own radii. Radii are rounded down. Radius 0 and the last
    one are left out, as in the notebooks.

    Raises
    ------
    ImageError
        If the shape is too small, or is not square and `centre` is not the paper's: rings around
        the true centre of an oblong image would mix frequencies.
    """
    length = n_radii(height, width, centre)
    if length < 1:
        raise ImageError(
            f"{width}x{height} pixels are too small for a spectrum without its first and last "
            "radius. At least 4x4 are needed."
        )
    if centre != "paper" and height != width:
        raise ImageError(
            f"{width}x{height} pixels are not square, and rings around the true centre would mix "
            "frequencies. Use `crop` square, or `centre` paper."
        )
    from scipy.sparse import csr_array  # late: SciPy takes long to load

    half = width // 2 + 1
    rows, columns = np.indices((height, width))
    y, x = CENTRES[centre](height, width)
    radii = np.hypot(
        (rows + height // 2) % height - y, (columns + width // 2) % width - x
    ).astype(np.int64)  # of each coefficient at its place in the FFT  # fmt: skip
    is_mirrored = columns >= half
    twin_rows = np.where(is_mirrored, -rows % height, rows)
    twin_columns = np.where(is_mirrored, width - columns, columns)
    kept = (radii >= 1) & (radii <= length)
    counts = np.bincount(radii[kept], minlength=length + 1)
    places = (radii[kept] - 1, (twin_rows * half + twin_columns)[kept])
    means = csr_array((1 / counts[radii[kept]], places), shape=(length, height * half))
    means.sum_duplicates()
    means.sort_indices()
    return means
