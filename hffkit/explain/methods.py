"""The table of methods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hffkit.errors import ExplainError
from hffkit.explain.cam import enlarged, grad_cams, stretched
from hffkit.explain.gradients import deconvnet, guided, integrated, vanilla
from hffkit.explain.layers import activations, frozen


@dataclass(frozen=True, slots=True)
class Query:
    """Arguments of a method."""

    net: nn.Module  # maps images to logits; its state is restored
    images: Tensor  # (B, 3, S, S) float32, inputs of the network
    classes: Tensor  # (B,) int64: the output to explain, for each image
    layers: tuple[str, ...]  # for methods that take layers
    black: float  # the value of black pixels in `images`
    # NetworkSpec.attention_map, of networks that have one.
    attention_map: Callable[[Any, Tensor], Tensor] | None = None


Maps = dict[str, Tensor]
"""Signed maps (B, 3, S, S) or heat (B, 1, S, S), 0 to 1, named "vanilla" or "gradcam-layer4"."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    maps: Callable[[Query], Maps]
    takes_layers: bool = False
    rectifies: bool = False  # modifies the gradient of ReLUs
    is_shallow: bool = False  # needs no gradient with respect to pixels


def _grad_cam(query: Query) -> Maps:
    heats = grad_cams(query.net, query.images, query.layers, query.classes)
    return {f"gradcam-{name}": heat[:, None] for name, heat in heats.items()}


def _guided_grad_cam(query: Query) -> Maps:
    gradient = guided(query.net, query.images, query.classes)
    return {f"guided_{name}": heat * gradient for name, heat in _grad_cam(query).items()}


@torch.no_grad()
def _attention(query: Query) -> Maps:
    if query.attention_map is None:
        raise ExplainError("This network has no attention map. Choose another method.")
    with frozen(query.net):
        found = query.attention_map(query.net, query.images)
    return {"attention": enlarged(found, query.images)[:, None]}


METHODS: Mapping[str, Method] = {
    "vanilla": Method(lambda q: {"vanilla": vanilla(q.net, q.images, q.classes)}),
    "deconvnet": Method(
        lambda q: {"deconvnet": deconvnet(q.net, q.images, q.classes)}, rectifies=True
    ),
    "guided": Method(lambda q: {"guided": guided(q.net, q.images, q.classes)}, rectifies=True),
    "integrated": Method(
        lambda q: {"integrated": integrated(q.net, q.images, q.classes, black=q.black)}
    ),
    "gradcam": Method(_grad_cam, takes_layers=True, is_shallow=True),
    "guided_gradcam": Method(_guided_grad_cam, takes_layers=True, rectifies=True),
    "attention": Method(_attention, is_shallow=True),
}


def heat_of(maps: Tensor) -> Tensor:
    """Return heat (B, S, S), 0 to 1; for signed maps the largest magnitude over the colours."""
    return maps[:, 0] if maps.shape[1] == 1 else stretched(maps.abs().amax(1))


@torch.no_grad()
def traces(net: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the manipulation traces of images (B, 3, S, S): the outputs of `layers` by name.

    Those of AMTEN are F_mt (B, 3, S, S), the output of conv1 minus the image, and F_reu
    (B, 12, S, S), all maps derived from it (arXiv 2005.04945, Fig. 3).
    """
    with frozen(net):
        return activations(net, images, layers, needs_grad=False)[0]
