"""Gradients of a class's logit with respect to the pixels, and the two that change ReLU's.

What all take: a network in any state, which is left in that state; images (B, 3, S, S) float32
as the network is fed with; classes (B,) int64, one output for each image. What all return: float32
of the images' shape, in the network's colour order.
"""

from typing import Any, Literal

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hffkit.errors import ExplainError
from hffkit.explain.layers import frozen

ReluRule = Literal["deconvnet", "guided"]

_RELUS = (torch.relu, torch.Tensor.relu, functional.relu)
_IN_PLACE = (torch.relu_, torch.Tensor.relu_, functional.relu_)
_STEPS = 50  # of integrated gradients: captum's own number
_AT_ONCE = 16  # images that integrated gradients puts to the network


class _Rectified(torch.autograd.Function):
    """ReLU with another gradient: deconvnet rectifies it, guided does so beside ReLU's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: ReluRule) -> Tensor:
        y = x.clamp(min=0)
        ctx.is_guided = rule == "guided"
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        passed = gradients[0].clamp(min=0)
        (y,) = ctx.saved_tensors
        return (passed * (y > 0) if ctx.is_guided else passed), None


class _Relus(TorchFunctionMode):
    """While it is entered, every ReLU, a module's or a function's, has the rule's gradient.

    Nothing is hooked to the network, so nothing can stay there.
    """

    def __init__(self, rule: ReluRule | None) -> None:
        super().__init__()
        self._rule = rule
        self.n = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _IN_PLACE or (
            func is functional.relu and (kwargs.get("inplace") or any(args[1:]))
        ):
            raise ExplainError(
                "The network has a ReLU that changes its input in place, which hides what it was. "
                "Build it with nn.ReLU(inplace=False)."
            )
        if func not in _RELUS:
            return func(*args, **kwargs)
        self.n += 1
        if self._rule is None:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        return _Rectified.apply(x, self._rule)  # type: ignore[no-untyped-call]


def vanilla(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient (Simonyan et al., arXiv 1312.6034)."""
    with frozen(net):
        return _gradient(net, images, classes)


def deconvnet(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient whose negative part every ReLU drops on the way back (arXiv 1311.2901).

    ReLU's own gradient, zero where its input was negative, is left out. Other activations keep
    theirs: without a ReLU this is `vanilla`.

    Raises
    ------
    ExplainError
        If a ReLU changes its input in place.
    """
    with frozen(net), _Relus("deconvnet"):
        return _gradient(net, images, classes)


def guided(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return guided backpropagation (arXiv 1412.6806): deconvnet with ReLU's own gradient, too.

    Raises
    ------
    ExplainError
        If a ReLU changes its input in place.
    """
    with frozen(net), _Relus("guided"):
        return _gradient(net, images, classes)


def integrated(net: nn.Module, images: Tensor, classes: Tensor, *, black: float) -> Tensor:
    """Return integrated gradients along the line from black (arXiv 1703.01365), by captum.

    `black` is the level of black pixels in `images`. The sum over an image's values is about the
    logit less that of the black image.
    """
    with frozen(net):
        found: Tensor = IntegratedGradients(net).attribute(
            images, black, classes, n_steps=_STEPS, internal_batch_size=_AT_ONCE
        )
    return found.detach().to(images.dtype)  # captum computes in float64 here and there


@torch.no_grad()
def count_relus(net: nn.Module, images: Tensor) -> int:
    """Return how many ReLUs an image passes: without one, three of the gradients are the same."""
    relus = _Relus(None)
    with frozen(net), relus:
        net(images)
    return relus.n


def _gradient(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    with torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        score = net(images).gather(1, classes[:, None]).sum()
        (found,) = torch.autograd.grad(score, images)
    return found
