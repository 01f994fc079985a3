"""Grad-CAM (Selvaraju et al., arXiv 1610.02391)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.errors import ExplainError
from hffkit.explain.layers import activations, frozen


def grad_cams(
    net: nn.Module, images: Tensor, layers: Sequence[str], classes: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the heat (B, S, S) float32, 0 to 1, of each of some layers, in one pass.

    A layer's maps are weighted by the means of the class's gradient over each of them, summed,
    negative sums cut off, enlarged to the images by linear interpolation, and stretched to 0..1
    for each image. Where nothing speaks for the class the heat is 0 everywhere.

    Parameters
    ----------
    net : nn.Module
        Images to logits (B, n_classes), in any state; it is left in that state.
    images : (B, 3, S, S) float32
        As the network is fed with; they are independent of each other.
    layers : sequence of str
        Names as in `named_modules`.
    classes : (B,) int64, optional
        An output for each image; by default the largest.

    Raises
    ------
    UnknownNameError
        If there is no such layer.
    ExplainError
        If a layer has no spatial extent, runs not exactly once, or has no part in the class.
    """
    with frozen(net), torch.enable_grad():
        maps, logits = activations(net, images, layers, needs_grad=True)
        if classes is None:
            classes = logits.argmax(1)
        score = logits.gather(1, classes[:, None]).sum()
        places = [maps[name] for name in layers]
        gradients = (
            torch.autograd.grad(score, places, allow_unused=True)
            if score.requires_grad
            else [None] * len(places)
        )
    heats = {}
    for name, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            raise ExplainError(f"Layer {name!r} has no part in the answer. Choose another one.")
        weights = gradient.mean((2, 3), keepdim=True)
        cam = (weights * maps[name].detach()).sum(1, keepdim=True).relu()
        heats[name] = stretched(enlarged(cam, images))
    return heats


def grad_cam(net: nn.Module, images: Tensor, layer: str, classes: Tensor | None = None) -> Tensor:
    """Return the heat (B, S, S) of one layer; see `grad_cams`."""
    return grad_cams(net, images, (layer,), classes)[layer]


def enlarged(maps: Tensor, images: Tensor) -> Tensor:
    """Return maps (B, 1, h, w) as (B, S, S), of the images' size, linear between their pixels."""
    size = images.shape[2:]
    return functional.interpolate(maps.float(), size, mode="bilinear", align_corners=False)[:, 0]


def stretched(heat: Tensor) -> Tensor:
    """Return heat (B, S, S) from 0 to 1 in each image; 0 everywhere where it is one value."""
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    return (heat - low) / torch.where(high > low, high - low, 1)
