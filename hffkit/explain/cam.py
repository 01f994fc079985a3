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
    """Compute Grad-CAM heat maps (B, S, S) float32, 0 to 1, at several layers in one pass.

    The activations of a layer are weighted by the spatial means of their gradients and summed;
    negative sums are set to 0. The result is resized to the images by bilinear interpolation and
    stretched to 0..1 for each image. Without evidence for the class it is 0 everywhere.

    Parameters
    ----------
    net : nn.Module
        Maps images to logits (B, n_classes); its state is restored.
    images : (B, 3, S, S) float32
        Inputs of the network; each is explained independently.
    layers : sequence of str
        Names as in `named_modules`.
    classes : (B,) int64, optional
        The output to explain for each image; by default the largest.

    Raises
    ------
    UnknownNameError
        If the network has no such layer.
    ExplainError
        If a layer has no spatial extent, does not run exactly once, or does not affect the output.
    """
    with frozen(net), torch.enable_grad():
        maps, logits = activations(net, images, layers, needs_grad=True)
        if classes is None:
            classes = logits.argmax(1)
        score = logits.gather(1, classes[:, None]).sum()
        gradients: Sequence[Tensor | None] = [None] * len(layers)
        if score.requires_grad:
            wanted = [maps[name] for name in layers]
            gradients = torch.autograd.grad(score, wanted, allow_unused=True)
    heats = {}
    for name, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            raise ExplainError(f"Layer {name!r} does not affect the output. Choose another one.")
        weights = gradient.mean((2, 3), keepdim=True)
        cam = (weights * maps[name].detach()).sum(1, keepdim=True).relu()
        heats[name] = stretched(enlarged(cam, images))
    return heats


def grad_cam(net: nn.Module, images: Tensor, layer: str, classes: Tensor | None = None) -> Tensor:
    """Compute the Grad-CAM heat maps (B, S, S) at one layer; see `grad_cams`."""
    return grad_cams(net, images, (layer,), classes)[layer]


def enlarged(maps: Tensor, images: Tensor) -> Tensor:
    """Resize maps (B, 1, h, w) to the size of the images, (B, S, S), bilinearly."""
    size = images.shape[2:]
    return functional.interpolate(maps.float(), size, mode="bilinear", align_corners=False)[:, 0]


def stretched(heat: Tensor) -> Tensor:
    """Stretch heat (B, S, S) to 0..1 for each image; constant maps become 0."""
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    return (heat - low) / torch.where(high > low, high - low, 1)
