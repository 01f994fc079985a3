"""Recipe files and paths of data, which are checked before the imports that take seconds."""

import glob
from collections.abc import Iterable
from importlib.resources.abc import Traversable
from pathlib import Path

from hffkit.errors import CorpusError
from hffkit.recipe_files import recipe_path, shipped_names


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with hffkit."""
    return shipped_names("tables")


def recipe_file(name: str, folder: Path) -> Path | Traversable:
    """Return the file of a recipe; see `recipe_path`."""
    return recipe_path(name, "tables", folder)


def check_data(paths: Iterable[Path]) -> None:
    """Raise CorpusError if data do not exist."""
    for path in paths:
        if not path.exists() and not glob.has_magic(str(path)):
            raise CorpusError(f"{path} does not exist.")
