"""Search for image and video files by their suffixes."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hffkit.errors import CorpusError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})


def check_regular(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises
    ------
    OSError
        If there is none, or something that can be read without end or waits for a writer: a
        named pipe, a device, a socket.
    """
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(number, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}", str(path))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file in hexadecimal; see `check_regular`."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_video(path: str) -> bool:
    """Test for the suffix of a video."""
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def walk(root: Path, folder: str = "") -> Iterator[str]:
    """Return the images and videos below root/folder, sorted, as paths relative to `root`.

    Links are followed; a folder that two paths lead to is read once.

    Raises
    ------
    CorpusError
        If a folder cannot be read.
    """
    found = []
    seen = set()
    for here, folders, names in os.walk(root / folder, onerror=_refuse, followlinks=True):
        folders.sort()  # otherwise the file system decides which of two links is followed
        known = Path(here).stat()
        if (known.st_dev, known.st_ino) in seen:  # a link back up the tree
            folders.clear()
            continue
        seen.add((known.st_dev, known.st_ino))
        for name in names:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                found.append(Path(here, name).relative_to(root).as_posix())
    return iter(sorted(found))


def _refuse(error: OSError) -> None:
    raise CorpusError(f"{error.filename}: cannot be read: {error.strerror}.")
