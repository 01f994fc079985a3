"""Faithfulness of heat maps: deletion and insertion (RISE, arXiv 1806.07421)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hffkit.arrays import Floats32, Floats64, Ints
from hffkit.explain.layers import frozen
from hffkit.media.image import Image

_BLUR = 5 / 224  # RISE: sigma over the side
_AT_ONCE = 32  # images of a curve in one batch


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Areas under the curves of the explained class's probability, 0 to 1."""

    deletion: float  # less is better
    insertion: float  # more is better


def order_of(heat: Floats32) -> Ints:
    """Return the indices (H * W,) of pixels by falling heat (H, W); ties keep raster order."""
    return np.argsort(-heat.ravel(), kind="stable").astype(np.int64)


def blurred(image: Image) -> Image:
    """Blur an image by a Gaussian of sigma 5 px at 224 px, as insertion starts from."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR * max(image.shape[:2])), np.uint8)


def blank(image: Image) -> Image:
    """Fill an image with its mean colour, as deletion ends with."""
    mean = image.reshape(-1, 3).mean(axis=0)
    return np.broadcast_to(mean.round().astype(np.uint8), image.shape).copy()


@torch.no_grad()
def curve(
    net: nn.Module, start: Tensor, end: Tensor, order: Ints, class_id: int, *, steps: int
) -> Floats64:
    """Compute the probability of a class while one image's pixels are replaced by another's.

    Parameters
    ----------
    net
        Maps images to logits; its state is restored.
    start, end : (3, S, S) float32
        Inputs of the network.
    order : (S * S,) int64
        Indices of pixels in the order of replacement.
    class_id
        The output whose probability is followed.
    steps
        Number of equal steps, to within one pixel.

    Returns
    -------
    (steps + 1,) float64
        From `start` to `end`.
    """
    n_pixels = start[0].numel()
    rank = np.empty(n_pixels, np.int64)
    rank[order] = np.arange(n_pixels)
    ranks = torch.from_numpy(rank).to(start.device).view(start.shape[1:])
    gone = torch.linspace(0, n_pixels, steps + 1, device=start.device).round()
    found = []
    with frozen(net):
        for some in torch.split(gone, _AT_ONCE):
            images = torch.where((ranks < some[:, None, None])[:, None], end, start)
            found.append(net(images).double().softmax(1)[:, class_id])
    values: Floats64 = torch.cat(found).cpu().numpy()
    return values


def area(values: Floats64) -> float:
    """Compute the area under a curve over 0..1 by the trapezoidal rule; 0 to 1."""
    return float(np.trapezoid(values, dx=1 / (len(values) - 1)))
