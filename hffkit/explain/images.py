"""Maps as images."""

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats32
from hffkit.media.image import Image, from_bgr
from hffkit.networks.spec import Colour


def overlay(image: Image, heat: Floats32) -> Image:
    """Return an image (H, W, 3) half covered by heat (H, W), 0 (blue) to 1 (red), in jet."""
    levels = (heat * 255).round().astype(np.uint8)
    colours = from_bgr(cv2.applyColorMap(levels, cv2.COLORMAP_JET))
    return ((image.astype(np.uint16) + colours + 1) // 2).astype(np.uint8)


def gradient_image(gradient: Floats32, colour: Colour) -> Image:
    """Return a signed map (3, H, W) in a colour order as an image, stretched to 0..255 as a whole.

    A map of one value gives black.
    """
    planes = gradient if colour == "RGB" else gradient[::-1]
    return grey_levels(planes.transpose(1, 2, 0))


def trace_image(trace: Floats32) -> Image:
    """Return one map (H, W) in grey, stretched to 0..255."""
    return np.repeat(grey_levels(trace)[..., None], 3, axis=2)


def grey_levels(values: Floats32) -> npt.NDArray[np.uint8]:
    """Return values of any shape stretched to 0..255."""
    low, high = float(values.min()), float(values.max())
    scale = 255 / (high - low) if high > low else 0.0
    return ((values - low) * scale).round().astype(np.uint8)
