"""`hffkit train`: a network, a recipe and corpora in; a run folder out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from hffkit.degrade.chain import chain
from hffkit.errors import ArgumentError, CorpusError, RecipeError, UnknownNameError
from hffkit.imaging import Image
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import GroupGuard, Sample
from hffkit.networks.table import build, canonical_name, network_named, networks_table
from hffkit.runs.run import Run, write_groups
from hffkit.storage.corpus import Corpus
from hffkit.storage.partial import Partial
from hffkit.training.faces import Faces, Transform
from hffkit.training.feed import Feed, Keep, feed_of
from hffkit.training.order import Numbers, Order
from hffkit.training.recipe import TrainRecipe, read_recipe, recipe_of
from hffkit.training.trainer import SEEDS, Trainer
from hffkit.workflows.corpora import joint_classes, open_faces
from hffkit.workflows.devices import (
    device_named,
    keep_memory_of_tensors,
    threads,
    versions_of_training,
)
from hffkit.workflows.initial import initial_weights
from hffkit.workflows.outputs import Items, Task, items_of, labels_of, outputs_of
from hffkit.workflows.training import CHECKPOINT_FILE, Feeds, Session

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
    seed: int = 0
    device: str = "auto"
    keep: Keep = "auto"
    threads: int | None = None
    tensorboard: bool = False


def train(request: TrainRequest, out: Path | None) -> tuple[Path, Run]:
    """Train and write the run folder `out` (default: runs/NETWORK); return both.

    Run again after any interruption it goes on behind its last checkpoint, on the CPU bit for bit.
    """
    recipe = chosen_recipe(request)
    out = out or Path("runs") / recipe.network
    with threads(request.threads):
        return out, _train(request, recipe, out)


def _train(request: TrainRequest, recipe: TrainRecipe, out: Path) -> Run:
    device = device_named(request.device)
    # All that can be refused is refused before anything is written.
    data = _data(request, recipe)
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
            "data": [{"path": str(c.path), **_identity(c)} for c in data.corpora],
        }
        run = Run(recipe.network, recipe.size, asdict(spec), data.outputs, made)
        run.write(partial.product)
        write_groups(partial.product, _groups(data))
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
    values |= dict(request.overrides)
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


@dataclass(frozen=True, slots=True)
class _Data:
    """What is learned from and selected on."""

    corpora: Sequence[Corpus]
    outputs: ClassTable
    train: tuple[Faces, Numbers]  # pictures and their labels
    val: tuple[Faces, Numbers] | None  # None: nothing is selected


def _data(request: TrainRequest, recipe: TrainRecipe) -> _Data:
    corpora = open_faces(request.data)
    table = joint_classes(corpora)
    _check_groups(corpora)
    outputs = outputs_of(table, request.task)
    colour = network_named(recipe.network).input.colour
    items = items_of(corpora, "train")
    labels = labels_of(items, table, outputs)
    if len(set(labels.tolist())) < 2:
        raise CorpusError(
            f"The training samples are all {outputs.names[labels[0]]!r}: training needs two "
            "classes at least. `hffkit inspect` counts them."
        )
    faces = Faces(items, recipe.size, colour, _transform(recipe, request.seed))
    if recipe.select == "last":
        return _Data(corpora, outputs, (faces, labels), None)
    val_items = _val_items(corpora, recipe)
    val = (Faces(val_items, recipe.size, colour), labels_of(val_items, table, outputs))
    return _Data(corpora, outputs, (faces, labels), val)


def _check_groups(corpora: Sequence[Corpus]) -> None:
    """Raise ManifestError if a group is in two splits; keys may repeat, as copies' do."""
    guard = GroupGuard()
    for corpus in corpora:
        for sample in corpus.samples():
            guard.check_group(sample)


def _groups(data: _Data) -> set[str]:
    """Return the groups that are learned from or selected on."""
    faces = [data.train[0]] if data.val is None else [data.train[0], data.val[0]]
    return {sample.group for each in faces for _, sample in each.items}


def _feeds(request: TrainRequest, recipe: TrainRecipe, data: _Data, device: torch.device) -> Feeds:
    def feed(labelled: tuple[Faces, Numbers]) -> Feed:
        n_threads = torch.get_num_threads()
        return feed_of(*labelled, device, keep=request.keep, n_threads=n_threads)

    order = Order(len(data.train[0]), recipe.batch_size, recipe.order, request.seed)
    val = None if data.val is None else feed(data.val)
    return Feeds(feed(data.train), order, val)


def _transform(recipe: TrainRecipe, seed: int) -> Transform | None:
    """Return the recipe's operations, whose values are drawn anew for each picture and epoch."""
    if not recipe.degrade:
        return None
    operations = chain(*recipe.degrade)

    def degrade(image: Image, sample: Sample, epoch: int) -> Image:
        key = f"{sample.key} epoch {epoch}"
        return operations(image, seed=seed, key=key, position=len(sample.operations)).image

    return degrade


def _val_items(corpora: Sequence[Corpus], recipe: TrainRecipe) -> Items:
    try:
        return items_of(corpora, "val")
    except CorpusError as error:
        impatient = " --set patience=0" if recipe.patience else ""
        raise CorpusError(
            f"{error} Weights are selected on val; keep the last ones with --set select=last"
            f"{impatient}."
        ) from None


def _command(
    request: TrainRequest,
    recipe: TrainRecipe,
    data: _Data,
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
        "data": [_identity(corpus) for corpus in data.corpora],
        "device": device.type,
        "versions": versions_of_training(device),
    }


def _identity(corpus: Corpus) -> dict[str, str]:
    return {
        "content_sha256": corpus.content_sha256,
        "manifest_sha256": corpus.manifest_sha256(),
    }
