"""Random operations: noise, impulses, masked blocks, scattered and shifted pixels.

An operation is a function of image and value only, because the manifest records nothing else. So
each takes its generator from the pixels: the same image, operation and value give the same result
in any worker, order and chain, and different images get different noise.
"""

import math

import cv2
import numpy as np

from hffkit.arrays import Floats32, Floats64
from hffkit.degrade.parameter import Choice, Interval, check, number_from, whole_from
from hffkit.errors import ImageError
from hffkit.manifest.seeds import rng_for
from hffkit.media.image import Image, pixels_sha256, rounded

_BLOCK = 8  # px of a masked block's side
_WHOLE = 256  # px of the shorter side for which a number of blocks is meant
_ROUNDS = 5  # of scattering

SIGMA = Interval("sigma", number_from(0, 255, "from {:g} to {:g} grey levels"), 2.0, 25.0)
VARIANCE = Interval("variance", number_from(0, 1), 0.001, 0.01)
SHARE = Interval("share", number_from(0, 1), 0.001, 0.03)
BLOCKS = Choice("blocks", whole_from(0, 10_000), (16, 32, 48, 64, 80))
JITTER = Interval("sigma", number_from(0, 20, "from {:g} to {:g} px"), 0.05, 1.0)
SHIFT = Choice("shift", whole_from(0, 100), (1, 3, 6, 8, 12))


def gaussian_noise(image: Image, sigma: float) -> Image:
    """Add white Gaussian noise of `sigma` grey levels to each channel."""
    return _noisy(image, check(SIGMA, sigma), "noise")


def gaussian_noise_of_variance(image: Image, variance: float) -> Image:
    """Add white Gaussian noise whose variance is that of values from 0 to 1."""
    return _noisy(image, 255 * math.sqrt(check(VARIANCE, variance)), "noise-var")


def _noisy(image: Image, sigma: float, name: str) -> Image:
    return rounded(image + sigma * _normal(_rng(image, name), image.shape))


def gaussian_noise_in_ycbcr(image: Image, variance: float) -> Image:
    """Add white Gaussian noise to Y, Cb and Cr in studio range, as DeeperForensics does.

    There Y spans 219 levels of 255 and chroma 224, so on the way back the noise grows by 255/219
    and 255/224, and then by the coefficients of the transform.
    """
    sigma = 255 * math.sqrt(check(VARIANCE, variance))
    noise = sigma * _normal(_rng(image, "noise-ycbcr"), image.shape)
    y, cb, cr = (noise[..., i] * np.float32(255 / s) for i, s in enumerate((219, 224, 224)))
    moved = np.stack([y + 1.403 * cr, y - 0.714 * cr - 0.344 * cb, y + 1.773 * cb], axis=2)
    return rounded(image + moved)


def impulse_noise(image: Image, share: float) -> Image:
    """Set a share of all values to 255 (half of them) or to 0, each channel on its own.

    The places are drawn with replacement, as in the original; where both fall, 0 wins.
    """
    n_values = int(check(SHARE, share) * image.size)
    places = _rng(image, "impulse").integers(0, image.size, n_values)
    done = image.reshape(-1).copy()
    done[places[: n_values // 2]] = 255
    done[places[n_values // 2 :]] = 0
    return np.asarray(done.reshape(image.shape), np.uint8)


def mask_blocks(image: Image, blocks: int) -> Image:
    """Cover `blocks` squares of 8 px with grey 128, at random places.

    Their number is multiplied by the shorter side over 256, rounded down; images below 256 px get
    as many as at 256.
    """
    height, width = image.shape[:2]
    if min(height, width) <= _BLOCK:
        raise ImageError(f"{width}x{height} pixels are too few for blocks of {_BLOCK} px")
    n_blocks = check(BLOCKS, blocks) * max(1, min(height, width) // _WHOLE)
    corners = _rng(image, "blocks").integers(0, (height - _BLOCK, width - _BLOCK), (n_blocks, 2))
    done = image.copy()
    for top, left in corners.tolist():
        done[top : top + _BLOCK, left : left + _BLOCK] = 128
    return done


def scatter(image: Image, sigma: float) -> Image:
    """Take each pixel from a place off by Gaussian noise of `sigma` px, five times in a row.

    Sampling is bilinear and borders are repeated.
    """
    check(JITTER, sigma)
    rng = _rng(image, "jitter")
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    done: Floats32 = image.astype(np.float32)
    for _ in range(_ROUNDS):
        down, right = np.float32(sigma) * _normal(rng, (2, height, width))
        done = _sampled(done, rows - down, columns - right)
    return rounded(done)


def _sampled(image: Floats32, rows: Floats32, columns: Floats32) -> Floats32:
    """Interpolate between four pixels; OpenCV's remap would round places to 1/32 px."""
    height, width = image.shape[:2]
    y, x = (np.clip(at, 0, n - 1) for at, n in ((rows, height), (columns, width)))
    top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (np.asarray(d, np.float32)[..., None] for d in (y - top, x - left))
    flat, upper, lower = image.reshape(-1, image.shape[2]), top * width, bottom * width
    first, second = flat.take(upper + left, axis=0), flat.take(upper + right, axis=0)
    third, fourth = flat.take(lower + left, axis=0), flat.take(lower + right, axis=0)
    above = first + (second - first) * across
    below = third + (fourth - third) * across
    return np.asarray(above + (below - above) * down, np.float32)


def shift_green(image: Image, shift: int) -> Image:
    """Shift the green channel by `shift` px in a random direction where the image has edges.

    The shifted channel is blended in by the gradient of the grey image, summed up, blurred with
    sigma 4 and stretched to 0..1. The direction lies between right and down.
    """
    direction = _rng(image, "shift").random(2)
    down, right = np.rint(direction / np.linalg.norm(direction) * check(SHIFT, shift)).astype(int)
    green = image[..., 1].astype(np.float64)
    height, width = green.shape
    rows = np.maximum(np.arange(height) - down, 0)
    columns = np.maximum(np.arange(width) - right, 0)
    share = _edges(image)
    done = image.copy()
    done[..., 1] = rounded(green[rows][:, columns] * share + green * (1 - share))
    return done


def _edges(image: Image) -> Floats64:
    """Return where an image has edges, from 0 to 1."""
    grey = (image / 255 @ np.array([0.299, 0.587, 0.114])).astype(np.float64)
    padded = np.pad(grey, 1, mode="edge")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    along = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    taps = np.exp(-(np.arange(-8, 9.0) ** 2) / 32)
    taps /= taps.sum()
    strength = np.hypot(across, along)
    blurred = cv2.sepFilter2D(strength, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REPLICATE)
    least, most = float(blurred.min()), float(blurred.max())
    if least == most:
        return np.asarray(blurred, np.float64)
    return np.asarray((blurred - least) / (most - least), np.float64)


def _rng(image: Image, name: str) -> np.random.Generator:
    """Return the generator of an operation on an image: its name and the pixels seed it."""
    return rng_for(0, name, pixels_sha256(image))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats32:
    return rng.standard_normal(shape, np.float32)
