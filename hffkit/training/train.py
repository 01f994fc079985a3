"""`hffkit train`: a network, a recipe and corpora in; a run folder out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from hffkit.errors import ArgumentError, RecipeError, UnknownNameError
from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.execution.versions import versions_of_training
from hffkit.networks.devices import check_bf16, device_named, threads
from hffkit.networks.table import build, canonical_name, network_named, networks_table
from hffkit.options import Seed
from hffkit.runs.run import Run, write_groups
from hffkit.storage.labels import Task
from hffkit.storage.staging import Partial
from hffkit.training.data import LabelledImages, TrainingData, training_data
from hffkit.training.initial import initial_weights
from hffkit.training.loader import Feed, Keep, feed_of
from hffkit.training.recipe import TrainRecipe, flat, read_recipe, recipe_of
from hffkit.training.sampler import Order
from hffkit.training.session import CHECKPOINT_FILE, Feeds, Session
from hffkit.training.trainer import SEEDS, Trainer

DEFAULT_NETWORK = "amtennet"


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train and how; None stands for what the recipe says."""

    data: tuple[str, ...]
    network: str | None = None
    recipe: str | None = None  # a name of ours or a file
    overrides: tuple[tuple[str, Any], ...] = ()  # of the recipe's values
    task: Task = "multi"
    init: Path | None = None
    masks: tuple[str, ...] = ()  # corpora with the masks of pairs
    seed: Seed = 0
    device: str = "auto"
    keep: Keep = "auto"
    threads: int | None = None
    tensorboard: bool = False


def train(
    request: TrainRequest, out: Path | None, tell: Callable[[str], object] = lambda _: None
) -> tuple[Path, Run]:
    """Train and write the run folder `out` (default: runs/NETWORK); return both.

    Run again after any interruption it goes on behind its last checkpoint, on the CPU bit for bit.
    Before it begins, `tell` is told what is left out of pairs.
    """
    recipe = chosen_recipe(request)
    out = out or Path("runs") / recipe.network
    with threads(request.threads):
        data = training_data(request.data, request.masks, request.task, recipe, request.seed)
        for notice in data.notices:
            tell(notice)
        return out, _train(request, recipe, data, out)


def _train(request: TrainRequest, recipe: TrainRecipe, data: TrainingData, out: Path) -> Run:
    # All that can be refused is refused before anything is written.
    device = device_named(request.device)
    if recipe.precision == "bf16":
        check_bf16(device)
    spec = network_named(recipe.network).input
    torch.manual_seed(request.seed % SEEDS)
    net = build(recipe.network, len(data.outputs.names), recipe.size)
    start = (
        None
        if request.init is None
        else initial_weights(net, request.init, recipe.network, data.outputs)
    )
    trainer = Trainer(net, recipe, spec, device, seed=request.seed)
    command = _command(request, recipe, data, start, device)
    with Partial(out, command, product="run") as partial:
        partial.product.mkdir(exist_ok=True)
        if device.type == "cpu":
            keep_memory_of_tensors()
        feeds = _feeds(request, recipe, data, device)
        session = Session(partial.product, trainer, feeds, tensorboard=request.tensorboard)
        made = {
            **command,
            "recipe_name": recipe_name(request),
            "overrides": dict(request.overrides),
            "device": str(device),
            "threads": session.n_threads,
            "data": [{"path": str(c.path), **c.identity()} for c in data.corpora],
        }
        run = Run(recipe.network, recipe.size, asdict(spec), data.outputs, made)
        run.write(partial.product)
        write_groups(partial.product, data.groups)
        run = run.finished(session.run())
        run.write(partial.product)
        partial.publish()
    # Only now: without it a finished but unpublished training would be begun anew.
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return run


def chosen_recipe(request: TrainRequest) -> TrainRecipe:
    """Return the recipe with all that the request says otherwise.

    A network without a recipe of its name is trained with AMTENnet's.
    """
    network = canonical_name(request.network) if request.network is not None else None
    name = recipe_name(request)
    path = Path(name)
    if path.suffix == ".toml":
        values = read_recipe(path)
    else:
        known = recipe_names()
        if name not in known:
            raise UnknownNameError("recipe", name, known)
        with resources.as_file(_folder() / f"{name}.toml") as file:
            values = read_recipe(file)
    if network is not None and "network" in dict(request.overrides):
        raise ArgumentError("Name the network once: --network, or --set network=NAME.")
    values = flat(values) | flat(dict(request.overrides))
    if network is not None:
        values["network"] = network
    recipe = recipe_of(values, name)
    if canonical_name(recipe.network) != recipe.network:
        raise RecipeError(f"{name}: write network = {canonical_name(recipe.network)!r}.")
    return recipe


def recipe_name(request: TrainRequest) -> str:
    """Return the name or file of the recipe that a request means."""
    if request.recipe is not None:
        return request.recipe
    network = canonical_name(request.network) if request.network is not None else None
    return network if network in recipe_names() else DEFAULT_NETWORK


def recipe_names() -> list[str]:
    """Return the names of our recipes."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml")
    )


def known_text() -> str:
    """Return the table of networks, and the recipes, for people."""
    return f"{networks_table()}\n\nrecipes: {', '.join(recipe_names())}"


def _folder() -> Any:
    return resources.files("hffkit.recipes") / "train"


def _feeds(
    request: TrainRequest, recipe: TrainRecipe, data: TrainingData, device: torch.device
) -> Feeds:
    def feed(labelled: LabelledImages) -> Feed:
        n_threads = torch.get_num_threads()
        return feed_of(*labelled, device, keep=request.keep, n_threads=n_threads)

    order = Order(len(data.train[0]), recipe.batch_size, recipe.order, request.seed)
    val = None if data.val is None else feed(data.val)
    return Feeds(feed(data.train), order, val)


def _command(
    request: TrainRequest,
    recipe: TrainRecipe,
    data: TrainingData,
    start: dict[str, Any] | None,
    device: torch.device,
) -> dict[str, Any]:
    """Return what decides the result: an interrupted run goes on only with the same."""
    return {
        "verb": "train",
        "recipe": recipe.to_json(),
        "task": request.task,
        "seed": request.seed,
        "init": start,
        "threads": request.threads,
        "data": [corpus.identity() for corpus in data.corpora],
        **({} if data.pairs is None else {"pairs": data.pairs}),
        "device": device.type,
        "versions": versions_of_training(device),
    }
