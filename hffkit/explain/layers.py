"""Outputs of layers of any network, by the names of PyTorch."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hffkit.errors import ExplainError
from hffkit.networks.names import unknown_layer

Hook = Callable[[str, Any], Any]
"""Takes a layer's name and output; a result other than None replaces the output."""


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Put `net` in evaluation mode without gradients of parameters; restore both afterwards."""
    modes = {module: module.training for module in net.modules()}
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    try:
        net.eval()
        for parameter in learning:
            parameter.requires_grad_(False)  # noqa: FBT003  (PyTorch's own)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)  # noqa: FBT003
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def hooked(net: nn.Module, names: Sequence[str], call: Hook) -> Iterator[None]:
    """Call `call` with each output of the named layers, and remove the hooks afterwards."""
    with ExitStack() as handles:
        for name in names:

            def hook(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> Any:
                return call(name, output)

            handles.enter_context(net.get_submodule(name).register_forward_hook(hook))
        yield


def check_layers(net: nn.Module, names: Sequence[str]) -> None:
    """Raise UnknownNameError unless `net` has all layers of these names, as in `named_modules`."""
    known = [name for name, _ in net.named_modules() if name]
    for name in names:
        if name not in known:
            raise unknown_layer(name, known)


@torch.no_grad()
def shapes(net: nn.Module, images: Tensor) -> Mapping[str, tuple[int, ...]]:
    """Return the output shape of each layer with a tensor output, in order of completion.

    Inner modules precede those that contain them. A layer that runs twice has its last place.
    """
    found: dict[str, tuple[int, ...]] = {}

    def record(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            found.pop(name, None)
            found[name] = tuple(output.shape)

    names = [name for name, _ in net.named_modules() if name]
    with frozen(net), hooked(net, names, record):
        net(images)
    return found


def with_extent(net: nn.Module, names: Sequence[str], images: Tensor) -> tuple[str, ...]:
    """Return those of the named layers whose maps have more than one value for these images."""
    found = shapes(net, images)
    return tuple(name for name in names if math.prod(found[name][2:]) > 1)


def activations(
    net: nn.Module, images: Tensor, names: Sequence[str], *, needs_grad: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the activations (B, C, H, W) of layers, and the logits (B, n_classes).

    Parameters
    ----------
    net, images
        A network within `frozen`, and its inputs.
    names
        Layers that run once in a forward pass.
    needs_grad
        Record the graph from the first of the layers to the logits, for gradients.

    Raises
    ------
    UnknownNameError
        If the network has no such layer.
    ExplainError
        If a layer does not run exactly once, or its output is no tensor with spatial extent.
    """
    check_layers(net, names)
    found: dict[str, Tensor] = {}

    def record(name: str, output: Any) -> Tensor:
        if name in found:
            raise ExplainError(f"Layer {name!r} runs more than once. Choose one that runs once.")
        if not (isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1):
            shape = "x".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else "none"
            raise ExplainError(
                f"Layer {name!r} has no spatial extent: its output is {shape or 'one number'} for "
                "each image. Choose one that gives maps, such as a convolution."
            )
        is_first = needs_grad and not output.requires_grad
        found[name] = output.detach().requires_grad_() if is_first else output
        # A clone goes on, because the next layer may overwrite its input.
        return found[name].clone()

    with torch.set_grad_enabled(needs_grad), hooked(net, names, record):
        logits: Tensor = net(images)
    for name in names:
        if name not in found:
            raise ExplainError(f"Layer {name!r} does not run. Choose another one.")
    return found, logits
