"""Gradients of a class's logit with respect to the pixels, two of them with modified ReLUs.

The methods take a network, whose state they restore, its inputs (B, 3, S, S) float32, and classes
(B,) int64, one output for each image. They return float32 of the images' shape, in the network's
colour order.
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
_STEPS = 50  # of integrated gradients: captum's default
_AT_ONCE = 16  # images in a batch of integrated gradients


class _Rectified(torch.autograd.Function):
    """ReLU whose gradient is rectified; guided also keeps ReLU's own mask."""

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
    """A context in which every ReLU, as a module or a function, has the gradient of `rule`.

    It counts ReLUs and leaves nothing attached to the network.
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
                "The network has a ReLU that overwrites its input. Build it with "
                "nn.ReLU(inplace=False)."
            )
        if func not in _RELUS:
            return func(*args, **kwargs)
        self.n += 1
        if self._rule is None:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        return _Rectified.apply(x, self._rule)  # type: ignore[no-untyped-call]


def vanilla(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Compute the gradient (Simonyan et al., arXiv 1312.6034)."""
    with frozen(net):
        return _gradient(net, images, classes)


def deconvnet(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Compute the gradient with rectification in place of ReLU's gradient (arXiv 1311.2901).

    Other activations keep their gradients: without ReLUs this is `vanilla`. ExplainError if a ReLU
    overwrites its input.
    """
    with frozen(net), _Relus("deconvnet"):
        return _gradient(net, images, classes)


def guided(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Compute guided backpropagation: deconvnet times ReLU's own gradient (arXiv 1412.6806).

    ExplainError if a ReLU overwrites its input.
    """
    with frozen(net), _Relus("guided"):
        return _gradient(net, images, classes)


def integrated(net: nn.Module, images: Tensor, classes: Tensor, *, black: float) -> Tensor:
    """Compute integrated gradients from a black image by captum (arXiv 1703.01365).

    `black` is the value of black pixels in `images`. The values of an image sum to about its logit
    minus that of the black image.
    """
    with frozen(net):
        found: Tensor = IntegratedGradients(net).attribute(
            images, black, classes, n_steps=_STEPS, internal_batch_size=_AT_ONCE
        )
    return found.detach().to(images.dtype)  # captum computes some in float64


@torch.no_grad()
def count_relus(net: nn.Module, images: Tensor) -> int:
    """Count the ReLU calls of a forward pass; with none, three of the gradients are equal."""
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
