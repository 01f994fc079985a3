"""Convert values of a recipe file to the types of a command's request."""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from hffkit.errors import RecipeError
from hffkit.fields import WORDS, shown


def typed(value: Any, kind: Any, where: str) -> Any:
    """Convert a TOML value to `kind`: a number, text, path, literal, or a tuple of these.

    A table becomes a tuple of pairs.

    Raises
    ------
    RecipeError
        If the value is of another kind; the message names `where`.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of(value, [each for each in inner if each is not types.NoneType], where)
    if origin is Literal:
        if value not in inner:
            known = ", ".join(map(str, inner))
            raise RecipeError(f"{where} must be one of {known}, got {shown(value)}.")
        return value
    if origin is tuple and get_origin(inner[0]) is tuple:
        if not isinstance(value, dict):
            raise RecipeError(f"{where} must be a table of names and values, got {shown(value)}.")
        pair = get_args(inner[0])[1]
        return tuple(
            (name, each if pair is Any else typed(each, pair, f"{where}.{name}"))
            for name, each in value.items()
        )
    if origin is tuple:
        values = value if isinstance(value, list | tuple) else [value]  # one value without brackets
        return tuple(typed(each, inner[0], where) for each in values)
    return _plain(value, kind, where)


def _any_of(value: Any, kinds: list[Any], where: str) -> Any:
    errors = []
    for kind in kinds:
        try:
            return typed(value, kind, where)
        except RecipeError as error:
            errors.append(error)
    raise errors[0]


def _plain(value: Any, kind: Any, where: str) -> Any:
    if kind is Path and value == "":
        raise RecipeError(f"{where} must be a path, got an empty text.")
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        wanted = WORDS[str if kind is Path else kind]
        raise RecipeError(f"{where} must be {wanted}, got {shown(value)}.")
    return value
