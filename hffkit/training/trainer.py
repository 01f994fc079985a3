"""The training step, in the order in which it happens."""

import torch
from torch import Tensor, nn

from hffkit.errors import RecipeError
from hffkit.networks.caffe import BatchNorm
from hffkit.networks.constraint import project
from hffkit.networks.efficientnet import StochasticDepth
from hffkit.networks.spec import InputSpec
from hffkit.training.losses import Classification, Objective
from hffkit.training.metric_learning import MetricLearning
from hffkit.training.optimizer import load_solver, solver_of, solver_tensors
from hffkit.training.recipe import TrainRecipe

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
        self.recipe, self.device = recipe, device
        self.objective = _objective(net, recipe, spec)
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
        """Do one update with a batch: pixels (B, *objective.shape) uint8, labels (B,) int64."""
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
            mine = slice(rank, None, n_replicas)
            loss = self.objective.loss(pixels[mine], labels[mine]) / n_replicas
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._solver.step()
        project(self.net)
        return total

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


def _objective(net: nn.Module, recipe: TrainRecipe, spec: InputSpec) -> Objective:
    if recipe.metric is not None:
        return MetricLearning(net, recipe, recipe.metric, spec)
    return Classification(net, recipe, spec)
