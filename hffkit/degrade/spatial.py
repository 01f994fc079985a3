"""Spatial filters (ME, GB, MED) and gamma correction (GC) of Table IX, by OpenCV.

Borders are mirrored without the edge pixel (reflect 101) for mean and Gaussian, and repeated for
the median.
"""

import cv2
import numpy as np

from hffkit.degrade.parameter import Choice, check, number_above, odd_from
from hffkit.media.image import Image

_NARROW = 512  # px: up to this width a 5x5 median of separate planes is faster

KERNEL = Choice("kernel", odd_from(1, 99), (3, 5, 7))
GAMMA = Choice(
    "gamma",
    number_above(0, 100, "a number above {:g}, at most {:g}"),
    (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
)


def mean_filter(image: Image, kernel: int) -> Image:
    """Average over `kernel` x `kernel` pixels, rounded."""
    side = check(KERNEL, kernel)
    return np.asarray(cv2.blur(image, (side, side)), np.uint8)


def gaussian_filter(image: Image, kernel: int) -> Image:
    """Blur with a Gaussian of `kernel` x `kernel` pixels, sigma 0 as in Table IX.

    For sigma 0 OpenCV takes [1 2 1]/4, [1 4 6 4 1]/16 and [2 7 14 18 14 7 2]/64 for kernels 3, 5
    and 7, and sigma = 0.3 ((kernel - 1)/2 - 1) + 0.8 above.
    """
    side = check(KERNEL, kernel)
    return np.asarray(cv2.GaussianBlur(image, (side, side), 0), np.uint8)


def median_filter(image: Image, kernel: int) -> Image:
    """Take the median over `kernel` x `kernel` pixels of each channel."""
    side = check(KERNEL, kernel)
    # OpenCV handles the ends of rows pixel by pixel for each channel, which costs a third of the
    # time on narrow images: benchmarks/formats.py measures it.
    if side == 5 and image.shape[1] <= _NARROW:
        return _median_of_planes(image, side)
    return np.asarray(cv2.medianBlur(image, side), np.uint8)


def _median_of_planes(image: Image, side: int) -> Image:
    """Take the median of the channels laid side by side in one grey image, each with borders."""
    height, width = image.shape[:2]
    reach = side // 2
    inner = slice(reach, reach + width)
    planes = np.empty((height, 3, width + 2 * reach), np.uint8)
    cv2.split(image, [planes[:, channel, inner] for channel in range(3)])
    planes[:, :, :reach] = planes[:, :, reach : reach + 1]
    planes[:, :, inner.stop :] = planes[:, :, inner.stop - 1 : inner.stop]
    done = cv2.medianBlur(planes.reshape(height, -1), side).reshape(planes.shape)
    return np.asarray(cv2.merge([done[:, channel, inner] for channel in range(3)]), np.uint8)


def gamma_correction(image: Image, gamma: float) -> Image:
    """Map each value v to 255 (v / 255)^gamma, rounded; gamma above 1 darkens (128 to 64 at 2)."""
    curve = np.rint(255 * (np.arange(256) / 255) ** check(GAMMA, gamma)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, curve), np.uint8)
