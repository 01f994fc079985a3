"""Operations as they are asked for, one or several in a row, and put to an image."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np

from hffkit.degrade.operation import Operation
from hffkit.degrade.parameter import V, parse
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError, UnknownNameError
from hffkit.manifest.seeds import rng_for
from hffkit.media.image import Image

_MIX = "-mix"


@dataclass(frozen=True, slots=True)
class ChainStep(Generic[V]):
    """One operation with one value for all images, or with one drawn for each."""

    operation: Operation[V]
    value: V | None = None  # None: draw
    name: str = field(init=False)  # canonical: "jp:60", "sc:+50", "jp-mix"

    def __post_init__(self) -> None:
        name = self.operation.code + _MIX
        if self.value is not None:
            # Only scaling has values below zero: there the sign is part of the name.
            is_signed = min(self.operation.parameter.shown) < 0
            name = f"{self.operation.code}:{self.value:{'+' if is_signed else ''}}"
        object.__setattr__(self, "name", name)

    def choose(self, seed: int, position: int, key: str) -> V:
        """Return the value for the image called `key`, by a generator of its own."""
        if self.value is not None:
            return self.value
        rng = rng_for(seed, f"degrade {self.operation.code}", str(position), key)
        return self.operation.parameter.draw(rng)


@dataclass(frozen=True, slots=True)
class Degraded:
    """A post-processed image and what was done to it, one entry for each operation."""

    image: Image
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Operations in the order in which they are put to an image."""

    steps: tuple[ChainStep[Any], ...]

    @property
    def name(self) -> str:
        """The names of the steps with a plus between: "gb:3+jp-mix"."""
        return "+".join(step.name for step in self.steps)

    def __call__(self, image: Image, *, seed: int, key: str, position: int = 0) -> Degraded:
        """Return `image` after all steps.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB; it is not changed.
        seed : int
            Another seed, other drawn values.
        key : str
            The image's name. The same seed and key give the same values, in any order.
        position : int
            How many operations the image has behind it: a chain cut in two draws as one.

        Raises
        ------
        ImageError
            If an operation is impossible for an image of this size.
        ArgumentError
            If an operation returns no image.
        ValueError
            If `image` is no (H, W, 3) uint8 array with pixels in it.
        """
        if not _is_image(image):
            raise ValueError(f"an image must be (H, W, 3) uint8, got {_described(image)}")
        image = np.ascontiguousarray(image)
        done = []
        for place, step in enumerate(self.steps, position):
            value = step.choose(seed, place, key)
            applied = step.operation.apply(image, value)
            if not _is_image(applied.image):
                raise ArgumentError(
                    f"operation {step.name} must return (H, W, 3) uint8, got "
                    f"{_described(applied.image)}."
                )
            parameter = step.operation.parameter
            done.append(
                {
                    "op": step.name,
                    parameter.name: value,
                    **{f"achieved_{name}": fact for name, fact in applied.facts.items()},
                    "in_table_ix": step.operation.code in TABLE_IX and parameter.lists(value),
                }
            )
            image = applied.image
        return Degraded(image, tuple(done))


def _is_image(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 3
        and value.shape[2] == 3
        and value.size > 0
    )


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} of {value.dtype}"
    return type(value).__name__


def chain(*names: str, operations: Mapping[str, Operation[Any]] = OPERATIONS) -> Chain:
    """Return the operations called `names`, in this order.

    A name is `jp-mix` (a value drawn for each image), `jp:60` (one value), or the paper's short
    form `JP60` where that can mean one thing only.

    Raises
    ------
    ArgumentError
        If a value is impossible, missing or of the wrong kind.
    UnknownNameError
        If there is no such operation.
    """
    return Chain(tuple(_step(name.strip().lower(), operations) for name in names))


def _step(name: str, operations: Mapping[str, Operation[Any]]) -> ChainStep[Any]:
    code, colon, text = name.partition(":")
    if not colon and name.endswith(_MIX):
        return ChainStep(_named(name.removesuffix(_MIX), operations))
    if not colon:
        code, text = _short_form(name, operations)
    operation = _named(code, operations)
    try:
        return ChainStep(operation, parse(operation.parameter, text))
    except ArgumentError as error:
        raise ArgumentError(f"{name!r}: {error}") from None


def _named(code: str, operations: Mapping[str, Operation[Any]]) -> Operation[Any]:
    if code not in operations:
        raise UnknownNameError("operation", code, operations)
    return operations[code]


def _short_form(name: str, operations: Mapping[str, Operation[Any]]) -> tuple[str, str]:
    """Return code and value of a name such as me5; jp2 or jp24 could mean two things."""
    if name in operations:
        example = operations[name].parameter.shown[0]
        raise ArgumentError(f"{name!r} lacks a value: {name}:{example} or {name}{_MIX}.")
    codes = [code for code in operations if re.match(rf"{re.escape(code)}[-+]?\.?\d", name)]
    if not codes:
        known = [*operations, *(code + _MIX for code in operations)]
        raise UnknownNameError("operation", name, known)
    if len(codes) > 1:
        readings = " or ".join(f"{code}:{name.removeprefix(code)}" for code in codes)
        raise ArgumentError(f"{name!r} can be read in two ways: write {readings}.")
    return codes[0], name.removeprefix(codes[0])


def every_step(operation: Operation[V]) -> Sequence[ChainStep[V]]:
    """Return an operation at each of its listed values."""
    return [ChainStep(operation, value) for value in operation.parameter.shown]
