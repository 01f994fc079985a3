"""Optimizers, among them Caffe's SGD with its multipliers for groups of parameters."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from hffkit.networks.caffe import Scale
from hffkit.training.recipe import TrainRecipe

Groups = Sequence[Mapping[str, Any]]
"""Groups of parameters (`params`), each with its `lr_mult` and `decay_mult`."""


class CaffeSGD(Optimizer):
    """Caffe's SGD with momentum: the learning rate is inside the history.

    For each parameter w with gradient g: g <- g + (weight_decay * decay_mult) w;
    h <- momentum h + (lr * lr_mult) g; w <- w - h. At a constant rate it equals torch.optim.SGD;
    after the rate falls, past gradients still move w by the rate of their time. The learning rate
    is the tensor `rate`, () float32, which may be changed in place.
    """

    def __init__(
        self, groups: Groups, rate: Tensor, *, momentum: float, weight_decay: float
    ) -> None:
        """Start with a history of zeros."""
        defaults = {"momentum": momentum, "weight_decay": weight_decay}
        super().__init__(map(dict, groups), {**defaults, "lr_mult": 1.0, "decay_mult": 1.0})
        self._rate = rate
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["history"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients: Any = [p.grad for p in parameters]
            histories = [self.state[p]["history"] for p in parameters]
            decay = group["weight_decay"] * group["decay_mult"]
            if decay:
                gradients = torch._foreach_add(gradients, parameters, alpha=decay)
            torch._foreach_mul_(histories, group["momentum"])
            scaled = torch._foreach_mul(gradients, self._rate * group["lr_mult"])
            torch._foreach_add_(histories, scaled)
            torch._foreach_sub_(parameters, histories)


def caffe_groups(net: nn.Module) -> Groups:
    """Return a network's parameters in groups with the multipliers of the authors' prototxt.

    Weights have 1 and 1 (rate, decay), biases 2 and 0; weight and bias of Scale layers, for which
    the prototxt names none, 1 and 1. Parameters without gradient are left out.
    """
    biases: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for layer in net.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_bias = name == "bias" and not isinstance(layer, Scale)
            (biases if is_bias else others).append(parameter)
    groups = [(others, 1.0, 1.0), (biases, 2.0, 0.0)]
    return [{"params": p, "lr_mult": lr, "decay_mult": decay} for p, lr, decay in groups if p]


def make_optimizer(recipe: TrainRecipe, net: nn.Module, rate: Tensor) -> Optimizer:
    """Return the recipe's optimizer; its learning rate is the tensor `rate`."""
    _import_compiler()
    if recipe.solver == "caffe-sgd":
        how = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        return CaffeSGD(caffe_groups(net), rate, **how)
    kind: type[Adam] = {"adam": Adam, "adamw": AdamW}[recipe.solver]
    is_captured = rate.device.type != "cpu"
    optimizer = kind(
        [parameter for parameter in net.parameters() if parameter.requires_grad],
        lr=recipe.base_lr,
        betas=(recipe.momentum, recipe.beta2),
        eps=recipe.epsilon,
        weight_decay=recipe.weight_decay,
        capturable=is_captured,
        foreach=is_captured,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate  # not in the constructor, which would wait for its value
    # Silences a warning about steps outside of a graph: the warm-up steps are intended.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def _import_compiler() -> None:
    """Import PyTorch's compiler, which its optimizers do, without the empty folder that it leaves.

    It makes the folder of its cache, in the folder for temporary files, before there is anything
    to keep.
    """
    import_module("torch._dynamo")
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")  # which the import sets
    if folder is not None:
        with suppress(OSError):  # it holds something, or is gone
            Path(folder).rmdir()


def optimizer_state(optimizer: Optimizer, net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of each parameter's state by name, such as "conv1.weight/history"."""
    for name, parameter in net.named_parameters():
        for part, value in sorted(optimizer.state.get(parameter, {}).items()):
            yield f"{name}/{part}", value


def load_optimizer_state(optimizer: Optimizer, net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Restore in a new optimizer the state that `optimizer_state` yields.

    Raises
    ------
    KeyError, RuntimeError
        If something is missing or of another shape.
    """
    parts = ("history",) if isinstance(optimizer, CaffeSGD) else ("exp_avg", "exp_avg_sq", "step")
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        for part in parts:
            value = tensors[f"{name}/{part}"]
            if part == "step":  # a number, on the CPU unless the step is captured
                is_captured = optimizer.defaults["capturable"]
                held = value.to(parameter.device if is_captured else "cpu", copy=True)
            else:
                held = torch.empty_like(parameter, requires_grad=False).copy_(value)
            optimizer.state[parameter][part] = held
