"""Images that resemble photos, and copies of images as people make them."""

import io
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

Pixels = npt.NDArray[np.uint8]


def scene(number: int, *, side: int = 96) -> Pixels:
    """Return a (side, side, 3) image with the spectrum of a photo, another for each number."""
    rng = np.random.default_rng(number)
    down, right = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    falling = 1 / np.maximum(np.hypot(down, right), 1 / side) ** 1.3
    falling[0, 0] = 0
    planes = []
    for _ in range(4):  # luma, and a part of it that each channel has alone
        phases = np.exp(2j * np.pi * rng.random(falling.shape))
        plane = np.fft.irfft2(falling * phases, (side, side))
        planes.append(plane / plane.std())
    channels = [planes[0] + 0.4 * own for own in planes[1:]]
    return np.asarray(np.clip(118 + 38 * np.stack(channels, axis=2), 0, 255), np.uint8)


def saved(image: Pixels, quality: int) -> Pixels:
    """Save an image as JPEG by Pillow, and read it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"), np.uint8)


def cut(image: Pixels, top: float, left: float, share: float = 0.9) -> Pixels:
    """Cut a share of each side out of an image; `top` and `left` are shares of what is left."""
    height, width = (round(share * side) for side in image.shape[:2])
    y = round(top * (image.shape[0] - height))
    x = round(left * (image.shape[1] - width))
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def scaled(image: Pixels, scale: float, how: Image.Resampling = Image.Resampling.BICUBIC) -> Pixels:
    """Resize an image by Pillow."""
    size = (round(scale * image.shape[1]), round(scale * image.shape[0]))
    return np.asarray(Image.fromarray(image).resize(size, how), np.uint8)


def brightened(image: Pixels, factor: float) -> Pixels:
    """Brighten an image by Pillow."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor), np.uint8)


def repainted(image: Pixels) -> Pixels:
    """Change the colour of a quarter of an image, as an editor of attributes does."""
    edited = image.astype(np.float64)
    middle = image.shape[0] // 2
    mask = cv2.GaussianBlur(
        np.pad(np.ones((middle, middle)), ((0, middle), (0, middle))), (0, 0), 3
    )
    edited += mask[..., None] * (45, -30, 10)
    return np.asarray(np.clip(edited, 0, 255), np.uint8)


COPIES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "Q60": lambda image: saved(image, 60),
    "Q95": lambda image: saved(image, 95),
    "mirrored": lambda image: saved(np.ascontiguousarray(image[:, ::-1]), 80),
    "corner": lambda image: saved(cut(image, 0, 1), 85),
    "inside": lambda image: cut(image, 0.4, 0.7),
    "cut and enlarged": lambda image: scaled(cut(image, 1, 0.2), 1 / 0.9),
    "mirrored cut": lambda image: np.ascontiguousarray(cut(image, 0.8, 0.1)[:, ::-1]),
    "half": lambda image: scaled(image, 0.5),
    "double": lambda image: scaled(image, 2),
    "squeezed": lambda image: np.asarray(cv2.resize(image, (90, 70)), np.uint8),
    "brighter": lambda image: brightened(image, 1.4),
    "gamma": lambda image: np.rint(255 * (image / 255) ** 0.7).astype(np.uint8),
}
"""Copies of an image, by what was done to it."""
