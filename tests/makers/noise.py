"""Images of noise for properties, drawn by a few numbers: hypothesis draws arrays far slower."""

import numpy as np
from hypothesis import strategies as st

from hffkit.media.image import Image

LEVELS = st.integers(0, 255)


def noise_image(height: int, width: int, level: int, other: int, seed: int) -> Image:
    """Return noise between two levels, which may be one."""
    low, high = sorted((level, other))
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(low, high, shape, np.uint8, endpoint=True)


def noise_images(most: int) -> st.SearchStrategy[Image]:
    """Draw images of 1 to `most` px a side."""
    sides = st.integers(1, most)
    return st.builds(noise_image, sides, sides, LEVELS, LEVELS, LEVELS)


IMAGES = noise_images(20)
