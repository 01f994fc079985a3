"""Typed fields of an object that was read from JSON or TOML, with messages that say where."""

import json
import math
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hffkit.errors import HffkitError

T = TypeVar("T")
WORDS: Mapping[type, str] = {  # of the types of JSON and TOML, for messages
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class _Brief(reprlib.Repr):
    """Short forms of values as JSON and TOML write them, with texts in single quotes."""

    def repr1(self, x: object, level: int) -> str:
        if x is None or isinstance(x, bool):
            return json.dumps(x)
        if isinstance(x, str) and len(x) <= self.maxstring and x.isprintable():
            return f"'{x}'"
        return super().repr1(x, level)

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1024 else "a number of many digits"


def shown(value: object, most: int = 60) -> str:
    """Return a value for a message, with at most about `most` characters of each text in it."""
    brief = _Brief()
    brief.maxstring = brief.maxother = brief.maxlong = most
    return brief.repr(value)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object from a file, whose fields are taken with the type that they must have.

    A field that is missing or of another type is an error of `kind` that names `where`, the field,
    what it must be and what was found.
    """

    row: Mapping[str, Any]
    where: str  # a file, with the line or the names of the objects around this one
    kind: type[HffkitError]

    @classmethod
    def of(cls, value: object, where: str, kind: type[HffkitError]) -> "Fields":
        """Return the fields of a value that must be an object."""
        if not isinstance(value, dict):
            raise kind(f"{where}: must be an object, got {shown(value)}.")
        return cls(value, where, kind)

    def take(self, name: str, kind: type[T]) -> T:
        """Return a field of one of the types of JSON; a whole number is a float as well."""
        if name not in self.row:
            raise self.kind(f"{self.where}: {name} is missing; it must be {WORDS[kind]}.")
        value = self.row[name]
        if kind is float and type(value) is int:
            value = self._as_float(name, value)
        if type(value) is not kind:
            raise self.wrong(name, WORDS[kind])
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """Return a field like `take`, or None where it is missing or null."""
        return None if self.row.get(name) is None else self.take(name, kind)

    def whole(self, name: str, low: int = 0, high: int = 2**63 - 1) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.take(name, int)
        if not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite number from `low` to `high`."""
        value = self.take(name, float)
        if not (math.isfinite(value) and low <= value <= high):
            raise self.wrong(name, f"a finite number from {low} to {high}")
        return value

    def one_of(self, name: str, known: Collection[str]) -> str:
        """Return a text that is one of those `known`."""
        value = self.take(name, str)
        if value not in known:
            raise self.wrong(name, f"one of {', '.join(known)}")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        values: list[Any] = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "a list of texts")
        return values

    def inner(self, name: str) -> "Fields":
        """Return the fields of an object in this one."""
        return Fields(self.take(name, dict), f"{self.where}: {name}", self.kind)

    def rows(self, name: str) -> list["Fields"]:
        """Return the fields of each object in a list."""
        values: list[Any] = self.take(name, list)
        return [
            Fields.of(value, f"{self.where}: {name}[{i}]", self.kind)
            for i, value in enumerate(values)
        ]

    def check_known(self, known: Collection[str]) -> None:
        """Raise the error if a field is none of those `known`."""
        if unknown := sorted(self.row.keys() - set(known)):
            raise self.kind(f"{self.where}: unknown {', '.join(unknown)}.")

    def wrong(self, name: str, wanted: str) -> HffkitError:
        """Return the error of a field that is not what it must be."""
        return self.kind(f"{self.where}: {name} must be {wanted}, got {shown(self.row[name])}.")

    def _as_float(self, name: str, value: int) -> Any:
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(name, "a number") from None
