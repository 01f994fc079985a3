"""Masks of forgeries reduced to the cells of an attention map."""

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from hffkit.media.image import Image
from hffkit.training.masks import MASK_LEVEL, shrunk

SIDE = 19  # cells of the attention map of 299 px


def drawn(number: int) -> Image:
    """Draw a mask like those of FaceForensics++: a white shape on black, blurred by compression."""
    rng = np.random.default_rng(number)
    side = int(rng.integers(60, 400))
    picture = Pillow.new("RGB", (side, side))
    corners = [(float(x), float(y)) for x, y in rng.uniform(0.05, 0.95, (8, 2)) * side]
    colour = tuple(int(level) for level in rng.integers(60, 256, 3))
    draw = ImageDraw.Draw(picture)
    draw.polygon(corners, fill=colour)
    draw.ellipse((side // 4, side // 3, side // 2, side // 2), fill="white")
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3))))


def weights(n: int, side: int) -> npt.NDArray[np.float64]:
    """Return the shares (side, n) of pixels in cells: a triangle over two cells, as by Pillow."""
    scale = max(n / side, 1)
    centres = (np.arange(side)[:, None] + 0.5) * n / side
    shares = (1 - np.abs(np.arange(n) + 0.5 - centres) / scale).clip(min=0)
    return np.asarray(shares / shares.sum(1, keepdims=True))


def test_a_mask_is_averaged_by_a_triangle_over_two_cells() -> None:
    n_told_apart = 0
    for number in range(20):
        mask = drawn(number)
        across = weights(len(mask), SIDE)
        grey = across @ (mask @ (0.299, 0.587, 0.114)) @ across.T  # ITU-R 601
        found = shrunk(mask, SIDE)
        # Pillow rounds to whole levels after each axis and in the grey.
        assert np.abs(found - grey).max() < 2
        cubic = Pillow.fromarray(mask).resize((SIDE, SIDE), Pillow.Resampling.BICUBIC).convert("L")
        n_told_apart += bool(((np.asarray(cubic) > MASK_LEVEL) != (found > MASK_LEVEL)).any())
    assert n_told_apart > 10


def test_masks_are_those_of_the_published_transform() -> None:
    # torchvision's Resize((19, 19)), Grayscale(1) and ToTensor() on an image of Pillow, then the
    # published threshold.
    for number in range(50):
        mask = drawn(number)
        small = Pillow.fromarray(mask).resize((SIDE, SIDE), Pillow.Resampling.BILINEAR)
        wanted = np.asarray(small.convert("L"), np.float32) / np.float32(255)
        found = shrunk(mask, SIDE)
        assert np.array_equal(found / np.float32(255), wanted)
        assert np.array_equal(found > MASK_LEVEL, wanted > np.float32(0.2))
