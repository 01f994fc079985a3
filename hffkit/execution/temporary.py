"""Temporary folders, which do not outlive a killed process for long."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "hffkit-temporary-"  # which nobody gives a folder
_LOCKED_WITHIN_S = 60.0  # after a folder is made


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for the block, and remove those of processes that were killed."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, _locked(Path(name)):
        yield Path(name)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            made = folder.lstat()
            is_old = time.time() - made.st_mtime > _LOCKED_WITHIN_S
            if made.st_uid == os.getuid() and is_old:
                with _locked(folder):
                    shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder; OSError if another process has locked it, or it is no folder."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)
