"""The update step without a device: on meta tensors, which have shapes and no values.

Reading a value, or mixing tensors of two devices, fails there. So what passes neither waits for
the device nor moves data between it and the host, and can be captured as a CUDA graph.
"""

from contextlib import nullcontext
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hffkit.networks.table import NETWORKS, build, build_blank, network_named
from hffkit.training import losses, metric_learning
from hffkit.training.recipe import TrainRecipe
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.updater import Updater, captured_step

META = torch.device("meta")
PAIRED = [name for name, spec in NETWORKS.items() if spec.high_quality is not None]
TWICE = {"amtennet", "meso4", "resnet18"}  # a second step is about the solver
# Layers of others: mml is made of Xception's. Forward passes of all are tested for explain.
SHARED = {"xception", "densenet121"}
# With Caffe's batch normalisation, which replicas need.
CAFFE = [name for name in NETWORKS if name.startswith("amten") or name.endswith("model-base")]
QUICK = {"amtennet", "model-base"}


@pytest.fixture(autouse=True)
def _graphs_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Adam run there as it does in a CUDA graph, and bfloat16 as float32: no cast exists."""
    adam = import_module("torch.optim.adam")  # torch.optim does not show it
    monkeypatch.setattr(adam, "_get_capturable_supported_devices", lambda **_: ["meta"])
    for module in (losses, metric_learning):
        monkeypatch.setattr(module, "autocast", lambda *_: nullcontext())


def recipe_for(name: str, **values: object) -> TrainRecipe:
    chosen = {"batch_size": 4, "log_interval": 2, **values}
    if name in PAIRED:
        chosen["metric.threshold"] = 9
    return chosen_recipe(TrainRequest((), network=name, overrides=tuple(chosen.items())))


def stepped(name: str, recipe: TrainRecipe, n_steps: int = 2) -> Updater:
    """Return an updater after some steps on the meta device."""
    with META:
        net = build_blank(name, 2, recipe.size)
    updater = Updater(net, recipe, network_named(name).input, META, seed=0)
    shape = (recipe.batch_size, *updater.loss.shape)
    pixels = torch.zeros(shape, dtype=torch.uint8, device=META)
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64, device=META)
    for _ in range(n_steps):
        updater.step(pixels, labels)
    return updater


def check_step(name: str, solver: str | None = None) -> None:
    """Check that a step keeps to its device and makes the state of its solver."""
    chosen: dict[str, Any] = {"solver": solver, "momentum": 0.9} if solver else {}
    recipe = recipe_for(name, **chosen)
    n_steps = 2 if name in TWICE else 1
    updater = stepped(name, recipe, n_steps)
    state = updater.state()
    assert updater.iteration == n_steps
    assert {value.device.type for value in state.values()} == {"meta"}
    n_parameters = sum(p.requires_grad for p in updater.net.parameters())
    n_kept = 1 if recipe.solver == "caffe-sgd" else 3  # tensors of state a parameter
    assert sum(name.startswith("solver:") for name in state) == n_kept * n_parameters


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in SHARED])
def test_a_step_reads_no_value_and_stays_on_its_device(name: str) -> None:
    check_step(name)


REST = [
    (name, solver)
    for name in NETWORKS
    for solver in ("caffe-sgd", "adam", "adamw")
    if name in SHARED or solver != recipe_for(name).solver
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "solver"), REST)
def test_so_does_one_of_another_solver(name: str, solver: str) -> None:
    check_step(name, solver)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CAFFE],
)
def test_so_do_shares_of_a_batch_in_every_precision(
    name: str, precision: str, replicas: int
) -> None:
    stepped(name, recipe_for(name, precision=precision, replicas=replicas))


def test_reading_a_value_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(self: Updater, loss: torch.Tensor) -> None:
        self.last = float(loss)  # type: ignore[attr-defined]

    monkeypatch.setattr(Updater, "end_step", reads)
    with pytest.raises(RuntimeError, match="meta"):
        stepped("meso4", recipe_for("meso4"))


class Broken:
    """A graph whose capture fails at its end, as CUDA reports it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("solver", ["caffe-sgd", "adam"])
def test_a_failed_capture_leaves_the_plain_step_and_its_result(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for("meso4", solver=solver, size=32, momentum=0.9)
    updaters = []
    for _ in range(2):
        torch.manual_seed(0)
        net = build("meso4", 2, 32)
        spec = network_named("meso4").input
        updaters.append(Updater(net, recipe, spec, torch.device("cpu"), seed=0))
    plain, other = updaters
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: SimpleNamespace(wait_stream=id))
    monkeypatch.setattr(torch.cuda, "current_stream", torch.cuda.Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", lambda _: Broken())
    told: list[str] = []
    step = captured_step(other, told.append)
    assert step == other.step
    assert told == [
        "training is slower, with the same result: CUDA cannot capture a step: operation not "
        "permitted when stream is capturing"
    ]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        pixels = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 2, (4,), generator=generator)
        plain.step(pixels, labels)
        step(pixels, labels)
    for name, value in plain.state().items():
        assert torch.equal(value, other.state()[name]), name
