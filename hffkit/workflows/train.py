"""`hffkit train`: a network, a recipe and corpora in; a run folder out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hffkit.degrade.chain import chain
from hffkit.errors import CorpusError, RecipeError, UnknownNameError
from hffkit.imaging import Image
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Sample
from hffkit.networks.table import build, canonical_name, network_named, networks_table
from hffkit.runs.run import Run
from hffkit.storage.corpus import Corpus
from hffkit.storage.partial import Partial
from hffkit.training.faces import Faces, Transform
from hffkit.training.feed import Keep, feed_of
from hffkit.training.order import Order
from hffkit.training.recipe import TrainRecipe, read_recipe, recipe_of
from hffkit.training.trainer import Trainer
from hffkit.workflows.corpora import joint_classes, open_corpora
from hffkit.workflows.devices import device_named, keep_memory_of_tensors, versions_of_training
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
    corpora = open_corpora(request.data)
    table = joint_classes(corpora)
    outputs = outputs_of(table, request.task)
    train_items = items_of(corpora, "train")
    _check_classes(train_items, table, outputs)
    device = device_named(request.device)
    with Partial(out, _command(request, recipe, corpora, device), product="run") as partial:
        partial.product.mkdir(exist_ok=True)
        if device.type == "cpu":
            keep_memory_of_tensors()
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        net, start = _network(request, recipe, outputs)
        run = Run(
            recipe.network,
            recipe.size,
            asdict(network_named(recipe.network).input),
            outputs,
            _made(request, recipe, corpora, device, start),
        )
        run.write(partial.product)
        feeds = _feeds(request, recipe, (table, outputs), train_items, corpora, device)
        spec = network_named(recipe.network).input
        trainer = Trainer(net, recipe, spec, device, seed=request.seed)
        session = Session(partial.product, trainer, feeds, tensorboard=request.tensorboard)
        run = run.finished(session.run())
        run.write(partial.product)
        (partial.product / CHECKPOINT_FILE).unlink(missing_ok=True)
        partial.publish()
    return out, run


def chosen_recipe(request: TrainRequest) -> TrainRecipe:
    """Return the recipe with all that the request says otherwise.

    A network without a recipe of its name is trained with AMTENnet's.
    """
    network = canonical_name(request.network) if request.network is not None else None
    name = request.recipe or (network if network in recipe_names() else DEFAULT_NETWORK)
    path = Path(name)
    if path.suffix == ".toml":
        values = read_recipe(path)
    else:
        known = recipe_names()
        if name not in known:
            raise UnknownNameError("recipe", name, known)
        with resources.as_file(_folder() / f"{name}.toml") as file:
            values = read_recipe(file)
    values |= dict(request.overrides)
    if network is not None:
        values["network"] = network
    recipe = recipe_of(values, name)
    if canonical_name(recipe.network) != recipe.network:
        raise RecipeError(f"{name}: write network = {canonical_name(recipe.network)!r}.")
    return recipe


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


def _check_classes(items: Items, table: ClassTable, outputs: ClassTable) -> None:
    found = sorted({outputs.names[label] for label in labels_of(items, table, outputs).tolist()})
    if len(found) < 2:
        raise CorpusError(
            f"The training samples are all {found[0]!r}: training needs two classes at least. "
            "`hffkit inspect` counts them."
        )


def _network(
    request: TrainRequest, recipe: TrainRecipe, outputs: ClassTable
) -> tuple[nn.Module, dict[str, Any] | None]:
    """Return the network with its first weights, and where those are from."""
    torch.manual_seed(request.seed)
    net = build(recipe.network, len(outputs.names), recipe.size)
    start = None if request.init is None else initial_weights(net, request.init, recipe.network)
    return net, start


def _feeds(
    request: TrainRequest,
    recipe: TrainRecipe,
    tables: tuple[ClassTable, ClassTable],
    train_items: Items,
    corpora: Sequence[Corpus],
    device: torch.device,
) -> Feeds:
    colour = network_named(recipe.network).input.colour
    n_threads = torch.get_num_threads()
    faces = Faces(train_items, recipe.size, colour, _transform(recipe, request.seed))
    labels = labels_of(train_items, *tables)
    val = None
    if recipe.select != "last":
        val_items = _val_items(corpora)
        val_faces = Faces(val_items, recipe.size, colour)
        val_labels = labels_of(val_items, *tables)
        val = feed_of(val_faces, val_labels, device, keep=request.keep, n_threads=n_threads)
    order = Order(len(faces), recipe.batch_size, recipe.order, request.seed)
    feed = feed_of(faces, labels, device, keep=request.keep, n_threads=n_threads)
    return Feeds(feed, order, val)


def _transform(recipe: TrainRecipe, seed: int) -> Transform | None:
    """Return the recipe's operations, whose values are drawn anew for each picture and epoch."""
    if not recipe.degrade:
        return None
    operations = chain(*recipe.degrade)

    def degrade(image: Image, sample: Sample, epoch: int) -> Image:
        key = f"{sample.key} epoch {epoch}"
        return operations(image, seed=seed, key=key, position=len(sample.operations)).image

    return degrade


def _val_items(corpora: Sequence[Corpus]) -> Items:
    try:
        return items_of(corpora, "val")
    except CorpusError as error:
        raise CorpusError(
            f"{error} Weights are selected on val; keep the last ones with --set select=last."
        ) from None


def _command(
    request: TrainRequest, recipe: TrainRecipe, corpora: Sequence[Corpus], device: torch.device
) -> dict[str, Any]:
    """Return what decides the result: an interrupted run goes on only with the same."""
    return {
        "verb": "train",
        "recipe": recipe.to_json(),
        "task": request.task,
        "seed": request.seed,
        "init": None if request.init is None else str(request.init),
        "device": device.type,
        "threads": request.threads,
        "data": [_identity(corpus) for corpus in corpora],
    }


def _identity(corpus: Corpus) -> dict[str, str]:
    return {
        "content_sha256": corpus.content_sha256,
        "manifest_sha256": corpus.manifest_sha256(),
    }


def _made(
    request: TrainRequest,
    recipe: TrainRecipe,
    corpora: Sequence[Corpus],
    device: torch.device,
    start: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return how the run came about, for run.json."""
    return {
        "verb": "train",
        "recipe": recipe.to_json(),
        "recipe_name": request.recipe,
        "overrides": dict(request.overrides),
        "task": request.task,
        "seed": request.seed,
        "init": start,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "data": [{"path": str(corpus.path), **_identity(corpus)} for corpus in corpora],
        "versions": versions_of_training(),
    }
