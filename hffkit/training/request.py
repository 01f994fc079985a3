"""Requests of trainings and their recipes, which are checked before the import of PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hffkit.degrade.suites import augmentation
from hffkit.errors import ArgumentError, CorpusError, RecipeError
from hffkit.manifest.samples import Split
from hffkit.networks.names import canonical_name
from hffkit.options import Seed
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Task, check_split
from hffkit.training.recipe import (
    TrainRecipe,
    overridden,
    read_recipe,
    recipe_file,
    recipe_names,
    recipe_of,
)

Keep = Literal["auto", "memory", "stream"]
DEFAULT_NETWORK = "amtennet"


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Arguments of a training; None stands for the recipe's choice."""

    data: tuple[str, ...]
    network: str | None = None
    recipe: str | None = None  # name of a shipped recipe, or a file
    overrides: tuple[tuple[str, Any], ...] = ()  # of the recipe's values
    task: Task = "multi"
    init: Path | None = None
    masks: tuple[str, ...] = ()  # corpora with the masks of pairs
    seed: Seed = 0
    device: str = "auto"
    keep: Keep = "auto"
    threads: int | None = None
    tensorboard: bool = False
    snapshots: tuple[int, ...] = ()  # iterations whose weights are kept, too


def chosen_recipe(request: TrainRequest) -> TrainRecipe:
    """Return the recipe of a request with its overrides.

    A network without a recipe of its name is trained with AMTENnet's.
    """
    network = canonical_name(request.network) if request.network is not None else None
    name = recipe_name(request)
    path = recipe_file(name)
    if network is not None and "network" in dict(request.overrides):
        raise ArgumentError(f"`network` is given twice: {network}, and among the overrides.")
    values = overridden(read_recipe(path), dict(request.overrides))
    if network is not None:
        values["network"] = network
    recipe = recipe_of(values, name)
    if canonical_name(recipe.network) != recipe.network:
        raise RecipeError(f"{name}: write network = {canonical_name(recipe.network)!r}.")
    if recipe.degrade:
        augmentation(recipe.degrade)
    return recipe


def splits_of(recipe: TrainRecipe) -> tuple[Split, ...]:
    """Return the splits that a training reads."""
    return ("train",) if recipe.select == "last" else ("train", "val")


def check_splits(corpora: Sequence[Corpus], recipe: TrainRecipe) -> None:
    """Raise CorpusError if corpora have no sample of a split that a training reads."""
    for split in splits_of(recipe):
        try:
            check_split(corpora, split)
        except CorpusError as error:
            if split == "train":
                raise
            patience = " and patience = 0" if recipe.patience else ""
            raise CorpusError(
                f"{error} Weights are selected on val; to keep the last ones, set "
                f"select = last{patience}."
            ) from None


def default_folder(recipe: TrainRecipe) -> Path:
    """Return the run folder of a training that names none."""
    return Path("runs") / recipe.network


def recipe_name(request: TrainRequest) -> str:
    """Return the name or file of a request's recipe."""
    if request.recipe is not None:
        return request.recipe
    network = canonical_name(request.network) if request.network is not None else None
    return network if network in recipe_names() else DEFAULT_NETWORK


def check_masks(masks: Sequence[str], recipe: TrainRecipe) -> None:
    """Raise ArgumentError if masks are given to a loss that uses none, or the reverse."""
    uses_masks = recipe.metric is not None and recipe.metric.mask_weight > 0
    if uses_masks and not masks:
        raise ArgumentError(
            f"`masks` must name the corpus of masks for {recipe.network}. To train without them, "
            "set metric.mask_weight = 0."
        )
    if masks and not uses_masks:
        where = f"for {recipe.network}" if recipe.metric is None else "if metric.mask_weight is 0"
        raise ArgumentError(f"`masks` must be empty {where}, got {', '.join(masks)}.")
