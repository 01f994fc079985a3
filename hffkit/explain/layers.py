"""Layers of any network by name, and what comes out of them; the network stays as it was."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hffkit.errors import ExplainError, UnknownNameError

Seen = Callable[[str, Any], Any]
"""Takes a layer's name and its output; what it returns, if anything, goes on in its stead."""


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Put `net` in evaluation mode with parameters that need no gradient; undo both afterwards."""
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
def hooked(net: nn.Module, names: Sequence[str], see: Seen) -> Iterator[None]:
    """Call `see` whenever one of the named layers has an output; no hook outlives the context."""
    modules = dict(net.named_modules())
    handles = []
    try:
        for name in names:

            def hook(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> Any:
                return see(name, output)

            handles.append(modules[name].register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_layers(net: nn.Module, names: Sequence[str]) -> None:
    """Raise UnknownNameError unless `net` has all layers; names are those of `named_modules`."""
    known = [name for name, _ in net.named_modules() if name]
    for name in names:
        if name not in known:
            is_like_one = difflib.get_close_matches(name, known, n=1)
            # Hundreds of names help nobody.
            listed = known if is_like_one else [each for each in known if "." not in each]
            raise UnknownNameError("layer", name, listed)


@torch.no_grad()
def shapes(net: nn.Module, images: Tensor) -> Mapping[str, tuple[int, ...]]:
    """Return the output shape of every layer that gives a tensor, in the order they are done.

    Of what encloses layers the enclosed come first. A layer that runs twice counts as the second.
    """
    found: dict[str, tuple[int, ...]] = {}

    def see(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            found.pop(name, None)
            found[name] = tuple(output.shape)

    names = [name for name, _ in net.named_modules() if name]
    with frozen(net), hooked(net, names, see):
        net(images)
    return found


def with_extent(net: nn.Module, names: Sequence[str], images: Tensor) -> tuple[str, ...]:
    """Return those of the named layers whose maps of such images have more than one value."""
    found = shapes(net, images)
    return tuple(name for name in names if math.prod(found[name][2:]) > 1)


def activations(
    net: nn.Module, images: Tensor, names: Sequence[str], *, needs_grad: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the maps (B, C, H, W) of layers, and the logits (B, n_classes).

    Parameters
    ----------
    net, images
        Any network in the state `frozen` puts it in, and its images.
    names
        Of layers; each must run once.
    needs_grad
        Whether gradients of the logits with respect to the maps will be asked for. Nothing is
        recorded before the first of the layers: what lies there costs a forward pass alone.

    Raises
    ------
    UnknownNameError
        If there is no such layer.
    ExplainError
        If a layer does not run or runs twice, or gives no maps: one value a channel, or no tensor.
    """
    check_layers(net, names)
    found: dict[str, Tensor] = {}

    def see(name: str, output: Any) -> Tensor:
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
        # What follows may change its input in place; what is kept is the layer's own output.
        return found[name].clone()

    with torch.set_grad_enabled(needs_grad), hooked(net, names, see):
        logits: Tensor = net(images)
    for name in names:
        if name not in found:
            raise ExplainError(f"Layer {name!r} does not run. Choose another one.")
    return found, logits
