"""What a training learns from and selects on: images of corpora with labels, or pairs of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hffkit.arrays import Ints
from hffkit.degrade.chain import chain
from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.manifest.pairs import by_key, mask_for, paired
from hffkit.manifest.samples import GroupGuard, Sample, Split
from hffkit.media.image import Image
from hffkit.networks.table import network_named
from hffkit.storage.corpora import joint_classes, open_faces, open_masks
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task, items_of, labels_of, outputs_of
from hffkit.training.dataset import Faces, Transform
from hffkit.training.pairs import Item, Pairs
from hffkit.training.recipe import Metric, TrainRecipe

LabelledImages = tuple[Faces | Pairs, Ints]
"""Images, or pairs of them, and their outputs (N,)."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learned from and selected on."""

    corpora: Sequence[Corpus]
    outputs: ClassTable
    train: LabelledImages
    val: LabelledImages | None  # None: nothing is selected
    pairs: dict[str, Any] | None = field(default=None)  # what became of pairs, as JSON values

    @property
    def groups(self) -> set[str]:
        """The groups that are learned from or selected on."""
        parts = [self.train[0]] if self.val is None else [self.train[0], self.val[0]]
        return {sample.group for part in parts for _, sample in part.items}

    @property
    def notices(self) -> list[str]:
        """What must be told of samples that are left out."""
        left_out = {} if self.pairs is None else self.pairs["left_out"]
        return [
            f"{split}: left out {', '.join(f'{n} {why}' for why, n in counts.items())}"
            for split, counts in left_out.items()
            if counts
        ]


def training_data(
    names: Sequence[str], masks: Sequence[str], task: Task, recipe: TrainRecipe, seed: int
) -> TrainingData:
    """Return what a recipe learns from in corpora, and their masks where it wants such.

    Raises
    ------
    HffkitError
        If a corpus cannot be read, or they hold too little.
    """
    corpora = open_faces(names)
    table = joint_classes(corpora)
    _check_groups(corpora)
    outputs = outputs_of(table, task)
    if recipe.metric is not None:
        finder = _Finder(recipe, recipe.metric, table, _opened(masks, recipe.metric))
        _check_binary(outputs)
        train = finder.pairs("train", items_of(corpora, "train"))
        val = None if recipe.select == "last" else finder.pairs("val", _val_items(corpora, recipe))
        return TrainingData(corpora, outputs, train, val, finder.to_json())
    if masks:
        raise ArgumentError(f"--masks are for pairs, which {recipe.network} does not learn from.")
    colour = network_named(recipe.network).input.colour
    items = items_of(corpora, "train")
    labels = labels_of(items, table, outputs)
    _check_two(labels, outputs, "training")
    faces = Faces(items, recipe.size, colour, _transform(recipe, seed))
    if recipe.select == "last":
        return TrainingData(corpora, outputs, (faces, labels), None)
    held = _val_items(corpora, recipe)
    val = (Faces(held, recipe.size, colour), labels_of(held, table, outputs))
    return TrainingData(corpora, outputs, (faces, labels), val)


class _Finder:
    """Finds pairs, and remembers what is left out."""

    def __init__(
        self, recipe: TrainRecipe, metric: Metric, table: ClassTable, masks: Sequence[Corpus] | None
    ) -> None:
        self._recipe, self._metric, self._table, self._corpora = recipe, metric, table, masks
        self._masks = None if masks is None else by_key(masks_of(masks), _sample)
        self._counts: dict[str, int] = {}
        self._left_out: dict[str, dict[str, int]] = {}

    def pairs(self, split: Split, items: Items) -> LabelledImages:
        """Return the pairs of a split with their labels."""
        qualities = (self._metric.high, self._metric.low)
        found = paired(items, self._masks, _sample, self._is_fake, qualities)
        self._counts[split] = len(found.high)
        self._left_out[split] = dict(sorted(found.left_out.items()))
        if not found.high:
            reasons = ", ".join(f"{n} {why}" for why, n in self._left_out[split].items())
            raise CorpusError(
                f"No {split} sample has a partner ({reasons}). Build both qualities: `hffkit "
                f"build ff++ --pair {','.join(qualities)}`."
            )
        labels = labels_of(found.high, self._table, BINARY)
        if split == "train" or self._metric.threshold == "val":
            _check_two(labels, BINARY, split)
        colour, size = network_named(self._recipe.network).input.colour, self._recipe.size
        high, low = Faces(found.high, size, colour), Faces(found.low, size, colour)
        return Pairs(high, low, found.masks), labels

    def to_json(self) -> dict[str, Any]:
        """Return how many pairs there are, what was left out and why, and which masks there were.

        Counts of what is left out are of samples, by split and reason.
        """
        masks = [{"path": str(c.path), **c.identity()} for c in self._corpora or ()]
        return {"found": self._counts, "left_out": self._left_out, "masks": masks}

    def _is_fake(self, sample: Sample) -> bool:
        return self._table[sample.cls].is_fake


def masks_of(corpora: Sequence[Corpus]) -> list[Item]:
    """Return all samples of corpora of masks, in order."""
    return [(corpus, sample) for corpus in corpora for sample in corpus.samples()]


def masked(
    items: Items, masks: Mapping[str, Item], table: ClassTable
) -> tuple[list[int], list[Item | None]]:
    """Return the places of the samples whose mask is known, and their masks: None is all zeros."""
    places: list[int] = []
    wanted: list[Item | None] = []
    for place, (_, sample) in enumerate(items):
        is_fake = table[sample.cls].is_fake
        mask = mask_for(sample, masks, _sample) if is_fake else None
        if mask is not None or not is_fake:
            places.append(place)
            wanted.append(mask)
    return places, wanted


def _sample(item: Item) -> Sample:
    return item[1]


def _opened(masks: Sequence[str], metric: Metric) -> list[Corpus] | None:
    """Return the corpora of masks; None where none are wanted."""
    if bool(masks) == bool(metric.mask_weight):
        return open_masks(masks) if masks else None
    raise ArgumentError(
        "--masks are wanted by mml: give the corpus of masks, or leave their part of the loss out "
        "with --set metric.mask_weight=0."
        if metric.mask_weight
        else "--masks are given, and metric.mask_weight is 0, so nothing looks at them."
    )


def _check_binary(outputs: ClassTable) -> None:
    if outputs != BINARY:
        raise ArgumentError(
            f"mml tells fake from real, and nothing else, and the classes are "
            f"{', '.join(outputs.names)}. Add --task binary."
        )


def _check_two(labels: Ints, outputs: ClassTable, what: str) -> None:
    if len(set(labels.tolist())) < 2:
        raise CorpusError(
            f"The {what} samples are all {outputs.names[labels[0]]!r}: training needs two "
            "classes at least. `hffkit inspect` counts them."
        )


def _check_groups(corpora: Sequence[Corpus]) -> None:
    """Raise ManifestError if a group is in two splits; keys may repeat, as copies' do."""
    guard = GroupGuard()
    for corpus in corpora:
        for sample in corpus.samples():
            guard.check_group(sample)


def _val_items(corpora: Sequence[Corpus], recipe: TrainRecipe) -> Items:
    try:
        return items_of(corpora, "val")
    except CorpusError as error:
        impatient = " --set patience=0" if recipe.patience else ""
        raise CorpusError(
            f"{error} Weights are selected on val; keep the last ones with --set select=last"
            f"{impatient}."
        ) from None


def _transform(recipe: TrainRecipe, seed: int) -> Transform | None:
    """Return the recipe's operations, whose values are drawn anew for each image and epoch."""
    if not recipe.degrade:
        return None
    operations = chain(*recipe.degrade)

    def degrade(image: Image, sample: Sample, epoch: int) -> Image:
        key = f"{sample.key} epoch {epoch}"
        return operations(image, seed=seed, key=key, position=len(sample.operations)).image

    return degrade
