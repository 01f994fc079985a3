"""Spatial filtering (ME, GB, MED) and enhancement (GC) of Table IX, by OpenCV.

Image borders: mirrored without the edge pixel (reflect 101) for mean and Gaussian, repeated for
the median.
"""

import math

import cv2
import numpy as np

from hffkit.degrade.parameter import Choice, Rule, check, number, whole
from hffkit.imaging import Image

_MAX_KERNEL = 99
_MAX_GAMMA = 100.0


def _is_kernel(kernel: int) -> bool:
    return kernel % 2 == 1 and 1 <= kernel <= _MAX_KERNEL


def _is_gamma(gamma: float) -> bool:
    return math.isfinite(gamma) and 0 < gamma <= _MAX_GAMMA


KERNEL = Choice(
    "kernel", Rule(f"an odd whole number from 1 to {_MAX_KERNEL}", whole, _is_kernel), (3, 5, 7)
)
GAMMA = Choice(
    "gamma",
    Rule(f"a number above 0, at most {_MAX_GAMMA:.0f}", number, _is_gamma),
    (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
)


def mean_filter(image: Image, kernel: int) -> Image:
    """Return the mean over `kernel` x `kernel` pixels, rounded."""
    side = check(KERNEL, kernel)
    return np.asarray(cv2.blur(image, (side, side)), np.uint8)


def gaussian_filter(image: Image, kernel: int) -> Image:
    """Return the Gaussian-weighted mean over `kernel` x `kernel` pixels, sigma 0 as in Table IX.

    OpenCV then takes [1 2 1]/4, [1 4 6 4 1]/16 and [2 7 14 18 14 7 2]/64 for kernels 3, 5 and 7,
    and sigma = 0.3 ((kernel - 1)/2 - 1) + 0.8 above.
    """
    side = check(KERNEL, kernel)
    return np.asarray(cv2.GaussianBlur(image, (side, side), 0), np.uint8)


def median_filter(image: Image, kernel: int) -> Image:
    """Return the median over `kernel` x `kernel` pixels of each channel."""
    return np.asarray(cv2.medianBlur(image, check(KERNEL, kernel)), np.uint8)


def gamma_correction(image: Image, gamma: float) -> Image:
    """Return 255 (v / 255)^gamma, rounded, for each value v: above 1 darkens, 128 to 64 at 2.0."""
    curve = np.rint(255 * (np.arange(256) / 255) ** check(GAMMA, gamma)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, curve), np.uint8)
