"""Training recipes: one TOML file holds every setting."""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from hffkit.errors import ArgumentError, RecipeError, located
from hffkit.fields import WORDS, shown
from hffkit.input_files import read_toml, toml_of
from hffkit.media.image import ResizeFilter
from hffkit.networks.names import PAIRED
from hffkit.networks.spec import InputSpec
from hffkit.recipe_files import recipe_path, shipped_names
from hffkit.training.study_config import (
    SUFFIXES,
    read_study_config,
    recipe_name_of,
    with_settings,
)

_MOST = 1e30  # within float32
_LONGEST = 10**12  # iterations
_BOUNDS: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "size": (lambda value: 1 <= value <= 4096, "from 1 to 4096"),
    "batch_size replicas": (lambda value: 1 <= value <= 1 << 20, f"from 1 to {1 << 20}"),
    "step_size val_interval log_interval": (
        lambda value: 1 <= value <= _LONGEST, f"from 1 to {_LONGEST}",
    ),
    "max_iterations patience": (lambda value: 0 <= value <= _LONGEST, f"from 0 to {_LONGEST}"),
    "base_lr epsilon": (lambda value: 0 < value <= _MOST, f"above 0, at most {_MOST:g}"),
    "gamma": (lambda value: 0 <= value <= 1, "from 0 to 1"),
    "epochs": (lambda value: 0 <= value <= 1e9, "from 0 to 1e9"),
    "weight_decay": (lambda value: 0 <= value <= _MOST, f"from 0 to {_MOST:g}"),
    "momentum beta2 statistics_fraction": (lambda value: 0 <= value < 1, "from 0 to below 1"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Further settings of metric learning on pairs: see `metric_learning.pair_loss`."""

    high: str  # qualities of a pair's images, as in the keys of samples
    low: str
    r_real: float  # largest distance from the origin without loss, for a real face
    r_fake: float  # smallest distance from the origin without loss, for a fake
    pair_weight: float
    map_weight: float
    mask_weight: float  # 0: trains without masks
    threshold: float | Literal["val"]  # least distance that counts as fake
    as_published: bool  # divide and treat grey cells as the published code does
    # Train on each real pair once for each manipulation, as the published code does for "All".
    repeat_real: bool = False

    def __post_init__(self) -> None:
        for name in ("r_real", "r_fake", "pair_weight", "map_weight", "mask_weight", "threshold"):
            value = getattr(self, name)
            if value != "val" and not 0 <= value <= _MOST:
                raise RecipeError(f"metric.{name} must be from 0 to {_MOST:g}, got {value}.")
        if self.high == self.low:
            raise RecipeError(f"metric.high and metric.low must differ, got {self.high!r} twice.")


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Settings of a training: network, optimizer, schedule and validation."""

    network: str
    size: int  # px
    filter: Literal["original", ResizeFilter]  # that resizes images; original: the network's own
    loss: Literal["cross-entropy", "squared-error", "metric"]
    solver: Literal["caffe-sgd", "adam", "adamw"]
    base_lr: float
    policy: Literal["step", "cosine", "constant"]
    gamma: float  # of the step policy: factor of the rate every step_size iterations
    step_size: int
    momentum: float  # Adam's beta 1
    beta2: float
    epsilon: float
    weight_decay: float
    batch_size: int
    replicas: int  # shares of a batch with batch statistics of their own, as on Caffe's GPUs
    statistics_fraction: float  # Caffe's moving_average_fraction of its batch statistics
    order: Literal["shuffled", "caffe"]  # shuffled each epoch; as in the corpus, wrapping
    precision: Literal["fp32", "bf16"]
    max_iterations: int | None  # either this or epochs
    epochs: float | None  # passes over the training samples; see `for_samples`
    val_interval: int  # iterations between validations
    log_interval: int  # iterations that a line of metrics averages over
    select: Literal["accuracy", "loss", "last"]  # validation metric that selects the weights
    patience: int  # validations in a row without an improvement before stopping; 0: never stop
    degrade: tuple[str, ...]  # operations applied to training images, drawn anew each epoch
    metric: MetricSettings | None = None  # if and only if the loss is "metric"

    def __post_init__(self) -> None:
        for names, (holds, wanted) in _BOUNDS.items():
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise RecipeError(f"{name} must be {wanted}, got {value}.")
        if (self.max_iterations is None) == (self.epochs is None):
            given = "neither" if self.epochs is None else "both"
            raise RecipeError(
                f"max_iterations or epochs must give the length of the training, got {given}."
            )
        if self.batch_size % self.replicas:
            raise RecipeError(
                f"replicas must divide batch_size, got {self.replicas} and {self.batch_size}."
            )
        if self.patience and self.select == "last":
            raise RecipeError(
                f"patience must be 0 where select is last, got {self.patience}: it counts "
                "validations, and there are none."
            )
        self._check_metric()

    def _check_metric(self) -> None:
        if (self.network in PAIRED) != (self.loss == "metric"):
            raise RecipeError(
                f"{_PAIRED_NAMES} and loss = 'metric' go together, got {self.network} and "
                f"{self.loss!r}. Use the recipe {_PAIRED_NAMES}."
            )
        if (self.loss == "metric") != (self.metric is not None):
            raise RecipeError("loss = 'metric' and the table [metric] go together.")
        if self.metric is None:
            return
        if self.degrade:
            raise RecipeError(
                f"degrade must be empty for pairs, got {', '.join(self.degrade)}: the two images "
                "of a pair would no longer match. Degrade the corpus instead."
            )
        if self.metric.threshold == "val" and self.select == "last":
            raise RecipeError(
                "metric.threshold must be a number where select is 'last', because nothing is "
                "validated; 9 and 5 are published."
            )

    def input_for(self, own: InputSpec) -> InputSpec:
        """Return the preparation of images: the network's own, with the recipe's filter."""
        return own if self.filter == "original" else dataclasses.replace(own, filter=self.filter)

    def to_json(self) -> dict[str, object]:
        """Return the values as JSON; `recipe_of` reads them back."""
        values = {**dataclasses.asdict(self), "degrade": list(self.degrade)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def n_iterations(self) -> int:
        """The length of the training; ValueError if it depends on the number of samples."""
        if self.max_iterations is None:
            raise ValueError(f"{self.epochs} epochs have no length without `for_samples`.")
        return self.max_iterations

    def for_samples(self, n: int) -> "TrainRecipe":
        """Return the recipe with the epochs as iterations, rounded, for `n` training samples.

        It validates after each epoch at the latest. Without epochs, the recipe is returned as is.
        """
        if self.epochs is None:
            return self
        epoch = n / self.batch_size
        return dataclasses.replace(
            self,
            max_iterations=max(round(self.epochs * epoch), 1 if self.epochs else 0),
            epochs=None,
            val_interval=min(self.val_interval, math.ceil(epoch)),
        )

    def rate(self, iteration: int) -> float:
        """Return the learning rate of the update number `iteration`, counted from 0."""
        if self.policy == "step":
            return float(self.base_lr * self.gamma ** (iteration // self.step_size))
        if self.policy == "cosine":
            done = min(iteration / max(self.n_iterations, 1), 1.0)
            return self.base_lr * (1 + math.cos(math.pi * done)) / 2
        return self.base_lr


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return shipped_names("train")


def recipe_file(name: str) -> Path | Traversable:
    """Return the file of a recipe; see `recipe_path`."""
    return recipe_path(name, "train", Path())


def read_recipe(path: Path | Traversable) -> dict[str, object]:
    """Return the unchecked values of a recipe file; see also `study_config`.

    Raises
    ------
    RecipeError
        If it cannot be read, or is neither TOML nor a settings file of the facial parts study.
    """
    if isinstance(path, Path) and path.suffix in SUFFIXES:
        rows = read_study_config(path)
        own = read_recipe(recipe_file(recipe_name_of(rows, path)))
        return with_settings(own, rows, path)
    return read_toml(path, RecipeError)


def recipe_of(values: Mapping[str, object], where: str) -> TrainRecipe:
    """Return the recipe of parsed values.

    Raises
    ------
    RecipeError
        If a value is missing, unknown, of the wrong type or impossible; the message names
        `where`.
    """
    values = flat(values)
    has_metric = any(name in _METRIC for name in values)
    wanted = {**_PLAIN, **_METRIC} if has_metric else _PLAIN
    missing, unknown = wanted.keys() - values.keys(), values.keys() - wanted.keys()
    missing -= _LENGTHS
    if missing and missing <= _METRIC.keys():
        given = ", ".join(sorted(_METRIC.keys() & values.keys()))
        raise RecipeError(
            f"{where}: has no [metric], to which {given} belongs. Use the recipe {_PAIRED_NAMES}."
        )
    if missing:
        raise RecipeError(f"{where}: missing {', '.join(sorted(missing))}. Every key is required.")
    if unknown:
        raise RecipeError(
            f"{where}: unknown {', '.join(sorted(unknown))}. Known: {', '.join(wanted)}."
        )
    checked = {name: _checked(name, value, where) for name, value in values.items()}
    plain = {**dict.fromkeys(_LENGTHS), **{n: checked[n] for n in _PLAIN if n in checked}}
    inner = {name.removeprefix(_INNER): checked[name] for name in _METRIC if has_metric}
    with located(where, RecipeError):
        return TrainRecipe(**plain, metric=MetricSettings(**inner) if has_metric else None)


def overridden(values: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return a recipe's values with changes; a changed length replaces that of the other kind."""
    values, changes = flat(values), flat(changes)
    if _LENGTHS & changes.keys():
        values = {name: value for name, value in values.items() if name not in _LENGTHS}
    return values | changes


def flat(values: Mapping[str, object]) -> dict[str, object]:
    """Return values with dotted names in place of the table `metric`, such as metric.r_fake."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if name == "metric" and isinstance(value, Mapping):
            found |= {_INNER + key: inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def _checked(name: str, value: Any, where: str) -> Any:
    kind, is_number = KEYS[name], type(value) in (int, float)
    if name == "degrade":
        is_list = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        is_good, wanted = is_list, "a list of operations"
    elif name == _INNER + "threshold":
        is_good, wanted = is_number or value == "val", "a number or val"
    elif get_origin(kind) is Literal:
        is_good, wanted = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
    else:
        is_good, wanted = type(value) is kind or (kind is float and is_number), WORDS[kind]
    if not is_good:
        raise RecipeError(f"{where}: {name} must be {wanted}, got {shown(value)}.")
    if isinstance(value, list):
        return tuple(value)
    return value if kind is int or not is_number else float(value)


_PAIRED_NAMES = ", ".join(PAIRED)
_INNER = "metric."
_LENGTHS = {"max_iterations", "epochs"}


def _given(kind: Any) -> Any:
    """Return the type of a value that is given, for one that may be None."""
    return get_args(kind)[0] if isinstance(kind, types.UnionType) else kind


_PLAIN: Mapping[str, Any] = {
    name: _given(kind) for name, kind in TrainRecipe.__annotations__.items() if name != "metric"
}
_METRIC: Mapping[str, Any] = {_INNER + n: k for n, k in MetricSettings.__annotations__.items()}
KEYS: Mapping[str, Any] = {**_PLAIN, **_METRIC}

# Options of `hffkit train`, and arguments of its steps in recipes, that override one value.
SHORT_OVERRIDES: Mapping[str, str] = {
    "max_iterations": "max_iterations",
    "batch_size": "batch_size",
    "lr": "base_lr",
    "precision": "precision",
    "order": "order",
    "degrade": "degrade",
    "as_published": _INNER + "as_published",
}


def parse_override(text: str) -> tuple[str, Any]:
    """Return name and value of KEY=VALUE, parsed as TOML; bare words are strings.

    Raises
    ------
    ArgumentError
        If there is no equals sign or no such key.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        raise ArgumentError(f"{text!r} must be KEY=VALUE.")
    if name not in KEYS:
        raise ArgumentError(f"A recipe has no {name!r}. Known: {', '.join(KEYS)}.")
    if name == "degrade":
        from hffkit.degrade.chain import split_chain  # late: OpenCV takes time to load

        return name, [word.strip() for word in split_chain(value) if word.strip()]
    try:
        return name, toml_of(f"value = {value}", name, RecipeError)["value"]
    except RecipeError:
        return name, value.strip()
