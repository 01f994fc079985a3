"""How a network is trained: one TOML file, every value in it."""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hffkit.errors import ArgumentError, RecipeError
from hffkit.networks.table import NETWORKS

_MOST = 1e30  # float32 holds it
_BOUNDS: Sequence[tuple[Sequence[str], Callable[[float], bool], str]] = (
    (
        ("size", "batch_size", "replicas", "step_size", "val_interval", "log_interval"),
        lambda value: value >= 1,
        "at least 1",
    ),
    (("base_lr", "epsilon"), lambda value: 0 < value <= _MOST, f"above 0, at most {_MOST:g}"),
    (("gamma",), lambda value: 0 <= value <= 1, "from 0 to 1"),
    (
        ("weight_decay", "max_iterations", "patience"),
        lambda value: 0 <= value <= _MOST,
        f"from 0 to {_MOST:g}",
    ),
    (
        ("momentum", "beta2", "statistics_fraction"),
        lambda value: 0 <= value < 1,
        "from 0 to below 1",
    ),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """What metric learning on pairs has besides: see `training.metric.pair_loss`."""

    high: str  # qualities of a pair's members, as keys of samples name them
    low: str
    r_real: float  # how far from the origin an embedding of a real face may lie
    r_fake: float  # how far one of a fake face must
    pair_weight: float
    map_weight: float
    mask_weight: float  # 0: no masks are wanted
    threshold: float | Literal["val"]  # the distance from which on a face is fake
    as_published: bool  # with the published code's divisions and grey cells

    def __post_init__(self) -> None:
        for name in ("r_real", "r_fake", "pair_weight", "map_weight", "mask_weight", "threshold"):
            value = getattr(self, name)
            if value != "val" and not 0 <= value <= _MOST:
                raise RecipeError(f"metric.{name} must be from 0 to {_MOST:g}, got {value}.")
        if self.high == self.low:
            raise RecipeError(f"metric.high and metric.low must differ, got {self.high!r} twice.")


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """One training: network, solver, schedule and what is looked at meanwhile."""

    network: str
    size: int  # px
    loss: Literal["cross-entropy", "squared-error", "metric"]
    solver: Literal["caffe-sgd", "adam", "adamw"]
    base_lr: float
    policy: Literal["step", "cosine", "constant"]
    gamma: float  # of the step policy: what the rate is multiplied by every step_size iterations
    step_size: int
    momentum: float  # Adam's beta 1
    beta2: float
    epsilon: float
    weight_decay: float
    batch_size: int
    replicas: int  # that share a batch, each with batch statistics of its own, as Caffe's GPUs
    statistics_fraction: float  # Caffe's moving_average_fraction of its batch statistics
    order: Literal["shuffled", "caffe"]  # anew each epoch; as in the corpus, wrapping at its end
    precision: Literal["fp32", "bf16"]
    max_iterations: int
    val_interval: int  # iterations between looks at the validation split
    log_interval: int  # iterations that a line of metrics is the mean of
    select: Literal["accuracy", "loss", "last"]  # the weights that are kept, by validation
    patience: int  # looks at validation in a row without better weights that end it; 0: none do
    degrade: tuple[str, ...]  # operations put to training images, drawn anew each epoch
    metric: Metric | None = None  # where the loss is "metric", and only there

    def __post_init__(self) -> None:
        for names, holds, wanted in _BOUNDS:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    raise RecipeError(f"{name} must be {wanted}, got {value}.")
        if self.batch_size % self.replicas:
            raise RecipeError(
                f"replicas must divide batch_size, got {self.replicas} and {self.batch_size}."
            )
        if self.patience and self.select == "last":
            raise RecipeError(
                f"patience must be 0 where select is last, got {self.patience}: without a look at "
                "validation nothing gets better or worse."
            )
        self._check_metric()

    def _check_metric(self) -> None:
        if (self.network in _PAIRED) != (self.loss == "metric"):
            raise RecipeError(
                f"{_PAIRED_NAMES} and loss = 'metric' go together, got {self.network} and "
                f"{self.loss!r}. Take the recipe {_PAIRED_NAMES}."
            )
        if (self.loss == "metric") != (self.metric is not None):
            raise RecipeError("loss = 'metric' and the table [metric] go together.")
        if self.metric is None:
            return
        if self.degrade:
            raise RecipeError(
                "degrade must be empty where pairs are learned from: an operation put to one of "
                "a pair would part it from the other. Degrade the corpus instead."
            )
        if self.metric.threshold == "val" and self.select == "last":
            raise RecipeError(
                "metric.threshold must be a number where select is 'last', for val is not "
                "looked at; 9 and 5 are published."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON; `recipe_of` reads them back."""
        values = {**dataclasses.asdict(self), "degrade": list(self.degrade)}
        return {name: value for name, value in values.items() if value is not None}

    def rate(self, iteration: int) -> float:
        """Return the learning rate of the update number `iteration`, counted from 0."""
        if self.policy == "step":
            return float(self.base_lr * self.gamma ** (iteration // self.step_size))
        if self.policy == "cosine":
            done = min(iteration / max(self.max_iterations, 1), 1.0)
            return self.base_lr * (1 + math.cos(math.pi * done)) / 2
        return self.base_lr


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the values of a recipe file, not yet checked.

    Raises
    ------
    RecipeError
        If it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None


def recipe_of(values: Mapping[str, Any], where: str) -> TrainRecipe:
    """Return the recipe of parsed values.

    Raises
    ------
    RecipeError
        If a value is missing, unknown, of the wrong kind or impossible; `where` is named.
    """
    values = flat(values)
    has_metric = any(name in _METRIC for name in values)
    wanted = {**_PLAIN, **_METRIC} if has_metric else _PLAIN
    missing, unknown = wanted.keys() - values.keys(), values.keys() - wanted.keys()
    if missing and missing <= _METRIC.keys():
        given = ", ".join(sorted(_METRIC.keys() & values.keys()))
        raise RecipeError(
            f"{where}: has no [metric], to which {given} belongs. Take {_PAIRED_NAMES}."
        )
    if missing:
        raise RecipeError(f"{where}: missing {', '.join(sorted(missing))}. Every key is required.")
    if unknown:
        raise RecipeError(
            f"{where}: unknown {', '.join(sorted(unknown))}. Known: {', '.join(wanted)}."
        )
    checked = {name: _checked(name, value, where) for name, value in values.items()}
    plain = {name: checked[name] for name in _PLAIN}
    inner = {name.removeprefix(_INNER): checked[name] for name in _METRIC if has_metric}
    try:
        return TrainRecipe(**plain, metric=Metric(**inner) if has_metric else None)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those of the table `metric` beside the others: `metric.r_fake`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = value.items() if name == "metric" and isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {_INNER + key: each for key, each in inner}
    return found


def _checked(name: str, value: Any, where: str) -> Any:
    kind = KEYS[name]
    if get_origin(kind) in (Union, UnionType):  # a number, or a word that stands for one
        return _number_or_word(name, value, kind, where)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            known = ", ".join(get_args(kind))
            raise RecipeError(f"{where}: {name} must be one of {known}, got {value!r}.")
        return value
    if name == "degrade":
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise RecipeError(f"{where}: degrade must be a list of operations, got {value!r}.")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{where}: {name} must be {kind.__name__}, got {value!r}.")
    return value


def _number_or_word(name: str, value: Any, kind: Any, where: str) -> Any:
    words = get_args(get_args(kind)[1])
    if value in words:
        return value
    if type(value) not in (int, float):
        raise RecipeError(f"{where}: {name} must be a number or {words[0]}, got {value!r}.")
    return float(value)


_PAIRED = [name for name, spec in NETWORKS.items() if spec.high_quality is not None]
_PAIRED_NAMES = ", ".join(_PAIRED)
_INNER = "metric."
_PLAIN: Mapping[str, Any] = {n: k for n, k in TrainRecipe.__annotations__.items() if n != "metric"}
_METRIC: Mapping[str, Any] = {_INNER + n: k for n, k in Metric.__annotations__.items()}
KEYS: Mapping[str, Any] = {**_PLAIN, **_METRIC}


def parse_override(text: str) -> tuple[str, Any]:
    """Return name and value of KEY=VALUE, as TOML would read it; bare words are text.

    Raises
    ------
    ArgumentError
        If there is no equals sign, or no such key.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        raise ArgumentError(f"{text!r} must be KEY=VALUE.")
    if name not in KEYS:
        raise ArgumentError(f"A recipe has no {name!r}. Known: {', '.join(KEYS)}.")
    if name == "degrade":
        return name, [word.strip() for word in value.split("+") if word.strip()]
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value.strip()
