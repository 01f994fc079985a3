"""Recipe files: those that come with hffkit, by name, and others by path."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from hffkit.errors import UnknownNameError

_SUFFIXES = (".toml", ".yaml", ".yml")
RecipeKind = Literal["suites", "tables", "train"]
"""Suites of operations, recipes of steps for `hffkit run`, or settings of a training: the folders
of recipes/."""


def shipped_names(kind: RecipeKind) -> list[str]:
    """Return the names of the recipes of a kind that come with hffkit."""
    names = (entry.name for entry in _folder(kind).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe_path(name: str, kind: RecipeKind, folder: Path) -> Path | Traversable:
    """Return the file of a recipe: in `folder` if the name has a suffix, else a shipped one.

    The suffixes are .toml, and for the settings of other programs .yaml and .yml.

    Raises
    ------
    UnknownNameError
        If there is no such shipped recipe.
    """
    if Path(name).suffix in _SUFFIXES:
        return folder / name
    known = shipped_names(kind)
    if name not in known:
        raise UnknownNameError("suite" if kind == "suites" else "recipe", name, known)
    return _folder(kind) / f"{name}.toml"


def _folder(kind: RecipeKind) -> Traversable:
    return resources.files("hffkit.recipes") / kind
