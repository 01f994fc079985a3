"""Labelled datasets of a training: the splits of corpora, as single images or as pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hffkit.arrays import Ints
from hffkit.degrade.suites import augmentation
from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.failures import Failure
from hffkit.manifest.pairs import Paired, by_key, paired
from hffkit.manifest.samples import Sample, Split
from hffkit.media.image import CONVERT_IMAGESET, Image
from hffkit.networks.spec import InputSpec
from hffkit.networks.table import network_named
from hffkit.storage.corpora import (
    Item,
    joint_classes,
    open_faces,
    open_masks,
    references,
    samples_of,
)
from hffkit.storage.corpus import Corpus
from hffkit.storage.datasets import datasets_note
from hffkit.storage.duplicates import duplicates_among, duplicates_note
from hffkit.storage.labels import Items, Task, items_of, labels_of, outputs_of
from hffkit.training.dataset import FaceDataset, Transform
from hffkit.training.loader import Dataset
from hffkit.training.pairs import PairDataset
from hffkit.training.recipe import MetricSettings, TrainRecipe
from hffkit.training.request import check_masks, check_splits, splits_of


def recipe_input(recipe: TrainRecipe) -> InputSpec:
    """Return the preparation of images for the network of a recipe."""
    return recipe.input_for(network_named(recipe.network).input)


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """Images or pairs, and the outputs (N,) that they belong to."""

    dataset: Dataset
    labels: Ints
    left_out: Mapping[str, int] | None = None  # of pairs: samples in none, by reason

    @property
    def majority_accuracy(self) -> float:
        """Accuracy of always naming the largest class."""
        return float(np.bincount(self.labels).max() / len(self.labels))


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Labelled splits of some corpora."""

    corpora: Sequence[Corpus]
    outputs: ClassTable
    splits: Mapping[Split, LabelledDataset]  # train, and val unless the last weights are kept
    masks: Sequence[Corpus] | None  # None: trains without masks
    duplicates: Sequence[Failure] = ()  # files and images in two classes or splits

    @property
    def groups(self) -> set[str]:
        """The groups of all samples used."""
        used = (split.dataset.items for split in self.splits.values())
        return {sample.group for items in used for _, sample in items}

    def input_of(self, recipe: TrainRecipe) -> InputSpec:
        """Return the input of a network trained on this data.

        Its filter is the recipe's; of packed corpora the one that resized their images.
        """
        is_packed = all(corpus.provenance.size is not None for corpus in self.corpora)
        found = recipe_input(recipe)
        return replace(found, filter=CONVERT_IMAGESET) if is_packed else found

    @property
    def notices(self) -> list[str]:
        """Remarks to read before training, as on samples in no pair and classes without samples."""
        notices = [
            f"{name}: left out {_counted(split.left_out)}"
            for name, split in self.splits.items()
            if split.left_out
        ]
        notes = (datasets_note(self.corpora), duplicates_note(self.duplicates))
        notices = [*(note for note in notes if note is not None), *notices]
        for name, split in self.splits.items():
            present = set(split.labels.tolist())
            missing = [cls for label, cls in enumerate(self.outputs.names) if label not in present]
            if missing:
                notices.append(f"{name}: no sample of {', '.join(missing)}")
        return notices

    def pairs_to_json(self) -> dict[str, object]:
        """Return the numbers of pairs and of samples left out, and the masks, as JSON values."""
        return {
            "found": {name: len(split.labels) for name, split in self.splits.items()},
            "left_out": {name: split.left_out for name, split in self.splits.items()},
            "masks": references(self.masks or ()),
        }


def training_data(
    names: Sequence[str], masks: Sequence[str], task: Task, recipe: TrainRecipe, seed: int
) -> TrainingData:
    """Return the labelled datasets of a recipe from corpora, and their masks if it needs them.

    Raises
    ------
    HffkitError
        If a corpus cannot be read, a group is in two splits, or there are too few samples.
    """
    corpora = open_faces(names)
    table = joint_classes(corpora)
    duplicates = duplicates_among(corpora)
    outputs = outputs_of(table, task)
    check_masks(masks, recipe)
    opened = open_masks(masks) if masks else None
    if recipe.metric is not None and outputs != BINARY:
        raise ArgumentError(
            f"`task` must be binary for {recipe.network}, which separates fake from real, got the "
            f"classes {', '.join(outputs.names)}."
        )
    masks_by_key = None if opened is None else by_key(samples_of(opened))
    check_splits(corpora, recipe)
    splits: dict[Split, LabelledDataset] = {}
    for split in splits_of(recipe):
        items = items_of(corpora, split)
        if recipe.metric is None:
            transform = random_operations(recipe, seed) if split == "train" else None
            dataset = FaceDataset(items, recipe.size, recipe_input(recipe), transform)
            splits[split] = LabelledDataset(dataset, labels_of(items, table, outputs))
        else:
            found = _paired(split, items, recipe.metric, table, masks_by_key)
            splits[split] = _pairs(found, recipe, table)
        _check_two(splits[split].labels, outputs, split)
    return TrainingData(corpora, outputs, splits, opened, duplicates)


def _paired(
    split: Split,
    items: Items,
    metric: MetricSettings,
    table: ClassTable,
    masks: Mapping[str, Item] | None,
) -> Paired[Item]:
    qualities = (metric.high, metric.low)
    found = paired(items, masks, lambda sample: table[sample.cls].is_fake, qualities)
    if not found.high:
        left_out = _counted(dict(sorted(found.left_out.items())))
        raise CorpusError(
            f"No {split} sample has a partner ({left_out}). Build both qualities: "
            f"`hffkit build ff++ --pair {','.join(qualities)}`."
        )
    is_repeated = split == "train" and metric.repeat_real
    return _with_repeated_reals(found, table) if is_repeated else found


def _pairs(found: Paired[Item], recipe: TrainRecipe, table: ClassTable) -> LabelledDataset:
    spec = recipe_input(recipe)
    high, low = (FaceDataset(each, recipe.size, spec) for each in (found.high, found.low))
    labels = labels_of(found.high, table, BINARY)
    left_out = dict(sorted(found.left_out.items()))
    return LabelledDataset(PairDataset(high, low, found.masks), labels, left_out)


def _with_repeated_reals(found: Paired[Item], table: ClassTable) -> Paired[Item]:
    """Return the pairs with each real one as often as there are manipulations."""
    is_fake = [table[sample.cls].is_fake for _, sample in found.high]
    methods = {sample.cls for (_, sample), fake in zip(found.high, is_fake, strict=True) if fake}
    reals = [place for place, fake in enumerate(is_fake) if not fake]
    places = [*range(len(is_fake)), *reals * (len(methods) - 1)]
    return replace(
        found,
        high=[found.high[place] for place in places],
        low=[found.low[place] for place in places],
        masks=[found.masks[place] for place in places],
    )


def _check_two(labels: Ints, outputs: ClassTable, split: Split) -> None:
    if len(set(labels.tolist())) < 2:
        found = f"The {split} samples are all {outputs.names[labels[0]]!r}"
        if split == "train":
            raise CorpusError(
                f"{found}, but training needs at least two classes. `hffkit inspect` counts them."
            )
        raise CorpusError(
            f"{found}, so the best weights would be those that call everything by this name. Build "
            "the corpus with other splits, or keep the last weights: select = last."
        )


def random_operations(recipe: TrainRecipe, seed: int) -> Transform | None:
    """Return the recipe's operations; their values are drawn anew for each image and epoch."""
    if not recipe.degrade:
        return None
    operations = augmentation(recipe.degrade)

    def degrade(image: Image, sample: Sample, epoch: int) -> Image:
        key = f"{sample.key} epoch {epoch}"
        return operations(image, seed=seed, key=key, position=len(sample.operations)).image

    return degrade


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in left_out.items())
