"""Blurs of robustness suites: Gaussians by sigma, the disc of a lens, and pixelation.

Suites cut Gaussians at different radii and mirror borders differently, which changes pixels by
several grey levels where sigma is large. Each convention is an operation of its own.
"""

import functools
import math

import cv2
import numpy as np

from hffkit.arrays import Floats64
from hffkit.degrade.parameter import (
    Choice,
    Interval,
    check,
    number_above,
    number_from,
    odd_from,
    whole_from,
)
from hffkit.errors import ImageError
from hffkit.media.image import Image, rounded

_LEAST_SIGMA = 0.01  # px: at this and below, the neighbours weigh nothing
_STRIPES = 512  # columns a pixel is divided into where the area of a disc in it is integrated

SIGMA = Interval("sigma", number_from(0, 20, "from {:g} to {:g} px"), 0.5, 3.0)
KERNEL = Choice("kernel", odd_from(1, 99), (7, 9, 13, 17, 21))
RADIUS = Interval("radius", number_above(0, 50, "above {:g}, at most {:g} px"), 1.0, 8.0)
FACTOR = Choice("factor", whole_from(1, 64), (2, 3, 4, 5, 6))


def blur(image: Image, sigma: float) -> Image:
    """Blur with a Gaussian cut at 4 sigma, borders mirrored with the edge pixel, as scipy does."""
    return _gaussian(image, sigma, int(4 * check(SIGMA, sigma) + 0.5), cv2.BORDER_REFLECT)


def blur_3(image: Image, sigma: float) -> Image:
    """Blur with a Gaussian cut at 3 sigma, rounded up, borders mirrored without the edge pixel."""
    return _gaussian(image, sigma, math.ceil(3 * check(SIGMA, sigma)), cv2.BORDER_REFLECT_101)


def blur_2(image: Image, sigma: float) -> Image:
    """Blur with a Gaussian cut at 2 sigma, rounded up, borders repeated."""
    return _gaussian(image, sigma, math.ceil(2 * check(SIGMA, sigma)), cv2.BORDER_REPLICATE)


def blur_kernel(image: Image, kernel: int) -> Image:
    """Blur with a Gaussian of `kernel` x `kernel` pixels and sigma kernel / 6."""
    sigma = check(KERNEL, kernel) / 6
    return _gaussian(image, sigma, kernel // 2, cv2.BORDER_REFLECT_101)


def _gaussian(image: Image, sigma: float, radius: int, border: int) -> Image:
    """Weight by the sampled Gaussian, in single precision; OpenCV's own has taps of 1/256."""
    sigma = max(sigma, _LEAST_SIGMA)
    taps = np.exp(-(np.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    return rounded(cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, borderType=border))


def lens_blur(image: Image, radius: float) -> Image:
    """Average over a disc of `radius` pixels, as a lens out of focus does; borders repeated.

    A pixel at the rim counts by the area of it that the disc covers.
    """
    disc = _disc(check(RADIUS, radius))
    return rounded(cv2.filter2D(image, cv2.CV_32F, disc, borderType=cv2.BORDER_REPLICATE))


@functools.cache
def _disc(radius: float) -> Floats64:
    """Return the share of a disc that falls into each pixel around its centre."""
    reach = math.ceil(radius - 0.5)
    edges = np.arange(-reach, reach + 2) - 0.5  # of pixels, along both sides
    stripes = (np.arange((2 * reach + 1) * _STRIPES) + 0.5) / _STRIPES - reach - 0.5
    half = np.sqrt(np.maximum(radius**2 - stripes**2, 0))  # the disc is as high as twice that
    below = np.clip(edges[:, None], -half, half)
    areas = np.diff(below, axis=0).reshape(2 * reach + 1, 2 * reach + 1, _STRIPES).sum(axis=2)
    return np.asarray(areas / areas.sum(), np.float64)


def pixelate(image: Image, factor: int) -> Image:
    """Reduce both sides to 1/factor, rounded down, and enlarge again, both by INTER_LINEAR."""
    height, width = image.shape[:2]
    size = (width // check(FACTOR, factor), height // factor)
    if min(size) < 1:
        raise ImageError(f"{width}x{height} pixels reduced to 1/{factor} leave no pixel")
    small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.array(large, np.uint8)
