"""How a network is trained: one flat TOML file, every value in it."""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from hffkit.errors import ArgumentError, RecipeError

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
class TrainRecipe:
    """One training: network, solver, schedule and what is looked at meanwhile."""

    network: str
    size: int  # px
    loss: Literal["cross-entropy", "squared-error"]
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
    degrade: tuple[str, ...]  # operations put to training pictures, drawn anew each epoch

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

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON; `recipe_of` reads them back."""
        return {**dataclasses.asdict(self), "degrade": list(self.degrade)}

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
    fields = {field.name: field for field in dataclasses.fields(TrainRecipe)}
    missing, unknown = fields.keys() - values.keys(), values.keys() - fields.keys()
    if missing:
        raise RecipeError(f"{where}: missing {', '.join(sorted(missing))}. Every key is required.")
    if unknown:
        raise RecipeError(
            f"{where}: unknown {', '.join(sorted(unknown))}. Known: {', '.join(fields)}."
        )
    checked = {name: _checked(name, value, where) for name, value in values.items()}
    try:
        return TrainRecipe(**checked)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _checked(name: str, value: Any, where: str) -> Any:
    kind = _KINDS[name]
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


_KINDS: Mapping[str, Any] = TrainRecipe.__annotations__


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
    if name not in _KINDS:
        raise ArgumentError(f"A recipe has no {name!r}. Known: {', '.join(_KINDS)}.")
    if name == "degrade":
        return name, [word.strip() for word in value.split("+") if word.strip()]
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value.strip()
