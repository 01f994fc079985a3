"""Recipe files and paths of data, which are checked before the imports that take seconds."""

import glob
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hffkit.errors import ArgumentError, CorpusError, RecipeError, UnknownNameError
from hffkit.fields import shown
from hffkit.input_files import read_toml
from hffkit.json_types import JsonObject
from hffkit.recipe_files import recipe_path, shipped_names

_DEEPEST = 20  # recipes that extend each other


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with hffkit."""
    return shipped_names("tables")


def name_of(recipe: str) -> str:
    """Return the name of a recipe that may be a file."""
    return Path(recipe).name.removesuffix(".toml")


def recipe_rows(name: str) -> JsonObject:
    """Return the unchecked values of a recipe file, or of one of hffkit by its name.

    A recipe that extends another one is merged with it.

    Raises
    ------
    RecipeError
        If a file cannot be read or is not TOML, or if recipes extend each other in a circle.
    """
    return _merged(recipe_path(name, "tables", Path()), ())


def _merged(path: Traversable, above: tuple[str, ...]) -> JsonObject:
    rows = read_toml(path, RecipeError)
    base = rows.pop("extends", None)
    if base is None:
        return rows
    if not isinstance(base, str):
        raise RecipeError(f"{path}: extends must name a recipe, got {shown(base)}.")
    if str(path) in above or len(above) > _DEEPEST:
        raise RecipeError(f"{path}: extends itself.")
    other = recipe_path(base, "tables", Path(str(path)).parent)
    return _over(_merged(other, (*above, str(path))), rows)


def _over(base: JsonObject, rows: JsonObject) -> JsonObject:
    """Return `base` updated with `rows`, table by table; lists and values are replaced."""
    merged = dict(base)
    for key, value in rows.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def check_data(paths: Iterable[Path]) -> None:
    """Raise CorpusError if data do not exist."""
    for path in paths:
        if not path.exists() and not glob.has_magic(str(path)):
            raise CorpusError(f"{path} does not exist.")


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UnknownNameError if the name of given data is not one that recipes have."""
    names = list(known)
    for name in given:
        if name not in names:
            raise UnknownNameError("data", name, names)


def check_complete(recipe: str, wanted: Mapping[str, str], given: Collection[str]) -> None:
    """Raise ArgumentError with the description of the data that are not given."""
    for name, about in wanted.items():
        if name not in given:
            raise ArgumentError(f"{recipe} needs `data` {name}=PATH: {about}")


def check_given(recipes: Sequence[str], given: Collection[str]) -> None:
    """Check the names of given data before recipes are parsed, as far as that is possible.

    Data count as wanted if a step names them literally, not through a value.
    """
    rows_of = {name_of(recipe): recipe_rows(recipe) for recipe in recipes}
    tables = [rows.get("data") for rows in rows_of.values()]
    data = [table if isinstance(table, dict) else {} for table in tables]
    check_names(given, (name for table in data for name in table))
    for (recipe, rows), table in zip(rows_of.items(), data, strict=True):
        read = set(_texts(rows.get("steps")))
        wanted = {name: _about(row) for name, row in table.items() if name in read}
        check_complete(recipe, wanted, given)


def check_code(recipes: Sequence[str], allowed: Collection[Path]) -> None:
    """Raise ArgumentError if recipes name files of Python that are not among those allowed.

    A recipe may come from anybody, and nothing that it names alone is executed.
    """
    known = {path.resolve() for path in allowed}
    for recipe in recipes:
        for name in _code(recipe_rows(recipe)):
            if Path(name).resolve() not in known:
                raise ArgumentError(
                    f"{recipe}: a step executes the Python file {name}. Read it, and name it by "
                    "`operations` as well if you trust it."
                )


def _code(value: Any) -> Iterator[str]:
    """Yield the files of operations that the steps in a value of a TOML file name."""
    if isinstance(value, dict):
        if isinstance(value.get("operations"), str):
            yield value["operations"]
        for each in value.values():
            yield from _code(each)
    elif isinstance(value, list):
        for each in value:
            yield from _code(each)


def _about(row: Any) -> str:
    """Return the description in a row of the table of data."""
    return str(row.get("about", "")) if isinstance(row, dict) else str(row)


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in a value of a TOML file."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
