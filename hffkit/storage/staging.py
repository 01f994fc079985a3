"""Work in progress: the folder NAME.partial, which only the command that began it can resume.

Nothing here follows a symbolic link, or touches a folder of that name that no command made.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from hffkit.errors import StorageError, cannot_write, writing_to
from hffkit.fields import shown
from hffkit.input_files import read_object

RESUME = " Free some space and run the same command again; finished work is kept."
JOURNAL_FILE = "journal.jsonl"  # of an unfinished product; removed when the product gets its name
_N_SHOWN = 300  # characters of a text in a message
_COMMAND_FILE = "command.json"  # marks a folder of unfinished work
LOCK_FILE = "lock"
_REPLACED = "replaced"  # the old product, while its successor gets its name
_COMPLETE_FILE = "whole"  # marker: only the final renames remain
_PARTS = "parts"
_EARLY = (f"{_COMMAND_FILE}.tmp", LOCK_FILE)  # what a folder holds before it has its mark
_WITHOUT_PRODUCT = {*_EARLY, _COMMAND_FILE, _COMPLETE_FILE, _PARTS, _REPLACED}
# Folders of hffkit, by files that lie there; files and folders of users do not belong into them.
_PRODUCTS = (
    ("a corpus", ("corpus.json", "manifest.jsonl")),
    ("a run", ("run.json", "weights.safetensors")),
    ("a run", ("run.json", "model.skops")),
    ("an output of degrade", ("degrade.json", "manifest.jsonl")),
    ("an output of explain", ("explain.json", "index.html")),
    ("an evaluation of a recipe", ("evaluation.json", "samples.csv")),
    ("an evaluation of a recipe", ("robustness.json", "conditions.csv")),
)


def partial_path(out: Path) -> Path:
    """Return the folder that holds the work for `out` until it is finished."""
    return out.parent / f"{out.name}.partial"


def restore(out: Path) -> None:
    """Undo an interrupted replacement of `out`: give the old product its name back."""
    folder = partial_path(out)
    _refuse_foreign_work(out)
    if not (folder / _COMMAND_FILE).exists():
        return
    replaced = folder / _REPLACED
    with writing_to(out), lock(folder) as held:
        if replaced.exists() and out.exists():
            shutil.rmtree(replaced)
        elif replaced.exists():
            replaced.rename(out)
        if not (folder / _COMMAND_FILE).exists():  # another process finished meanwhile
            _remove(folder, held)


def sync(file: IO[Any]) -> None:
    """Make the content of an open file durable."""
    file.flush()
    os.fsync(file.fileno())


def write_durably(path: Path, text: str) -> None:
    """Write text as `write_bytes_durably` does, with escapes for lone surrogates."""
    write_bytes_durably(path, text.encode("utf-8", "backslashreplace"))


def write_bytes_durably(path: Path, data: bytes) -> None:
    """Write a file of a folder of hffkit; it is complete or absent, even after a loss of power."""
    temporary: Path | None = None
    try:
        temporary = path.with_name(path.name + ".tmp")
        temporary.unlink(missing_ok=True)  # of a process that was killed
        write_aside(temporary, data).replace(path)
    except (OSError, ValueError) as error:  # ValueError: not a valid file name
        if temporary is not None:
            _discard(temporary)
        raise cannot_write(path, error) from None


def write_aside(temporary: Path, data: bytes) -> Path:
    """Write a new file durably and return its path; after an error nothing is left of it."""
    with ExitStack() as undo, temporary.open("xb") as file:  # which no link can redirect
        undo.callback(_discard, temporary)
        file.write(data)
        sync(file)
        undo.pop_all()
    return temporary


def _discard(temporary: Path) -> None:
    with suppress(OSError, ValueError):  # ValueError: not a valid file name
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def lock(folder: Path) -> IO[str]:
    """Create a folder and return its lock file, which is locked until it is closed."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with writing_to(folder / LOCK_FILE):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.fdopen(os.open(folder / LOCK_FILE, flags, 0o666), "r+")
        except FileNotFoundError:  # another process finished meanwhile
            raise _busy(folder) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise _busy(folder) from None
        raise StorageError(
            f"{folder}: this file system supports no locks ({error.strerror}). Choose an `out` on "
            "another one."
        ) from None
    if not _is_at(folder / LOCK_FILE, file):  # another process finished meanwhile
        file.close()
        raise _busy(folder)
    return file


def _busy(folder: Path) -> StorageError:
    return StorageError(
        f"{folder}: another hffkit is at work there. Wait, or choose another `out`."
    )


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except OSError:
        return False


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
        self.parts = self.path / _PARTS
        self._replaces = replaces
        self._beside_out = beside
        if replaces:
            _refuse_foreign_work(out)
        else:
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
            if not replaces:  # another process may have finished meanwhile
                refuse_existing(out)
            self._check_command(command)
            with writing_to(self.path):
                self._refuse_links()
                self.parts.mkdir(exist_ok=True)
            if not self.is_complete:  # a product that had its name was removed
                (self.path / _COMPLETE_FILE).unlink(missing_ok=True)
        except StorageError:
            with self._lock as held:
                if not (self.path / _COMMAND_FILE).exists():  # nothing was begun
                    _remove(self.path, held)
            raise

    def _check_command(self, command: Mapping[str, object]) -> None:
        path = self.path / _COMMAND_FILE
        text = json.dumps(command, indent=1, sort_keys=True)
        if not path.exists():
            write_durably(path, text)
            return
        try:
            known = read_object(path, StorageError)
        except StorageError as error:
            raise StorageError(
                f"{error} So it is not known which command began {self.path}. Delete that folder "
                "and run the command again."
            ) from None
        changes = differences(known, json.loads(text))
        if changes:
            raise StorageError(
                f"{self.path} was begun by another command: {'; '.join(changes)}. Run the "
                "command that began it, delete it, or choose another `out`."
            )

    def _refuse_links(self) -> None:
        """Refuse links, named pipes and devices among the work: writes would go elsewhere."""
        ours = {self.product.name, self.beside.name, self.parts.name}
        waiting = [entry for entry in os.scandir(self.path) if entry.name in ours]
        while waiting:
            entry = waiting.pop()
            if entry.is_dir(follow_symlinks=False):
                waiting += os.scandir(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                raise StorageError(
                    f"{entry.path} is no regular file, so hffkit did not make it. Put the file "
                    f"back, or delete {self.path}."
                )

    def __enter__(self) -> "Partial":
        return self

    def __exit__(self, *raised: object) -> None:
        self._lock.close()

    def make_product(self) -> None:
        """Create the folder of the product, unless it is there from an interrupted run."""
        with writing_to(self.product):
            self.product.mkdir(exist_ok=True)

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
                _sync_folders(self.beside)
                _rename(self.beside, self._beside_out)
            (self._beside_out / JOURNAL_FILE).unlink(missing_ok=True)
        _sync_folders(self.product)
        if self._replaces and self.out.exists():
            _rename(self.out, self.path / _REPLACED)
        _rename(self.product, self.out)
        # Not before: an unpublished corpus without its journal would be written from the start.
        (self.out / JOURNAL_FILE).unlink(missing_ok=True)
        _remove(self.path, self._lock)


def _remove(folder: Path, held: IO[str]) -> None:
    """Remove a folder of work with all that a command puts there; other files keep it.

    The lock file goes last, while `held` holds it: a command that waits for it finds it gone.
    """
    with held, suppress(OSError):
        for path in (folder / _PARTS, folder / _REPLACED):
            shutil.rmtree(path, ignore_errors=True)
        for name in (_COMPLETE_FILE, _COMMAND_FILE, *_EARLY):
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # not before: NFS cannot remove a folder with an open file
        folder.rmdir()


def _remove_leftover(out: Path) -> None:
    """Remove the folder of work whose product got its name: the process was killed just then.

    Work of which anything is left to do stays, and so do folders of others.
    """
    folder = partial_path(out)
    with suppress(StorageError, OSError):
        _refuse_foreign_work(out)
        names = {path.name for path in folder.iterdir()}
        if names <= _WITHOUT_PRODUCT and not any((folder / _PARTS).glob("*.part")):
            with lock(folder) as held:  # another process may be at work there
                if _COMMAND_FILE in names:  # without it, `publish` was past the journal
                    (out / JOURNAL_FILE).unlink(missing_ok=True)
                _remove(folder, held)


def _rename(path: Path, out: Path) -> None:
    with writing_to(out):
        if os.path.lexists(out):
            raise StorageError(f"{out} appeared meanwhile. Move it away and run the command again.")
        path.rename(out)
        sync_folder(out.parent)


def _sync_folders(top: Path) -> None:
    """Make all names in a folder durable; its files are."""
    for folder, _, _ in os.walk(top):
        sync_folder(Path(folder))


def refuse_existing(path: Path) -> None:
    """Raise StorageError if a folder cannot be made: the path is taken, or inside one of hffkit.

    A link to nothing takes a path, too, and so does what lies at the place of unfinished work.
    """
    if _exists(path):
        _remove_leftover(path)
        raise StorageError(f"{path} already exists. Delete it or choose another `out`.")
    refuse_inside(path)
    _refuse_foreign_work(path)


def refuse_inside(path: Path) -> None:
    """Raise StorageError if a path lies in a folder whose files are all hffkit's."""
    with writing_to(path):
        above = path.resolve().parents
    for folder in above:
        for product, files in _PRODUCTS:
            if all(os.path.isfile(folder / name) for name in files):  # noqa: PTH113  # may be denied
                raise StorageError(
                    f"{path} lies inside {folder}, {product}. Choose a path outside it."
                )


def _refuse_foreign_work(out: Path) -> None:
    partial = partial_path(out)
    with writing_to(partial):
        is_link = partial.is_symlink()
    if is_link:
        raise StorageError(
            f"{partial} is a symbolic link, and links are not followed. Move it away, or choose "
            "another `out`."
        )
    refuse_foreign(partial, "unfinished work", _COMMAND_FILE, _EARLY)


def refuse_foreign(folder: Path, purpose: str, mark: str, early: Iterable[str]) -> None:
    """Raise StorageError if a folder is there that hffkit did not make for a purpose.

    It is known by an entry called `mark`; until it has that, it holds no other than `early`.
    """
    names: set[str] = set()
    with writing_to(folder), suppress(FileNotFoundError):  # another process may remove it
        if folder.is_dir():
            names = {path.name for path in folder.iterdir()}
    if mark not in names and names.difference(early):
        raise StorageError(
            f"{folder} is the place for {purpose}, but hffkit did not make what is there. Move it "
            "away, or choose another `out`."
        )


def _exists(path: Path) -> bool:
    with writing_to(path):  # the name may be too long, or a folder above not accessible
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


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
    return [f"{name} was {shown(old, _N_SHOWN)}, is now {shown(new, _N_SHOWN)}"]
