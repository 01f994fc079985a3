"""Parameters of operations: possible values, values of Table IX, and how they are drawn."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from hffkit.errors import ArgumentError

V = TypeVar("V", int, float)


@dataclass(frozen=True, slots=True)
class Rule(Generic[V]):
    """The values that an operation accepts, inside Table IX or not."""

    text: str  # completes "kernel must be ..."
    read: Callable[[str], V]  # raises ValueError where the text is no such value
    allows: Callable[[V], bool]


@dataclass(frozen=True, slots=True)
class Choice(Generic[V]):
    """One of several listed values."""

    name: str
    rule: Rule[V]
    values: tuple[V, ...]

    @property
    def shown(self) -> tuple[V, ...]:
        """All listed values, in ascending order."""
        return self.values

    @property
    def domain(self) -> str:
        """The listed values in words: the first and last of consecutive numbers."""
        first, last = self.values[0], self.values[-1]
        if len(self.values) > 2 and self.values == tuple(range(int(first), int(last) + 1)):
            return f"{first} to {last}"
        return ", ".join(map(str, self.values))

    def lists(self, value: V) -> bool:
        """Tell whether `value` is listed."""
        return value in self.values

    def draw(self, rng: np.random.Generator) -> V:
        """Draw one of the listed values, all equally likely."""
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
        """Seven evenly spaced values from `low` to `high`."""
        return tuple(float(value) for value in np.linspace(self.low, self.high, 7))

    @property
    def domain(self) -> str:
        """The bounds in words."""
        return f"{self.low} to {self.high}"

    def lists(self, value: float) -> bool:
        """Tell whether `value` lies between the bounds."""
        return self.low <= value <= self.high

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a number between the bounds."""
        return float(rng.uniform(self.low, self.high))


Parameter = Choice[V] | Interval
"""A named value with a rule: checked, parsed from text, or drawn from the listed values."""


def whole(text: str) -> int:
    """Parse a whole number in plain digits; anything else is a ValueError."""
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def number(text: str) -> float:
    """Parse a number in plain digits; anything else is a ValueError."""
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """A test of numbers, which is equal to that of the same bounds in another process."""

    low: float
    high: float
    is_open: bool = False  # `low` itself is not possible
    is_odd: bool = False  # even numbers are not

    def __call__(self, value: float) -> bool:
        is_above = value > self.low if self.is_open else value >= self.low
        return is_above and value <= self.high and (not self.is_odd or value % 2 == 1)


def whole_from(low: int, high: int) -> Rule[int]:
    """Return the rule of whole numbers from `low` to `high`."""
    return Rule(f"a whole number from {low} to {high}", whole, _Bounds(low, high))


def odd_from(low: int, high: int) -> Rule[int]:
    """Return the rule of odd whole numbers from `low` to `high`."""
    return Rule(f"an odd whole number from {low} to {high}", whole, _Bounds(low, high, is_odd=True))


def number_from(low: float, high: float, text: str = "from {:g} to {:g}") -> Rule[float]:
    """Return the rule of numbers from `low` to `high`; `text` has a place for each."""
    return Rule(text.format(low, high), number, _Bounds(low, high))


def number_above(low: float, high: float, text: str = "above {:g}, at most {:g}") -> Rule[float]:
    """Return the rule of numbers above `low` up to `high`; `text` has a place for each."""
    return Rule(text.format(low, high), number, _Bounds(low, high, is_open=True))


def check(parameter: Parameter[V], value: V) -> V:
    """Return `value` if the operation accepts it; else raise ArgumentError."""
    if not parameter.rule.allows(value):
        raise ArgumentError(f"{parameter.name} must be {parameter.rule.text}, got {value}.")
    return value


def parse(parameter: Parameter[float], text: str) -> float:
    """Parse and check a value; anything impossible is an ArgumentError."""
    try:
        value = parameter.rule.read(text)
    except ValueError:
        raise ArgumentError(
            f"{parameter.name} must be {parameter.rule.text}, got {text!r}."
        ) from None
    return check(parameter, value)


def between(parameter: Parameter[Any], low: str, high: str) -> Parameter[Any]:
    """Return the parameter restricted to the values from `low` to `high`, both parsed from text.

    Whole numbers are drawn from those that the operation accepts, others evenly.

    Raises
    ------
    ArgumentError
        If a bound is impossible, or the first is not below the second.
    """
    least, most = parse(parameter, low), parse(parameter, high)
    if least >= most:
        raise ArgumentError(f"{parameter.name} must rise from A to B in A..B, got {low}..{high}.")
    if isinstance(least, int):
        values = (value for value in range(least, int(most) + 1) if parameter.rule.allows(value))
        return Choice(parameter.name, parameter.rule, tuple(values))
    return Interval(parameter.name, parameter.rule, least, most)
