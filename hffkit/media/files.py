"""Suffixes and numbers in the names of files, digests, and files with several names."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from hffkit.input_files import check_regular

# The kinds that suffixes stand for; see `hffkit.media.kinds`.
IMAGE_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"), "jpeg"),
    **dict.fromkeys((".png", ".apng"), "png"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "pnm"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpc"), "jpeg2000"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "heic"),
    ".webp": "webp",
    ".gif": "gif",
    ".avif": "avif",
}
VIDEO_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v"), "mp4"),
    **dict.fromkeys((".mkv", ".webm"), "matroska"),
    **dict.fromkeys((".mpg", ".mpeg", ".mpe", ".m2v", ".vob"), "mpeg"),
    **dict.fromkeys((".mts", ".m2ts"), "mpegts"),
    **dict.fromkeys((".wmv", ".asf"), "asf"),
    ".avi": "avi",
    ".flv": "flv",
    ".ogv": "ogg",
    ".mxf": "mxf",
}
# Names in lower case of what macOS, Windows and network disks put into folders.
_DEBRIS = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle", "@recycle",
        "__macosx", "$recycle.bin", "system volume information", "lost+found",
    }
)  # fmt: skip


def is_hidden(name: str) -> bool:
    """Test for the name of a hidden file or folder, or of one that an operating system made."""
    return name.startswith(".") or name.lower() in _DEBRIS


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, with its dot; empty without one."""
    return PurePosixPath(name).suffix.lower()


def frame_number(name: str) -> int | None:
    """Return the number at the end of the name of a frame image; None of any other file."""
    if is_hidden(name) or suffix_of(name) not in IMAGE_SUFFIXES:
        return None
    match = re.search(r"(\d+)\.\w+$", name)
    return None if match is None else int(match[1])


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file in hexadecimal; see `check_regular`."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def twins(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the paths that are further names of a file, with its first name.

    A name that is no symbolic link comes before one that is. Paths are relative to `root`.
    """
    ordinary: list[tuple[str, os.stat_result]] = []
    links: list[tuple[str, os.stat_result]] = []
    for path in paths:
        try:
            about = os.lstat(f"{root}/{path}")
            names = ordinary
            if stat.S_ISLNK(about.st_mode):
                about, names = (root / path).stat(), links
        except OSError:  # a link to nothing, which is reported when it is read
            continue
        if stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode):
            names.append((path, about))
    first: dict[tuple[int, int], str] = {}
    found = {}
    for path, about in (*ordinary, *links):
        other = first.setdefault((about.st_dev, about.st_ino), path)
        if other != path and _is_same(root / path, root / other, about):
            found[path] = other
    return found


def _is_same(path: Path, other: Path, about: os.stat_result) -> bool:
    """Test two paths of one number of inode, which some network disks give to several files."""
    has_names = stat.S_ISREG(about.st_mode) and about.st_nlink > 1
    return has_names or path.resolve() == other.resolve()
