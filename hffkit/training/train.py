"""`hffkit train`: train a network on corpora and write a run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hffkit.errors import ArgumentError
from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.execution.versions import versions_of_training
from hffkit.manifest.samples import Split
from hffkit.networks.devices import device_named, threads
from hffkit.networks.hardware import check_bf16
from hffkit.networks.table import build
from hffkit.runs.run import Run, write_groups
from hffkit.runs.snapshots import write_snapshot
from hffkit.runs.training_samples import (
    SAMPLES_FILE,
    SELECTION_FILE,
    TrainingSamples,
    read_training_samples,
    write_training_samples,
)
from hffkit.storage.corpora import references
from hffkit.storage.staging import Partial
from hffkit.training.initial import initial_weights
from hffkit.training.labelled import TrainingData, training_data
from hffkit.training.loader import Loader, make_loader
from hffkit.training.loop import Snapshot, TrainingLoop
from hffkit.training.recipe import TrainRecipe
from hffkit.training.request import (
    Keep,
    TrainRequest,
    chosen_recipe,
    default_folder,
    recipe_name,
)
from hffkit.training.sampler import BatchSampler
from hffkit.training.updater import SEEDS, Updater

_SPLITS_OF_RECORDS: Mapping[str, Split] = {SAMPLES_FILE: "train", SELECTION_FILE: "val"}


def train(
    request: TrainRequest, out: Path | None, notify: Callable[[str], object] = lambda _: None
) -> tuple[Path, Run]:
    """Train a network, write the run folder `out` (default: runs/NETWORK) and return both.

    Called again after an interruption, it continues from its last checkpoint, on the CPU bit for
    bit. `notify` is called at the start with each notice: samples that are left out, a slower way.
    """
    recipe = chosen_recipe(request)
    out = out or default_folder(recipe)
    with threads(request.threads):
        data = training_data(request.data, request.masks, request.task, recipe, request.seed)
        for notice in data.notices:
            notify(notice)
        return out, _train(request, recipe, data, out, notify)


def _train(
    request: TrainRequest,
    chosen: TrainRecipe,
    data: TrainingData,
    out: Path,
    notify: Callable[[str], object],
) -> Run:
    # Everything that can be refused is refused before anything is written.
    n_train = len(data.splits["train"].labels)
    recipe = chosen.for_samples(n_train)
    _check_snapshots(request.snapshots, recipe.n_iterations)
    device = device_named(request.device)
    if recipe.precision == "bf16":
        check_bf16(device.type)
    spec = data.input_of(recipe)
    torch.manual_seed(request.seed % SEEDS)
    net = build(recipe.network, len(data.outputs.names), recipe.size)
    init = None
    earlier: dict[str, TrainingSamples | None] = {}
    if request.init is not None:
        init = initial_weights(net, request.init, recipe.network, data.outputs)
        folder = Path(str(init["path"]))
        earlier = {name: read_training_samples(folder, name) for name in _SPLITS_OF_RECORDS}
    updater = Updater(net, recipe, spec, device, seed=request.seed)
    command = _command(request, recipe, data, init, device)
    with Partial(out, command, product="run") as partial:
        partial.make_product()
        if device.type == "cpu":
            keep_memory_of_tensors()
        loop = TrainingLoop(
            partial,
            updater,
            _loaders(data, device, request.keep),
            BatchSampler(n_train, recipe.batch_size, recipe.order, request.seed),
            tensorboard=request.tensorboard,
            notify=notify,
        )
        names = _names(request, chosen, data)
        made = {**command, **names, "device": str(device), "threads": loop.n_threads}
        run = Run(recipe.network, recipe.size, spec, data.outputs, made)
        _write_records(run, partial.product, data, earlier)
        snapshot = Snapshot(
            frozenset(request.snapshots),
            lambda at, state: write_snapshot(partial.product, run, state, at),
        )
        result = loop.run(snapshot)
        if "val" in data.splits:
            baseline = data.splits["val"].majority_accuracy
            result = replace(result, val_majority_accuracy=baseline)
        done = run.done(result, partial.product)
        _write_records(done, partial.product, data, earlier)
        partial.publish()
    return done


def _loaders(data: TrainingData, device: torch.device, keep: Keep) -> dict[Split, Loader]:
    n_threads = torch.get_num_threads()
    return {
        name: make_loader(split.dataset, split.labels, device, keep=keep, n_threads=n_threads)
        for name, split in data.splits.items()
    }


def _write_records(
    run: Run, folder: Path, data: TrainingData, earlier: Mapping[str, TrainingSamples | None]
) -> None:
    """Write everything of a run but weights and metrics.

    `earlier` are the records of samples of the run that the training began with, by file.
    """
    write_groups(folder, data.groups)
    for name, split in _SPLITS_OF_RECORDS.items():
        if split in data.splits:
            samples = data.splits[split].dataset.samples
            write_training_samples(folder, samples, earlier.get(name), name)
    run.write(folder)


def _check_snapshots(iterations: Sequence[int], n_iterations: int) -> None:
    for iteration in iterations:
        if not 1 <= iteration <= n_iterations:
            raise ArgumentError(
                f"`snapshots` must be iterations from 1 to {n_iterations}, got {iteration}."
            )


def _command(
    request: TrainRequest,
    recipe: TrainRecipe,
    data: TrainingData,
    init: Mapping[str, object] | None,
    device: torch.device,
) -> dict[str, object]:
    """Return everything that the result depends on; only the same may continue a training."""
    return {
        "verb": "train",
        "recipe": recipe.to_json(),
        "task": request.task,
        "seed": request.seed,
        "init": init,
        "threads": request.threads,
        "snapshots": sorted(request.snapshots),
        "data": [corpus.identity() for corpus in data.corpora],
        **({} if recipe.metric is None else {"pairs": data.pairs_to_json()}),
        "device": device.type,
        "versions": versions_of_training(device),
    }


def _names(request: TrainRequest, chosen: TrainRecipe, data: TrainingData) -> dict[str, object]:
    """Return where recipe and data come from, on which the result does not depend."""
    return {
        "recipe_name": recipe_name(request),
        "overrides": dict(request.overrides),
        **({} if chosen.epochs is None else {"epochs": chosen.epochs}),
        "data": references(data.corpora),
    }
