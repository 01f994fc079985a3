"""Optimisers, Caffe's among them, and which parameters they multiply by what."""

from collections.abc import Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from hffkit.networks.caffe import Scale
from hffkit.training.recipe import TrainRecipe


class CaffeSGD(Optimizer):
    """Caffe's SGD with momentum: the learning rate is inside the history.

    For each parameter w with gradient g: g <- g + (weight_decay * decay_mult) w;
    h <- momentum h + (lr * lr_mult) g; w <- w - h. At a constant rate it equals torch.optim.SGD;
    after the rate falls, past gradients still move w by the rate of their time.

    Parameters
    ----------
    groups
        Of parameters, each with its `lr_mult` and `decay_mult`.
    rate : () float32
        The learning rate; change it in place.
    """

    def __init__(
        self, groups: list[dict[str, Any]], rate: Tensor, *, momentum: float, weight_decay: float
    ) -> None:
        """Begin with an empty history."""
        defaults = {"momentum": momentum, "weight_decay": weight_decay}
        super().__init__(groups, {**defaults, "lr_mult": 1.0, "decay_mult": 1.0})
        self._rate = rate
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["history"] = torch.zeros_like(parameter)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Any) -> float: ...

    @torch.no_grad()
    def step(self, closure: Any = None) -> float | None:
        """Update every parameter that has a gradient; there are no closures."""
        if closure is not None:
            raise ValueError("CaffeSGD takes no closure")
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
        return None


def caffe_groups(net: nn.Module) -> list[dict[str, Any]]:
    """Return a network's parameters with the multipliers of the authors' prototxt.

    Weights 1 and 1 (rate, decay), biases 2 and 0; Scale layers, which name none, 1 and 1 for
    weight and bias alike. Parameters without gradient are left out.
    """
    biases: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for layer in net.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_bias = name == "bias" and not isinstance(layer, Scale)
            (biases if is_bias else others).append(parameter)
    groups = [
        {"params": others, "lr_mult": 1.0, "decay_mult": 1.0},
        {"params": biases, "lr_mult": 2.0, "decay_mult": 0.0},
    ]
    return [group for group in groups if group["params"]]


def solver_of(recipe: TrainRecipe, net: nn.Module, rate: Tensor) -> Optimizer:
    """Return the recipe's optimiser; its learning rate is the tensor `rate`."""
    if recipe.solver == "caffe-sgd":
        return CaffeSGD(
            caffe_groups(net),
            rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    kind: type[Adam] = {"adam": Adam, "adamw": AdamW}[recipe.solver]
    solver = kind(
        [parameter for parameter in net.parameters() if parameter.requires_grad],
        lr=rate,
        betas=(recipe.momentum, recipe.beta2),
        eps=recipe.epsilon,
        weight_decay=recipe.weight_decay,
        capturable=rate.device.type == "cuda",
        foreach=rate.device.type == "cuda",
    )
    # It warns of steps outside of a graph; those before the capture are meant.
    solver._warned_capturable_if_run_uncaptured = True
    return solver


def solver_tensors(solver: Optimizer, net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the state of each parameter by name: "conv1.weight/history"."""
    for name, parameter in net.named_parameters():
        for what, value in sorted(solver.state.get(parameter, {}).items()):
            yield f"{name}/{what}", value


def load_solver(solver: Optimizer, net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a fresh solver the state that `solver_tensors` told.

    Raises
    ------
    KeyError, RuntimeError
        If something is missing or of another shape.
    """
    parts = ("history",) if isinstance(solver, CaffeSGD) else ("exp_avg", "exp_avg_sq", "step")
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        for part in parts:
            value = tensors[f"{name}/{part}"]
            if part == "step":  # a number, on the CPU unless the step is captured
                is_captured = solver.defaults["capturable"]
                held = value.to(parameter.device if is_captured else "cpu", copy=True)
            else:
                held = torch.empty_like(parameter, requires_grad=False).copy_(value)
            solver.state[parameter][part] = held
