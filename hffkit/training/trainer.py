"""The training step, in the order in which it happens."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hffkit.errors import RecipeError
from hffkit.networks.caffe import BatchNorm
from hffkit.networks.constraint import project
from hffkit.networks.efficientnet import StochasticDepth
from hffkit.networks.spec import InputSpec
from hffkit.training.feed import prepare
from hffkit.training.recipe import TrainRecipe
from hffkit.training.solver import load_solver, solver_of, solver_tensors

SEEDS = 1 << 64  # what PyTorch takes
_SEED_STEP = 1_000_003  # a prime: seeds of neighbouring runs do not meet soon


class Trainer:
    """A network on a device and what its updates need; knows no file and no metric."""

    def __init__(
        self,
        net: nn.Module,
        recipe: TrainRecipe,
        spec: InputSpec,
        device: torch.device,
        *,
        seed: int,
    ) -> None:
        """Take a network and move it to the device.

        Raises
        ------
        RecipeError
            If replicas are to share batches of a network whose statistics are not Caffe's.
        """
        if recipe.replicas > 1 and any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
            raise RecipeError(
                f"replicas must be 1 for {recipe.network}: they are Caffe's, and so must be the "
                "network's batch normalisation."
            )
        self.net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.spec, self.device = recipe, spec, device
        self.iteration = 0
        self.losses = torch.zeros(recipe.log_interval, device=device)  # of the latest iterations
        self._seed = seed
        self._rate = torch.tensor(recipe.rate(0), device=device)
        self._solver = solver_of(recipe, self.net, self._rate)
        self._is_random = any(isinstance(m, nn.Dropout | StochasticDepth) for m in net.modules())
        self._norms = [layer for layer in net.modules() if isinstance(layer, BatchNorm)]
        for norm in self._norms:
            norm.fraction = recipe.statistics_fraction
        project(self.net)

    def step(self, pixels: Tensor, labels: Tensor) -> None:
        """Do one update with a batch: pixels (B, S, S, 3) uint8, labels (B,) int64."""
        self.begin_step()
        self.losses[self.iteration % len(self.losses)] = self.update(pixels, labels)
        self.iteration += 1

    def begin_step(self) -> None:
        """Set what depends on the iteration: the rate, and the seed of dropout."""
        self._rate.fill_(self.recipe.rate(self.iteration))
        if self._is_random:  # so that a resumed run draws what an uninterrupted one does
            torch.manual_seed((self._seed * _SEED_STEP + self.iteration) % SEEDS)

    def update(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Update the weights and return the loss () before that."""
        self.net.train()
        self._solver.zero_grad(set_to_none=True)
        n_replicas = self.recipe.replicas
        total = torch.zeros((), device=self.device)
        for rank in range(n_replicas):  # record i goes to replica i % n, as in Caffe
            for norm in self._norms:
                norm.keeps_statistics = rank == 0
            loss = self._loss(pixels[rank::n_replicas], labels[rank::n_replicas]) / n_replicas
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._solver.step()
        project(self.net)
        return total

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        with autocast(self.device, self.recipe):
            logits = self.net(prepare(pixels, self.spec))
        return loss_of(logits.float(), labels, self.recipe)

    def state(self) -> dict[str, Tensor]:
        """Return all that decides the steps to come, but for the iteration."""
        net = {f"net:{name}": value for name, value in self.net.state_dict().items()}
        solver = {f"solver:{k}": v for k, v in solver_tensors(self._solver, self.net)}
        return {**net, **solver, "losses": self.losses}

    def load(self, state: dict[str, Tensor], iteration: int) -> None:
        """Go on from a state.

        Raises
        ------
        KeyError, RuntimeError
            If it is not one of this network and solver.
        """
        self.net.load_state_dict(_part(state, "net:"))
        load_solver(self._solver, self.net, _part(state, "solver:"))
        self.losses.copy_(state["losses"])
        self.iteration = iteration


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def autocast(device: torch.device, recipe: TrainRecipe) -> Any:
    """Return the context in which a network runs: bfloat16 where the recipe says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


def loss_of(logits: Tensor, labels: Tensor, recipe: TrainRecipe) -> Tensor:
    """Return the mean loss () of logits (B, C) float32.

    "squared-error" is Keras's: of the softmax against one-hot labels, over pictures and classes.
    """
    if recipe.loss == "cross-entropy":
        return functional.cross_entropy(logits, labels)
    wanted = functional.one_hot(labels, logits.shape[1]).float()
    return functional.mse_loss(logits.softmax(1), wanted)


@torch.inference_mode()
def logits_of(net: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], spec: InputSpec) -> Tensor:
    """Return the logits (N, C) float32 of all pictures of some batches, on the CPU.

    They are computed in float32, whatever the network was trained in.
    """
    net.eval()
    return torch.cat([net(prepare(pixels, spec)).float() for pixels, _ in batches]).cpu()
