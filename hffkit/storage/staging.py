"""Work in progress: the folder NAME.partial, which only the command that began it can resume."""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from hffkit.errors import ArgumentError, StorageError, cannot_write, writing_to

RESUME = " Free some space and run the same command again; finished work is kept."
JOURNAL_FILE = "journal.jsonl"  # of an unfinished product; removed when the product gets its name
_COMMAND_FILE = "command.json"
_REPLACED = "replaced"  # the old product, while its successor gets its name
_COMPLETE_FILE = "whole"  # marker: only the final renames remain


def partial_path(out: Path) -> Path:
    """Return the folder that holds the work for `out` until it is finished."""
    return out.with_name(out.name + ".partial")


def restore(out: Path) -> None:
    """Undo an interrupted replacement of `out`: give the old product its name back."""
    replaced = partial_path(out) / _REPLACED
    if replaced.exists() and out.exists():
        shutil.rmtree(replaced)
    elif replaced.exists():
        replaced.rename(out)


def sync(file: IO[Any]) -> None:
    """Make the content of an open file durable."""
    file.flush()
    os.fsync(file.fileno())


def write_durably(path: Path, text: str) -> None:
    """Write text as `write_bytes_durably` does, with escapes for lone surrogates."""
    write_bytes_durably(path, text.encode("utf-8", "backslashreplace"))


def write_bytes_durably(path: Path, data: bytes) -> None:
    """Write a file that is complete or absent, even after a loss of power."""
    temporary: Path | None = None
    try:
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            sync(file)
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: not a valid file name
        if temporary is not None:
            with suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from None


def lock(folder: Path) -> IO[str]:
    """Create a folder and return its lock file, which is locked until it is closed."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise StorageError(
                f"{folder}: another hffkit is at work there. Wait, or choose another `out`."
            ) from None
        raise StorageError(
            f"{folder}: this file system supports no locks ({error.strerror}). Choose an `out` on "
            "another one."
        ) from None
    return file


class Partial:
    """The folder NAME.partial beside an output that does not exist yet; a context manager.

    Parameters
    ----------
    out : Path
        Final path of the output, which must not exist.
    command : mapping
        The command as JSON values. A folder that another command began is refused.
    replaces : bool
        `out` exists and is replaced when its successor is finished.
    product : str
        Name in the folder of the product that becomes `out`.
    beside : Path, optional
        Final path of a second product, which is called `beside` in the folder. Both get their
        names together.
    """

    def __init__(
        self,
        out: Path,
        command: Mapping[str, object],
        *,
        replaces: bool = False,
        product: str = "corpus",
        beside: Path | None = None,
    ) -> None:
        """Create the folder, or resume it, and lock it."""
        self.out = out
        self.path = partial_path(out)
        self.product = self.path / product
        self.beside = self.path / "beside"
        self.parts = self.path / "parts"
        self._replaces = replaces
        self._beside_out = beside
        if not replaces:
            refuse_existing(out)
        self.is_complete = (  # only the final renames remain
            (self.path / _COMPLETE_FILE).exists()
            and self.product.exists()
            and (beside is None or self.beside.exists() or _exists(beside))
        )
        if beside is not None and not self.is_complete:
            refuse_existing(beside)
        self._lock = lock(self.path)
        try:
            self._check_command(command)
            with writing_to(self.path):
                self.parts.mkdir(exist_ok=True)
            if not self.is_complete:  # a product that had its name was removed
                (self.path / _COMPLETE_FILE).unlink(missing_ok=True)
        except StorageError:
            self._lock.close()
            raise

    def _check_command(self, command: Mapping[str, object]) -> None:
        path = self.path / _COMMAND_FILE
        text = json.dumps(command, indent=1, sort_keys=True)
        if not path.exists():
            write_durably(path, text)
            return
        changes = differences(json.loads(path.read_text("utf-8")), json.loads(text))
        if changes:
            raise StorageError(
                f"{self.path} was begun by another command: {'; '.join(changes)}. Run the "
                "command that began it, delete it, or choose another `out`."
            )

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, *raised: object) -> None:
        self._lock.close()

    def part(self, unit: str) -> Path:
        """Return the path of a unit's part, which exists when the unit is finished."""
        return self.parts / f"{unit}.part"

    def publish(self) -> None:
        """Give the finished product its final name and remove the folder.

        A second product gets its name first. If the process is killed between the two renames,
        `is_complete` is true in the next one.
        """
        if self._beside_out is not None:
            write_durably(self.path / _COMPLETE_FILE, "")
            if self.beside.exists():
                _rename(self.beside, self._beside_out)
            (self._beside_out / JOURNAL_FILE).unlink(missing_ok=True)
        if self._replaces and self.out.exists():
            _rename(self.out, self.path / _REPLACED)
        _rename(self.product, self.out)
        # Not before: an unpublished corpus without its journal would be written from the start.
        (self.out / JOURNAL_FILE).unlink(missing_ok=True)
        self._lock.close()  # NFS cannot remove a folder with an open file
        shutil.rmtree(self.path, ignore_errors=True)


def _rename(path: Path, out: Path) -> None:
    with writing_to(out):
        if out.exists():
            raise StorageError(f"{out} appeared meanwhile. Move it away and run the command again.")
        path.rename(out)


def check_writable(path: Path, parameter: str) -> None:
    """Refuse a file that cannot be written, before the work that it is to hold.

    Raises
    ------
    ArgumentError
        If it is a folder, or in none; the message names `parameter`.
    StorageError
        If the file, or its folder, cannot be written.
    """
    try:
        is_good = bool(path.name) and path.parent.is_dir() and not path.is_dir()
    except (OSError, ValueError):
        is_good = False
    if not is_good:
        raise ArgumentError(f"`{parameter}` must be a file in an existing folder, got {path}.")
    with writing_to(path):
        if path.exists():
            path.open("ab").close()
        else:
            NamedTemporaryFile(dir=path.parent, prefix=".").close()


def refuse_existing(path: Path) -> None:
    """Raise StorageError if there is something at a path already."""
    if _exists(path):
        raise StorageError(f"{path} already exists. Delete it or choose another `out`.")


def _exists(path: Path) -> bool:
    with writing_to(path):  # the name may be too long, or a folder above not accessible
        return path.exists()


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Describe the differences between two JSON values, one text for each."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key in sorted(old.keys() | new.keys())
            for text in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    if old == new:
        return []
    tables = [value for value in (old, new) if isinstance(value, list)]
    if any(isinstance(row, dict) for table in tables for row in table):
        return [f"{name} differ"]
    return [f"{name} was {old!r}, is now {new!r}"]
