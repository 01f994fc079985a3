"""Chains of operations: parse their names, draw their values, apply them to an image."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hffkit.degrade.operation import ErrorsOfOwnCode, Operation, VideoSetting
from hffkit.degrade.parameter import Parameter, between, parse
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError, OwnCodeError, UnknownNameError, named
from hffkit.json_types import JsonObject
from hffkit.manifest.seeds import rng_for
from hffkit.media.image import Image

_MIX = "-mix"
_PLUS = re.compile(r"(?<!:)(?<!\de)\+")  # no sign of a value, as in sc:+50 and 1e+2


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One operation with a fixed value, or with a value drawn for each image."""

    operation: Operation[Any]
    value: float | None = None  # None: drawn for each image
    drawn: Parameter[Any] | None = None  # the values drawn from; None: those of the operation

    @property
    def name(self) -> str:
        """The canonical name: "jp:60", "sc:+50", "jp-mix", "jp:65..100"."""
        code, parameter = self.operation.code, self.operation.parameter
        if self.value is None and self.drawn is None:
            return code + _MIX
        # The sign is part of the name only where an operation lists values below zero.
        sign = "+" if min(parameter.shown) < 0 else ""
        if self.drawn is not None:
            return f"{code}:{self.drawn.shown[0]:{sign}}..{self.drawn.shown[-1]:{sign}}"
        return f"{code}:{self.value:{sign}}"

    def choose(self, seed: int, position: int, key: str) -> float:
        """Return the value for the image `key`, drawn by a generator of its own."""
        if self.value is not None:
            return self.value
        rng = rng_for(seed, f"degrade {self.operation.code}", str(position), key)
        return (self.drawn or self.operation.parameter).draw(rng)


@dataclass(frozen=True, slots=True)
class Degraded:
    """A post-processed image and the record of each operation applied to it."""

    image: Image
    operations: tuple[JsonObject, ...]
    encoded: bytes | None = None  # the file that was decoded to the image, if it is to be stored


@dataclass(frozen=True, slots=True)
class Chain:
    """Operations in the order of their application."""

    steps: tuple[ChainStep, ...]

    @property
    def name(self) -> str:
        """The names of the steps, joined by plus signs: "gb:3+jp-mix"."""
        return "+".join(step.name for step in self.steps)

    def __call__(self, image: Image, *, seed: int, key: str, position: int = 0) -> Degraded:
        """Apply all steps to an image.

        Parameters
        ----------
        image : (H, W, 3) uint8
            RGB; it is not changed.
        seed : int
            Seed of the drawn values.
        key : str
            Name of the image. The same seed and key give the same values in any order of images.
        position : int
            Number of operations applied to the image before, so that a chain cut in two draws
            the same values as the whole chain.

        Raises
        ------
        ImageError
            If an operation cannot be applied to an image of this size.
        ArgumentError
            If an operation returns anything but an image.
        ValueError
            If `image` is not an (H, W, 3) uint8 array, or is empty.
        """
        if not _is_image(image):
            raise ValueError(f"an image must be (H, W, 3) uint8, got {_described(image)}")
        image = np.ascontiguousarray(image)
        done = []
        for place, step in enumerate(self.steps, position):
            with ErrorsOfOwnCode():
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


@dataclass(frozen=True, slots=True)
class AnyChain:
    """Several chains, one of which is drawn for each image."""

    name: str
    chains: tuple[Chain, ...]

    def choose(self, seed: int, position: int, key: str) -> Chain:
        """Return the chain for the image `key`, drawn by a generator of its own."""
        rng = rng_for(seed, f"degrade {self.name}", str(position), key)
        return self.chains[int(rng.integers(len(self.chains)))]

    def __call__(self, image: Image, *, seed: int, key: str, position: int = 0) -> Degraded:
        """Apply one of the chains to an image; see `Chain`."""
        drawn = self.choose(seed, position, key)
        done = drawn(image, seed=seed, key=key, position=position)
        return Degraded(done.image, tuple({**row, "suite": self.name} for row in done.operations))


def check_for_images(chain: Chain | AnyChain) -> None:
    """Raise ArgumentError if a chain has operations that only whole videos can have."""
    chains = chain.chains if isinstance(chain, AnyChain) else (chain,)
    steps = [step for each in chains for step in each.steps]
    names = dict.fromkeys(s.name for s in steps if isinstance(s.operation, VideoSetting))
    if names:
        raise ArgumentError(
            f"{', '.join(names)}: for whole videos only, and these are images. Leave it out, or "
            "degrade a folder of videos."
        )


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
    """Parse the names of operations, to be applied in this order.

    A name is `jp-mix` (a value drawn for each image), `jp:65..100` (drawn between these), `jp:60`
    (one value), or the paper's short form `JP60` where it is unambiguous.

    Raises
    ------
    ArgumentError
        If a value is missing, malformed or out of range.
    UnknownNameError
        If there is no such operation.
    """
    return Chain(tuple(_step(name.strip().lower(), operations) for name in names))


def split_chain(text: str) -> tuple[str, ...]:
    """Return the names of the operations in the name of a chain, such as "sc:+50+jp:70"."""
    return tuple(_PLUS.split(text))


def _step(name: str, operations: Mapping[str, Operation[Any]]) -> ChainStep:
    parts = split_chain(name)
    if any(part[:1].isalpha() for part in parts[1:]):  # no sign, as in sc+50
        raise ArgumentError(
            f"{name!r} is a chain: name its operations one by one: {', '.join(parts)}."
        )
    code, colon, text = name.partition(":")
    if not colon and name.endswith(_MIX):
        return ChainStep(named(operations, name.removesuffix(_MIX), "operation"))
    if not colon:
        code, text = _short_form(name, operations)
    operation = named(operations, code, "operation")
    low, dots, high = text.partition("..")
    try:
        with ErrorsOfOwnCode():
            if dots:
                return ChainStep(operation, drawn=between(operation.parameter, low, high))
            return ChainStep(operation, parse(operation.parameter, text))
    except OwnCodeError:
        raise
    except ArgumentError as error:
        raise ArgumentError(f"{name!r}: {error}") from None


def _short_form(name: str, operations: Mapping[str, Operation[Any]]) -> tuple[str, str]:
    """Split a name such as me5 into code and value; jp2 and jp24 are ambiguous."""
    if name in operations:
        example = operations[name].parameter.shown[0]
        raise ArgumentError(f"{name!r} lacks a value: {name}:{example} or {name}{_MIX}.")
    codes = [code for code in operations if re.match(rf"{re.escape(code)}[-+]?\.?\d", name)]
    if not codes:
        known = [*operations, *(code + _MIX for code in operations)]
        raise UnknownNameError("operation", name, known)
    if len(codes) > 1:
        readings = " or ".join(f"{code}:{name.removeprefix(code)}" for code in codes)
        raise ArgumentError(f"{name!r} is ambiguous: write {readings}.")
    return codes[0], name.removeprefix(codes[0])


def every_value(operation: Operation[Any]) -> list[Chain]:
    """Return an operation at each of its listed values."""
    return [Chain((ChainStep(operation, value),)) for value in operation.parameter.shown]
