"""Whether a heat map means anything: deletion and insertion (RISE, arXiv 1806.07421)."""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hffkit.arrays import Floats64, Ints
from hffkit.explain.layers import frozen
from hffkit.media.image import Image

_BLUR = 5 / 224  # sigma over the side, as RISE has it
_AT_ONCE = 32  # images of a curve that are in memory together


def order_of(heat: npt.NDArray[np.float32]) -> Ints:
    """Return the pixels (H * W,) of heat (H, W), hottest first; equals in the order they lie."""
    return np.argsort(-heat.ravel(), kind="stable").astype(np.int64)


def blurred(image: Image) -> Image:
    """Return what insertion starts from: Gaussian blur with a sigma of 5 px at 224."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR * max(image.shape[:2])), np.uint8)


def blank(image: Image) -> Image:
    """Return what deletion ends with: the image's mean colour everywhere."""
    mean = image.reshape(-1, 3).mean(axis=0)
    return np.broadcast_to(mean.round().astype(np.uint8), image.shape).copy()


@torch.no_grad()
def curve(
    net: nn.Module, start: Tensor, end: Tensor, order: Ints, class_id: int, *, steps: int
) -> Floats64:
    """Return the probability of a class while pixels of one image give way to another's.

    Parameters
    ----------
    net
        Images to logits, in any state; it is left in that state.
    start, end : (3, S, S) float32
        Images as the network is fed with.
    order : (S * S,) int64
        The pixels, first to go first.
    class_id
        The output.
    steps
        In each the same share of the pixels goes, within one.

    Returns
    -------
    (steps + 1,) float64
        From `start` to `end`; its mean by `area` is the figure.
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
    """Return the area under a curve over 0..1, by trapezoids: 0 to 1."""
    return float(np.trapezoid(values, dx=1 / (len(values) - 1)))
