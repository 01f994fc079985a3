"""The one parameter of an operation: what it may be, what Table IX lists, how it is drawn."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from hffkit.errors import ArgumentError

V = TypeVar("V", int, float)


@dataclass(frozen=True, slots=True)
class Rule(Generic[V]):
    """What values an operation can work with at all, inside Table IX or not."""

    text: str  # completes "kernel must be ..."
    read: Callable[[str], V]  # raises ValueError where the text is no such value
    allows: Callable[[V], bool]


class Parameter(Protocol[V]):
    """A named value: checked, read from text, or drawn as Table IX draws it."""

    @property
    def name(self) -> str:
        """What the value is: "kernel", "quality", ..."""

    @property
    def rule(self) -> Rule[V]:
        """What is possible."""

    @property
    def shown(self) -> tuple[V, ...]:
        """The listed values, or some of an interval, in order."""

    @property
    def domain(self) -> str:
        """The listed values in words."""

    def lists(self, value: V) -> bool:
        """Tell whether the table lists `value`."""

    def draw(self, rng: np.random.Generator) -> V:
        """Return one of the listed values, all equally likely."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[V]):
    """One of some listed values."""

    name: str
    rule: Rule[V]
    values: tuple[V, ...]

    @property
    def shown(self) -> tuple[V, ...]:
        """All of them."""
        return self.values

    @property
    def domain(self) -> str:
        """The values, or the first and last of consecutive numbers."""
        first, last = self.values[0], self.values[-1]
        if len(self.values) > 2 and self.values == tuple(range(int(first), int(last) + 1)):
            return f"{first} to {last}"
        return ", ".join(map(str, self.values))

    def lists(self, value: V) -> bool:
        """Tell whether `value` is one of them."""
        return value in self.values

    def draw(self, rng: np.random.Generator) -> V:
        """Return one of them."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True, slots=True)
class Interval:
    """Any real number from `low` to `high`."""

    name: str
    rule: Rule[float]
    low: float
    high: float

    @property
    def shown(self) -> tuple[float, ...]:
        """Seven values from one end to the other."""
        return tuple(float(value) for value in np.linspace(self.low, self.high, 7))

    @property
    def domain(self) -> str:
        """Both ends."""
        return f"{self.low} to {self.high}"

    def lists(self, value: float) -> bool:
        """Tell whether `value` lies inside."""
        return self.low <= value <= self.high

    def draw(self, rng: np.random.Generator) -> float:
        """Return a number from inside."""
        return float(rng.uniform(self.low, self.high))


def whole(text: str) -> int:
    """Return the whole number that `text` is in plain digits; else ValueError."""
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def number(text: str) -> float:
    """Return the number that `text` is in plain digits; else ValueError."""
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


def check(parameter: Parameter[V], value: V) -> V:
    """Return `value`; one that the operation cannot work with is an ArgumentError."""
    if not parameter.rule.allows(value):
        raise ArgumentError(f"{parameter.name} must be {parameter.rule.text}, got {value}.")
    return value


def parse(parameter: Parameter[V], text: str) -> V:
    """Return the value that `text` says; anything else is an ArgumentError."""
    try:
        value = parameter.rule.read(text)
    except ValueError:
        raise ArgumentError(
            f"{parameter.name} must be {parameter.rule.text}, got {text!r}."
        ) from None
    return check(parameter, value)
