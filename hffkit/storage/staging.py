"""Work in progress: NAME.partial, which the same command goes on with and no other may touch."""

import fcntl
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hffkit.errors import StorageError
from hffkit.storage.writer import JOURNAL_FILE

_COMMAND = "command.json"
_REPLACED = "replaced"
_WHOLE = "whole"  # the mark that only names are left to give


def partial_path(out: Path) -> Path:
    """Return where the work for `out` lies until it is whole."""
    return out.with_name(out.name + ".partial")


def restore(out: Path) -> None:
    """Undo a replacement that was interrupted: the old corpus has its name again."""
    replaced = partial_path(out) / _REPLACED
    if replaced.exists() and out.exists():
        shutil.rmtree(replaced)
    elif replaced.exists():
        replaced.rename(out)


def write_durably(path: Path, text: str) -> None:
    """Write a small file that is whole or not there, whatever happens."""
    write_bytes_durably(path, text.encode())


def write_bytes_durably(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there, whatever happens."""
    temporary: Path | None = None
    try:
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a name that is none
        if temporary is not None:
            with suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(f"{path}: cannot be written: {reason}.") from None


class Partial:
    """The folder NAME.partial beside an output that is not there yet.

    Parameters
    ----------
    out : Path
        The output's final name; it must not exist.
    command : dict
        What is run: JSON values. A partial folder begun by another command is refused.
    replaces : bool
        Whether `out` is there and is to be replaced once its successor is whole.
    product : str
        What the folder that becomes `out` is called in the meantime.
    beside : Path, optional
        A second output, the folder `beside` in the meantime; it has its name when `out` has.
    """

    def __init__(
        self,
        out: Path,
        command: dict[str, Any],
        *,
        replaces: bool = False,
        product: str = "corpus",
        beside: Path | None = None,
    ) -> None:
        """Create the folder or take it up again, and lock it."""
        if _exists(out) and not replaces:
            raise StorageError(f"{out} already exists. Delete it or choose another `out`.")
        self.out = out
        self.path = partial_path(out)
        self.product = self.path / product
        self.beside = self.path / "beside"
        self.is_whole = (
            (self.path / _WHOLE).exists()
            and self.product.exists()
            and (beside is None or self.beside.exists() or _exists(beside))
        )
        if beside is not None and _exists(beside) and not self.is_whole:
            raise StorageError(f"{beside} already exists. Delete it or choose another `out`.")
        self._replaces = replaces
        self.parts = self.path / "parts"
        self._beside_out = beside
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (self.path / "lock").open("w")
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check(json.loads(json.dumps(command)))
            if not self.is_whole:  # any more: somebody took away what had its name already
                (self.path / _WHOLE).unlink(missing_ok=True)
        except BlockingIOError:
            self._lock.close()
            raise StorageError(
                f"{self.path}: another hffkit is at work there. Wait, or choose another `out`."
            ) from None
        except OSError as error:
            self._lock.close()
            raise StorageError(
                f"{self.path}: this file system supports no locks ({error.strerror}). Choose an "
                "`out` on another one."
            ) from None
        except StorageError:
            self._lock.close()
            raise

    def _check(self, command: dict[str, Any]) -> None:
        path = self.path / _COMMAND
        if not path.exists():
            write_durably(path, json.dumps(command, indent=1, sort_keys=True))
            return
        begun = json.loads(path.read_text("utf-8"))
        wrong = differences(begun, command)
        if wrong:
            raise StorageError(
                f"{self.path} was begun by another command: {'; '.join(wrong)}. Run the "
                "command that began it, delete it, or choose another `out`."
            )

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, *raised: object) -> None:
        self._lock.close()

    def part(self, unit: str) -> Path:
        """Return the path of a unit's part; it exists when the unit is finished."""
        return self.parts / f"{unit}.part"

    def publish(self) -> None:
        """Give the finished product its final name and remove the rest.

        Of two the one beside has its name first; after a kill in between `is_whole` says that
        nothing but this is left to do.
        """
        if self._beside_out is not None:
            write_durably(self.path / _WHOLE, "")
            self._publish_beside(self._beside_out)
        try:
            if self.out.exists():
                if not self._replaces:
                    raise StorageError(
                        f"{self.out} appeared meanwhile. Move it away and run the command again."
                    )
                self.out.rename(self.path / _REPLACED)
            self.product.rename(self.out)
        except OSError as error:
            raise StorageError(f"{self.out}: cannot be written: {error.strerror}.") from None
        # Only now: without its journal an unpublished corpus would be begun anew.
        (self.out / JOURNAL_FILE).unlink(missing_ok=True)
        self._lock.close()  # on NFS an open file keeps its folder from going
        shutil.rmtree(self.path, ignore_errors=True)

    def _publish_beside(self, out: Path) -> None:
        if self.beside.exists():
            if out.exists():
                raise StorageError(
                    f"{out} appeared meanwhile. Move it away and run the command again."
                )
            try:
                self.beside.rename(out)
            except OSError as error:
                raise StorageError(f"{out}: cannot be written: {error.strerror}.") from None
        (out / JOURNAL_FILE).unlink(missing_ok=True)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise StorageError(f"{path}: cannot be written: {error.strerror}.") from None


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Return what differs between two JSON values, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key in sorted(old.keys() | new.keys())
            for text in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if old == new else [f"{name} was {old!r}, is now {new!r}"]
