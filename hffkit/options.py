"""Options of commands, declared as fields of the dataclass that a command's function takes.

The type and default of a field are those of the option: a `Literal` lists its choices, a tuple may
be repeated, `Annotated[int, Bounds(0, 3)]` is bounded. `check` enforces this on library calls. If
the annotation has an `Option` with the texts, as those of sources have, the options of the command
line and of recipes are generated from the field.
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hffkit.errors import ArgumentError
from hffkit.fields import shown

Names = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a number; None: no limit."""

    low: int
    high: int | None = None

    def __str__(self) -> str:
        return f"at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"

    def __contains__(self, value: int) -> bool:
        return self.low <= value and (self.high is None or value <= self.high)


Seed = Annotated[int, Bounds(0)]


@dataclass(frozen=True, slots=True)
class Option:
    """The texts of an option; `options_of` adds the facts of its field."""

    help: str
    name: str = ""  # in recipes, and with hyphens on the command line; by default the field's
    metavar: str | None = None  # placeholder of the value in `--help`
    none: str | None = None  # a word that stands for None on the command line and in recipes
    field: str = ""
    kind: Any = None  # the field's type without None
    default: Any = None  # MISSING where a value is required
    bounds: Bounds | None = None


def options_of(request: type[Any]) -> list[Option]:
    """Return the options that a dataclass declares, in the order of its fields."""
    return [
        replace(
            fact,
            name=fact.name or field.name,
            field=field.name,
            kind=kind,
            default=field.default,
            bounds=_bounds(facts),
        )
        for field, kind, facts in _annotated(request)
        for fact in facts
        if isinstance(fact, Option)
    ]


def choices(kind: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`; empty for other types."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def check(request: Any) -> None:
    """Raise ArgumentError if a field of a dataclass has a value that its annotation excludes."""
    for field, kind, facts in _annotated(type(request)):
        value, known, bounds = getattr(request, field.name), choices(kind), _bounds(facts)
        if value is not None and known and value not in known:
            text = ", ".join(map(str, known))
            raise ArgumentError(f"`{field.name}` must be one of {text}, got {shown(value)}.")
        if value is not None and bounds is not None and value not in bounds:
            raise ArgumentError(f"`{field.name}` must be {bounds}, got {value}.")


def _annotated(request: type[Any]) -> Iterator[tuple[Field[Any], Any, tuple[Any, ...]]]:
    """Yield each field with its type, without None, and the facts in its annotation."""
    hints = get_type_hints(request, include_extras=True)
    for field in fields(request):
        kind = hints[field.name]
        facts = getattr(kind, "__metadata__", ())
        kind = kind.__origin__ if facts else kind
        if get_origin(kind) in (Union, UnionType):
            kind = Union[tuple(each for each in get_args(kind) if each is not NoneType)]  # noqa: UP007
        yield field, kind, facts


def _bounds(facts: tuple[Any, ...]) -> Bounds | None:
    return next((fact for fact in facts if isinstance(fact, Bounds)), None)
