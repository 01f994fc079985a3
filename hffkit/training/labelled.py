"""Labelled datasets of a training: the splits of corpora, as single images or as pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hffkit.arrays import Ints
from hffkit.degrade.chain import chain
from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.pairs import by_key, paired
from hffkit.manifest.samples import GroupGuard, Sample, Split
from hffkit.media.image import Image
from hffkit.networks.table import network_named
from hffkit.storage.corpora import joint_classes, open_faces, open_masks
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task, items_of, labels_of, outputs_of
from hffkit.training.dataset import FaceDataset, Transform
from hffkit.training.masks import masks_of, sample_of
from hffkit.training.pairs import PairDataset
from hffkit.training.recipe import MetricSettings, TrainRecipe


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """Images or pairs, and the outputs (N,) that they belong to."""

    dataset: FaceDataset | PairDataset
    labels: Ints
    left_out: Mapping[str, int] | None = None  # of pairs: samples in none, by reason


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Labelled splits of some corpora."""

    corpora: Sequence[Corpus]
    outputs: ClassTable
    train: LabelledDataset
    val: LabelledDataset | None  # None: the last weights are kept
    masks: Sequence[Corpus] | None = None  # None: trains without masks

    @property
    def splits(self) -> dict[Split, LabelledDataset]:
        """The splits that are used."""
        splits: dict[Split, LabelledDataset] = {"train": self.train}
        if self.val is not None:
            splits["val"] = self.val
        return splits

    @property
    def groups(self) -> set[str]:
        """The groups of all samples used."""
        used = (split.dataset.items for split in self.splits.values())
        return {sample.group for items in used for _, sample in items}

    @property
    def notices(self) -> list[str]:
        """Counts of the samples that are in no pair, for people."""
        return [
            f"{name}: left out {_counted(split.left_out)}"
            for name, split in self.splits.items()
            if split.left_out
        ]

    def pairs_to_json(self) -> dict[str, object]:
        """Return the numbers of pairs and of samples left out, and the masks, as JSON values."""
        return {
            "found": {name: len(split.labels) for name, split in self.splits.items()},
            "left_out": {name: split.left_out for name, split in self.splits.items()},
            "masks": [{"path": str(c.path), **c.identity()} for c in self.masks or ()],
        }


def training_data(
    names: Sequence[str], masks: Sequence[str], task: Task, recipe: TrainRecipe, seed: int
) -> TrainingData:
    """Return the labelled datasets of a recipe from corpora, and their masks if it needs them.

    Raises
    ------
    HffkitError
        If a corpus cannot be read, or they hold too few samples.
    """
    corpora = open_faces(names)
    table = joint_classes(corpora)
    _check_groups(corpora)
    outputs = outputs_of(table, task)
    metric = recipe.metric
    if metric is None:
        if masks:
            raise ArgumentError(
                f"`masks` must be empty for {recipe.network}, which does not train on pairs, got "
                f"{', '.join(masks)}."
            )
        mask_corpora = None
        make = _images(recipe, table, outputs, seed)
    else:
        _check_binary(recipe, outputs)
        mask_corpora = _open_masks(masks, recipe.network, metric)
        make = _pairs(recipe, metric, table, mask_corpora)
    train = make("train", items_of(corpora, "train"))
    val = None if recipe.select == "last" else make("val", _val_items(corpora, recipe))
    return TrainingData(corpora, outputs, train, val, mask_corpora)


_Make = Callable[[Split, Items], LabelledDataset]


def _images(recipe: TrainRecipe, table: ClassTable, outputs: ClassTable, seed: int) -> _Make:
    colour = network_named(recipe.network).input.colour

    def make(split: Split, items: Items) -> LabelledDataset:
        labels = labels_of(items, table, outputs)
        if split == "val":
            return LabelledDataset(FaceDataset(items, recipe.size, colour), labels)
        _check_two(labels, outputs, split)
        transform = random_operations(recipe, seed)
        return LabelledDataset(FaceDataset(items, recipe.size, colour, transform), labels)

    return make


def _pairs(
    recipe: TrainRecipe, metric: MetricSettings, table: ClassTable, masks: Sequence[Corpus] | None
) -> _Make:
    colour, qualities = network_named(recipe.network).input.colour, (metric.high, metric.low)
    mask_by_key = None if masks is None else by_key(masks_of(masks), sample_of)

    def is_fake(sample: Sample) -> bool:
        return table[sample.cls].is_fake

    def make(split: Split, items: Items) -> LabelledDataset:
        found = paired(items, mask_by_key, sample_of, is_fake, qualities)
        left_out = dict(sorted(found.left_out.items()))
        if not found.high:
            raise CorpusError(
                f"No {split} sample has a partner ({_counted(left_out)}). Build both qualities: "
                f"`hffkit build ff++ --pair {','.join(qualities)}`."
            )
        labels = labels_of(found.high, table, BINARY)
        if split == "train" or metric.threshold == "val":
            _check_two(labels, BINARY, split)
        high, low = (FaceDataset(each, recipe.size, colour) for each in (found.high, found.low))
        return LabelledDataset(PairDataset(high, low, found.masks), labels, left_out)

    return make


def _open_masks(
    masks: Sequence[str], network: str, metric: MetricSettings
) -> Sequence[Corpus] | None:
    """Return the corpora of masks; None where the loss does not use any."""
    if bool(masks) == bool(metric.mask_weight):
        return open_masks(masks) if masks else None
    if masks:
        raise ArgumentError(
            f"`masks` must be empty where metric.mask_weight is 0, got {', '.join(masks)}."
        )
    raise ArgumentError(
        f"`masks` must name the corpus of masks for {network}. To train without them, set "
        "metric.mask_weight = 0."
    )


def _check_binary(recipe: TrainRecipe, outputs: ClassTable) -> None:
    if outputs != BINARY:
        raise ArgumentError(
            f"`task` must be binary for {recipe.network}, which separates fake from real, got the "
            f"classes {', '.join(outputs.names)}."
        )


def _check_two(labels: Ints, outputs: ClassTable, split: Split) -> None:
    if len(set(labels.tolist())) < 2:
        raise CorpusError(
            f"The {split} samples are all {outputs.names[labels[0]]!r}, but training needs at "
            "least two classes. `hffkit inspect` counts them."
        )


def _check_groups(corpora: Sequence[Corpus]) -> None:
    """Raise ManifestError if a group is in two splits; copies of a corpus repeat its keys."""
    guard = GroupGuard()
    for corpus in corpora:
        for sample in corpus.samples():
            guard.check_group(sample)


def _val_items(corpora: Sequence[Corpus], recipe: TrainRecipe) -> Items:
    try:
        return items_of(corpora, "val")
    except CorpusError as error:
        patience = " and patience = 0" if recipe.patience else ""
        raise CorpusError(
            f"{error} Weights are selected on val; to keep the last ones, set "
            f"select = last{patience}."
        ) from None


def random_operations(recipe: TrainRecipe, seed: int) -> Transform | None:
    """Return the recipe's operations; their values are drawn anew for each image and epoch."""
    if not recipe.degrade:
        return None
    operations = chain(*recipe.degrade)

    def degrade(image: Image, sample: Sample, epoch: int) -> Image:
        key = f"{sample.key} epoch {epoch}"
        return operations(image, seed=seed, key=key, position=len(sample.operations)).image

    return degrade


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in left_out.items())
