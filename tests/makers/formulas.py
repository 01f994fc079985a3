"""Published formulas of the operations of suites, in numpy and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.fft import dctn, idctn
from scipy.interpolate import CubicSpline
from skimage.color import lab2rgb, rgb2lab

from hffkit.manifest.seeds import rng_for
from hffkit.media.image import Image, pixels_sha256

Floats = npt.NDArray[Any]
Formula = Callable[[Image, float], Floats]

ROUNDING = 0.5 + 1e-3  # of grey levels to whole numbers


def separable(image: Image, taps: Floats, mode: str) -> Floats:
    rows = ndimage.correlate1d(image.astype(float), taps, axis=0, mode=mode)
    return np.asarray(ndimage.correlate1d(rows, taps, axis=1, mode=mode))


def bell(kernel: int, sigma: float) -> Floats:
    places = np.arange(kernel) - (kernel - 1) / 2
    heights = np.exp(-(places**2) / 2 / sigma**2)
    return np.asarray(heights / heights.sum())


TAPS = {  # OpenCV's for 8-bit images and sigma 0
    3: np.array([1, 2, 1]) / 4,
    5: np.array([1, 4, 6, 4, 1]) / 16,
    7: np.array([2, 7, 14, 18, 14, 7, 2]) / 64,
}


def opencvs_blur(image: Image, kernel: float) -> Floats:
    size = int(kernel)
    formula = bell(size, 0.3 * ((size - 1) / 2 - 1) + 0.8)
    return separable(image, TAPS.get(size, formula), "mirror")


def mean(image: Image, kernel: float) -> Floats:
    return separable(image, np.full(int(kernel), 1 / kernel), "mirror")


def median(image: Image, kernel: float) -> Floats:
    return np.asarray(ndimage.median_filter(image, (int(kernel), int(kernel), 1), mode="nearest"))


def planar(image: Image, kernel: Floats) -> Floats:
    """Convolve each channel with a kernel of two dimensions; borders repeated."""
    channels = [
        ndimage.convolve(image[..., i].astype(float), kernel, mode="nearest") for i in (0, 1, 2)
    ]
    return np.stack(channels, axis=2)


def scipys_blur(image: Image, sigma: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0)))


def torchvisions_blur(image: Image, sigma: float) -> Floats:
    kernel = {0.5: 5, 1.0: 7, 1.5: 11, 2.0: 13, 3.0: 19}[sigma]  # GenD's pairs
    return separable(image, bell(kernel, sigma), "mirror")


def fspecials_blur(image: Image, sigma: float) -> Floats:
    taps = bell(2 * int(np.ceil(2 * sigma)) + 1, sigma)
    return planar(image, np.outer(taps, taps))


def deeperforensics_blur(image: Image, kernel: float) -> Floats:
    return separable(image, bell(int(kernel), kernel / 6), "mirror")


def lens(image: Image, radius: float) -> Floats:
    """Count points of the disc in each pixel."""
    reach, n = int(np.ceil(radius)), 201
    points = np.linspace(-reach - 0.5, reach + 0.5, (2 * reach + 1) * n * 2 + 1)[1::2]
    inside = points[:, None] ** 2 + points**2 <= radius**2
    shares = inside.reshape(2 * reach + 1, n, 2 * reach + 1, n).mean(axis=(1, 3))
    return planar(image, shares / shares.sum())


def resampling(n_in: int, n_out: int, kernel: Callable[[Floats], Floats], reach: float) -> Floats:
    """Weights (n_out, n_in) of a kernel that widens where it reduces, as Pillow's do."""
    scale = max(1.0, n_in / n_out)
    centres = (np.arange(n_out) + 0.5) * (n_in / n_out)
    weights = np.zeros((n_out, n_in))
    for row, centre in enumerate(centres):
        first = max(0, int(centre - reach * scale + 0.5))
        last = min(n_in, int(centre + reach * scale + 0.5))
        places = np.arange(first, last)
        weights[row, first:last] = kernel((places + 0.5 - centre) / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def triangle(x: Floats) -> Floats:
    return np.asarray(np.maximum(0, 1 - np.abs(x)))


def cubic(x: Floats, a: float = -0.5) -> Floats:
    d = np.abs(x)
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d < 1, near, np.where(d < 2, far, 0))


KERNELS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "box": (lambda x: ((x > -0.5) & (x <= 0.5)).astype(float), 0.5),
    "bilinear": (triangle, 1),
    "hamming": (lambda x: np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)) * (np.abs(x) < 1), 1),
    "bicubic": (cubic, 2),
    "lanczos": (lambda x: np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3), 3),
}


def resized(image: Floats, size: tuple[int, int], kernel: str) -> Floats:
    """Resize to (height, width), with the grey levels clipped in between as Pillow does."""
    along, across = (
        resampling(n_in, n_out, *KERNELS[kernel])
        for n_in, n_out in zip(image.shape[:2], size, strict=True)
    )
    narrow = np.clip(np.einsum("xw,hwc->hxc", across, image, optimize=True), 0, 255)
    return np.asarray(np.clip(np.einsum("yh,hxc->yxc", along, narrow, optimize=True), 0, 255))


def there_and_back(kernel: str) -> Formula:
    def formula(image: Image, side: float) -> Floats:
        height, width = image.shape[:2]
        short = min(height, width)
        small = (int(side * height / short), int(side * width / short))
        return resized(resized(image.astype(float), small, kernel), (height, width), kernel)

    return formula


def opencv_resized(image: Floats, size: tuple[int, int], factor: float | None = None) -> Floats:
    """Bilinear between four pixels, without anti-aliasing; borders repeated.

    `factor` is that of the places; by default it is the ratio of the sizes.
    """
    weights = []
    for n_in, n_out in zip(image.shape[:2], size, strict=True):
        step = n_in / n_out if factor is None else 1 / factor
        places = np.clip((np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
        weights.append(triangle(places[:, None] - np.arange(n_in)))
    return np.asarray(np.einsum("yh,hwc,xw->yxc", weights[0], image, weights[1], optimize=True))


def opencv_scaled(image: Image, percent: float) -> Floats:
    size = [round(n * (100 + percent) / 100) for n in image.shape[:2]]
    return opencv_resized(image.astype(float), (size[0], size[1]), 1 + percent / 100)


def pixelated(image: Image, factor: float) -> Floats:
    height, width = image.shape[:2]
    small = opencv_resized(image.astype(float), (int(height // factor), int(width // factor)))
    return opencv_resized(small, (height, width))


def to_ycbcr(image: Floats) -> Floats:
    """DeeperForensics' studio range of OpenCV's YCrCb of floats, which has chroma about 0.5."""
    red, green, blue = np.moveaxis(image, 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cr, cb = 0.713 * (red - y) + 0.5, 0.564 * (blue - y) + 0.5
    return np.stack([(y * 219 + 16) / 255, (cb * 224 + 16) / 255, (cr * 224 + 16) / 255], axis=2)


def from_ycbcr(image: Floats) -> Floats:
    y = (image[..., 0] * 255 - 16) / 219
    cb, cr = ((image[..., i] * 255 - 16) / 224 - 0.5 for i in (1, 2))
    return np.stack([y + 1.403 * cr, y - 0.714 * cr - 0.344 * cb, y + 1.773 * cb], axis=2)


def deeperforensics_saturation(image: Image, factor: float) -> Floats:
    ycbcr = to_ycbcr(image.astype(float))
    ycbcr[..., 1:] = 0.5 + (ycbcr[..., 1:] - 0.5) * factor
    return from_ycbcr(ycbcr)


def hsv_saturation(image: Image, factor: float) -> Floats:
    """Through hue, saturation and value, by the sextants of the hue."""
    rgb = image / 255
    value, low = rgb.max(axis=2), rgb.min(axis=2)
    chroma = np.where(value > low, value - low, 1)
    red, green, blue = np.moveaxis(rgb, 2, 0)
    sextant = np.where(
        value == red,
        (green - blue) / chroma % 6,
        np.where(value == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    s = factor * np.where(value > 0, (value - low) / np.where(value > 0, value, 1), 0)
    f, number = sextant % 1, sextant.astype(int) % 6
    p, q, t = value * (1 - s), value * (1 - f * s), value * (1 - (1 - f) * s)
    sixes = np.array(
        [[value, t, p], [q, value, p], [p, value, t], [p, q, value], [t, p, value], [value, p, q]]
    )
    return np.asarray(
        255 * np.take_along_axis(np.moveaxis(sixes, 1, 3), number[None, ..., None], 0)[0]
    )


def contrasted(image: Image, amount: float) -> Floats:
    spline = CubicSpline(
        [0, 0.3, 0.5, 0.7, 1],
        [0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1],
        bc_type="not-a-knot",
    )
    return 255 * np.asarray(spline(image / 255))


def parabola(tones: Floats, middle: float) -> Floats:
    return np.asarray(np.clip(np.polyval(np.polyfit([0, 0.5, 1], [0, middle, 1], 2), tones), 0, 1))


def brightened(image: Image, amount: float) -> Floats:
    swapped = image[..., ::-1] / 255
    lab = rgb2lab(swapped)
    lab[..., 0] = 100 * parabola(lab[..., 0] / 100, 0.5 + amount / 2)
    lighter = np.clip(lab2rgb(lab), 0, 1)
    return np.asarray(255 * ((2 * parabola(swapped, 0.5 + amount / 2) + lighter) / 3)[..., ::-1])


def darkened(image: Image, amount: float) -> Floats:
    return 255 * parabola(image / 255, 0.5 - amount / 2)


def quantised(image: Image, levels: float) -> Floats:
    edges = np.histogram(image, int(levels), (0, 255))[1]
    bounds = [0, *(int(edge) for edge in edges[1:-1]), 256]
    bins = np.sum([image > bound for bound in bounds], axis=0)
    return np.asarray(255 * (bins - bins.min()) / (bins.max() - bins.min()))


def generator(image: Image, name: str) -> np.random.Generator:
    return rng_for(0, name, pixels_sha256(image))


def noisy(name: str, sigma_of: Callable[[float], float]) -> Formula:
    def formula(image: Image, value: float) -> Floats:
        normal = generator(image, name).standard_normal(image.shape, np.float32)
        return image + sigma_of(value) * normal.astype(float)

    return formula


def noisy_in_ycbcr(image: Image, variance: float) -> Floats:
    normal = generator(image, "noise-ycbcr").standard_normal(image.shape, np.float32)
    scaled = to_ycbcr(image.astype(float)) / 255 + np.sqrt(variance) * normal.astype(float)
    return from_ycbcr(scaled * 255)


def scattered(image: Image, sigma: float) -> Floats:
    rng = generator(image, "jitter")
    done = image.astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    for _ in range(5):
        down, right = sigma * rng.standard_normal((2, *image.shape[:2]), np.float32).astype(float)
        at = [rows - down, columns - right]
        channels = [
            ndimage.map_coordinates(done[..., i], at, order=1, mode="nearest") for i in (0, 1, 2)
        ]
        done = np.stack(channels, axis=2)
    return done


def shifted(image: Image, amount: float) -> Floats:
    a = generator(image, "shift").random(2)
    down, right = np.round(a / np.sum(a**2) ** 0.5 * amount).astype(int)
    grey = image @ np.array([0.299, 0.587, 0.114])
    gradients = [ndimage.correlate1d(grey, [-1, 0, 1], axis=i, mode="nearest") for i in (0, 1)]
    taps = bell(17, 4)
    edges = ndimage.convolve(
        np.sqrt(gradients[0] ** 2 + gradients[1] ** 2), np.outer(taps, taps), mode="nearest"
    )
    edges = (edges - edges.min()) / (edges.max() - edges.min())
    green = image[..., 1].astype(float)
    moved = ndimage.shift(green, (down, right), order=0, mode="nearest")
    done = image.astype(float)
    done[..., 1] = moved * edges + green * (1 - edges)
    return done


# ITU-T T.81, Annex K, tables K.1 and K.2.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *([(99,) * 8] * 4),
)


def jpeg(image: Image, quality: int) -> Floats:
    """Compress and decompress as baseline JPEG, 4:2:0, with cosine transforms in floats.

    Colours are those of JFIF, tables those of the IJG, and chroma is enlarged by triangles, all as
    libjpeg does it in whole numbers.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    red, green, blue = np.moveaxis(padded.astype(float), 2, 0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [np.rint(128 + (blue - grey) / 1.772), np.rint(128 + (red - grey) / 1.402)]
    y = jpeg_plane(np.rint(grey), LUMINANCE, quality)
    cb, cr = (
        np.floor(doubled(doubled(jpeg_plane(halved(each), CHROMINANCE, quality)).T).T + 0.5) - 128
        for each in chroma
    )
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    return np.asarray(np.clip(rgb, 0, 255)[:height, :width])


def jpeg_plane(plane: Floats, table: tuple[tuple[int, ...], ...], quality: int) -> Floats:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = np.clip((np.array(table) * scale + 50) // 100, 1, 255)[:, None]
    height, width = plane.shape
    blocks = (plane - 128).reshape(height // 8, 8, width // 8, 8)
    found = dctn(blocks, axes=(1, 3), norm="ortho") / steps
    kept = np.sign(found) * np.floor(np.abs(found) + 0.5) * steps
    levels = np.rint(idctn(kept, axes=(1, 3), norm="ortho") + 128)
    return np.asarray(np.clip(levels, 0, 255).reshape(height, width))


def halved(plane: Floats) -> Floats:
    """Average 2 x 2 pixels, rounded down and up by turns."""
    height, width = plane.shape
    sums = plane.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3))
    return np.asarray(np.floor((sums + 1 + np.arange(width // 2) % 2) / 4))


def doubled(plane: Floats) -> Floats:
    """Enlarge along the rows: three quarters of the nearest pixel, a quarter of the next."""
    padded = np.pad(plane, ((0, 0), (1, 1)), mode="edge") / 4
    both = 0.75 * plane + padded[:, :-2], 0.75 * plane + padded[:, 2:]
    return np.stack(both, axis=2).reshape(len(plane), -1)


FORMULAS: dict[str, tuple[Formula, float]] = {  # and how far from it a grey level may lie
    "me": (mean, ROUNDING),
    "gb": (opencvs_blur, 1.0),  # from 9 on OpenCV's taps are multiples of 1/256
    "med": (median, 0.0),
    "gc": (lambda image, gamma: 255 * (image / 255) ** gamma, ROUNDING),
    "sc": (opencv_scaled, 1.0),  # OpenCV's weights are multiples of 1/2048
    "blur": (scipys_blur, ROUNDING),
    "blur-3": (torchvisions_blur, ROUNDING),
    "blur-2": (fspecials_blur, ROUNDING),
    "blur-k": (deeperforensics_blur, ROUNDING),
    "lens": (lens, 0.55),  # the points counted are finite
    "pixel": (pixelated, 2.0),  # OpenCV rounds weights and the small image
    "sat": (deeperforensics_saturation, 0.75),  # the coefficients of the transform are rounded
    "sat-hsv": (hsv_saturation, ROUNDING),
    "dim": (lambda image, factor: image * factor, ROUNDING),
    "contrast": (contrasted, ROUNDING),
    "brighten": (brightened, 0.8),  # OpenCV's CIELAB is interpolated in a table
    "darken": (darkened, ROUNDING),
    "quant": (quantised, ROUNDING),
    "noise": (noisy("noise", lambda sigma: sigma), ROUNDING),
    "noise-var": (noisy("noise-var", lambda variance: 255 * variance**0.5), ROUNDING),
    "noise-ycbcr": (noisy_in_ycbcr, 0.75),
    "jitter": (scattered, 0.55),
    "shift": (shifted, ROUNDING),
    **{f"rs-{kernel}": (there_and_back(kernel), 2.5) for kernel in KERNELS},  # rounded four times
}
