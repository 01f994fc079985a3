"""Recipe files and paths of data, which are checked before the imports that take seconds."""

import glob
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from hffkit.errors import CorpusError, UnknownNameError


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with hffkit."""
    names = (file.name for file in _shipped().iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe_file(name: str, folder: Path) -> Traversable:
    """Return the file of a recipe: in `folder` if the name ends in .toml, else a packaged one."""
    if Path(name).suffix == ".toml":
        return folder / name
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    return _shipped() / f"{name}.toml"


def check_data(paths: Iterable[Path]) -> None:
    """Raise CorpusError if data do not exist."""
    for path in paths:
        if not path.exists() and not glob.has_magic(str(path)):
            raise CorpusError(f"{path} does not exist.")


def _shipped() -> Traversable:
    return resources.files("hffkit.recipes") / "tables"
