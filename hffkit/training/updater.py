"""One update of a network's weights, step by step, and the same as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hffkit.errors import RecipeError
from hffkit.networks.caffe import BatchNorm
from hffkit.networks.constraint import project
from hffkit.networks.efficientnet import StochasticDepth
from hffkit.networks.spec import InputSpec
from hffkit.training.losses import ClassificationLoss
from hffkit.training.metric_learning import PairLoss
from hffkit.training.optimizer import load_optimizer_state, make_optimizer, optimizer_state
from hffkit.training.recipe import TrainRecipe

SEEDS = 1 << 64  # PyTorch takes seeds below this
_SEED_STEP = 1_000_003  # a prime: seeds of neighbouring runs do not meet soon
_WARM_UPS = 3  # PyTorch's recommendation before a capture

Stepping = Callable[[Tensor, Tensor], None]
"""Train on one batch: pixels and labels, as `Updater.step` takes them."""


class Updater:
    """A network on a device with its loss and optimizer, independent of files and metrics."""

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
            If replicas share batches of a network without Caffe's batch normalisation.
        """
        if recipe.replicas > 1 and any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
            raise RecipeError(
                f"replicas must be 1 for {recipe.network}, got {recipe.replicas}: they need "
                "Caffe's batch normalisation, which it does not have."
            )
        self.net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.device = recipe, device
        self.loss: ClassificationLoss | PairLoss = (
            ClassificationLoss(net, recipe, spec)
            if recipe.metric is None
            else PairLoss(net, recipe, recipe.metric, spec)
        )
        self.iteration = 0
        self.losses = torch.zeros(recipe.log_interval, device=device)  # of the latest iterations
        self._seed = seed
        self._rate = torch.tensor(recipe.rate(0), device=device)
        self._optimizer = make_optimizer(recipe, self.net, self._rate)
        self._is_random = any(isinstance(m, nn.Dropout | StochasticDepth) for m in net.modules())
        self._norms = [layer for layer in net.modules() if isinstance(layer, BatchNorm)]
        for norm in self._norms:
            norm.fraction = recipe.statistics_fraction
        project(self.net)

    def step(self, pixels: Tensor, labels: Tensor) -> None:
        """Train on one batch: pixels (B, *loss.shape) uint8, labels (B,) int64."""
        self.begin_step()
        self.end_step(self.update(pixels, labels))

    def begin_step(self) -> None:
        """Set the learning rate of the iteration, and the seed of dropout."""
        self._rate.fill_(self.recipe.rate(self.iteration))
        if self._is_random:  # so that a resumed run draws the same as an uninterrupted one
            torch.manual_seed((self._seed * _SEED_STEP + self.iteration) % SEEDS)

    def update(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Update the weights and return the loss () before the update."""
        self.net.train()
        self._optimizer.zero_grad(set_to_none=True)
        n_replicas = self.recipe.replicas
        total = torch.zeros((), device=self.device)
        for rank in range(n_replicas):  # record i goes to replica i % n, as in Caffe
            for norm in self._norms:
                norm.keeps_statistics = rank == 0
            share = slice(rank, None, n_replicas)
            loss = self.loss(pixels[share], labels[share]) / n_replicas
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._optimizer.step()
        project(self.net)
        return total

    def end_step(self, loss: Tensor) -> None:
        """Record the loss () of the iteration and go on to the next one."""
        self.losses[self.iteration % len(self.losses)] = loss
        self.iteration += 1

    def state(self) -> dict[str, Tensor]:
        """Return everything but the iteration that further steps depend on."""
        net = {f"net:{name}": value for name, value in self.net.state_dict().items()}
        optimizer = {f"solver:{k}": v for k, v in optimizer_state(self._optimizer, self.net)}
        return {**net, **optimizer, "losses": self.losses}

    def load(self, state: dict[str, Tensor], iteration: int) -> None:
        """Restore a state.

        Raises
        ------
        KeyError, RuntimeError
            If it belongs to another network or optimizer.
        """
        self.net.load_state_dict(_part(state, "net:"))
        load_optimizer_state(self._optimizer, self.net, _part(state, "solver:"))
        self.losses.copy_(state["losses"])
        self.iteration = iteration

    def reset(self, state: dict[str, Tensor]) -> None:
        """Copy `state` over the current one in place; what it lacks becomes zero."""
        for name, value in self.state().items():
            if name in state:
                value.copy_(state[name])
            else:
                value.zero_()
        for norm in self._norms:
            norm.batch_mean.zero_()
            norm.batch_var.zero_()


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


class CapturedStep:
    """An updater's step as one CUDA graph, since launching its hundred kernels costs more.

    The arithmetic is that of Updater.step. Captured kernels read and write fixed addresses, so
    state must be restored in place.
    """

    def __init__(self, updater: Updater) -> None:
        """Capture the update, which changes the updater's state: see `captured_step`.

        Raises
        ------
        RuntimeError
            If PyTorch or CUDA cannot capture it.
        """
        self._updater = updater
        n, device = updater.recipe.batch_size, updater.device
        shape = (n, *updater.loss.shape)
        self._pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._labels = torch.zeros(n, dtype=torch.int64, device=device)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                updater.update(self._pixels, self._labels)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = updater.update(self._pixels, self._labels)

    def __call__(self, pixels: Tensor, labels: Tensor) -> None:
        """Train on one batch, as Updater.step does."""
        self._pixels.copy_(pixels)
        self._labels.copy_(labels)
        self._updater.begin_step()
        self._graph.replay()
        self._updater.end_step(self._loss)


def captured_step(updater: Updater, notify: Callable[[str], object]) -> Stepping:
    """Return the step of an updater on CUDA: captured, or the plain one if that fails.

    The updater's state is unchanged. `notify` is called with the reason of a failed capture.
    """
    before = {name: value.clone() for name, value in updater.state().items()}
    try:
        return CapturedStep(updater)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        notify(f"training is slower, with the same result: CUDA cannot capture a step: {reason}")
        return updater.step
    finally:
        updater.reset(before)  # Adam has no state before its first step
