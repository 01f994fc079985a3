"""Images of heat maps, gradients and traces."""

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats32
from hffkit.media.image import Image, from_bgr
from hffkit.networks.spec import Colour


def overlay(image: Image, heat: Floats32) -> Image:
    """Blend an image (H, W, 3) equally with heat (H, W), 0 (blue) to 1 (red), in the jet map."""
    levels = (heat * 255).round().astype(np.uint8)
    colours = from_bgr(cv2.applyColorMap(levels, cv2.COLORMAP_JET))
    return ((image.astype(np.uint16) + colours + 1) // 2).astype(np.uint8)


def gradient_image(gradient: Floats32, colour: Colour) -> Image:
    """Return a signed map (3, H, W) as an RGB image, all planes stretched together to 0..255.

    `colour` is the order of the planes. A constant map becomes black.
    """
    planes = gradient if colour == "RGB" else gradient[::-1]
    return grey_levels(planes.transpose(1, 2, 0))


def trace_image(trace: Floats32) -> Image:
    """Return a map (H, W) as a grey image (H, W, 3), stretched to 0..255."""
    return np.repeat(grey_levels(trace)[..., None], 3, axis=2)


def grey_levels(values: Floats32) -> npt.NDArray[np.uint8]:
    """Stretch values of any shape to 0..255; constant values become 0."""
    low, high = float(values.min()), float(values.max())
    scale = 255 / (high - low) if high > low else 0.0
    return ((values - low) * scale).round().astype(np.uint8)
