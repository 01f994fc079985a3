"""Search for image and video files below a folder, and an account of all other files."""

import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hffkit.errors import CorpusError, reading_from
from hffkit.manifest.samples import printable
from hffkit.media.files import is_hidden, suffix_of
from hffkit.media.kinds import medium_of
from hffkit.wording import counted, first_of

_N_EXAMPLES = 3


class MediaFile(NamedTuple):
    """An image or a video."""

    path: str  # relative to the root of the walk
    is_video: bool


@dataclass(slots=True)
class Rest:
    """The files and links that walks did not take, as paths relative to the root."""

    others: list[str] = field(default_factory=list)  # neither images nor videos
    hidden: list[str] = field(default_factory=list)  # or made by an operating system
    unasked: list[str] = field(default_factory=list)  # of a kind or place that was not asked for
    special: list[str] = field(default_factory=list)  # no regular files: pipes, devices, sockets
    above: list[str] = field(default_factory=list)  # links to folders that hold them
    again: list[str] = field(default_factory=list)  # links to folders that were read

    def add_hidden(self, root: Path, path: str) -> None:
        """Add a hidden file, or all files in a hidden folder."""
        here = root / path
        is_folder = here.is_dir() and not here.is_symlink()
        self.hidden += files_below(root, path) if is_folder else [path]

    def notes(self) -> list[str]:
        """Return a note on each kind of them, with their number and examples."""
        suffixes = Counter(suffix_of(path) or "without suffix" for path in self.others)
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in suffixes.most_common())
        n_others = counted(len(self.others), "file")
        n_hidden = counted(len(self.hidden), "file")
        n_unasked = counted(len(self.unasked), "file")
        n_special = counted(len(self.special), "pipe, device or socket", "pipes, devices, sockets")
        n_above, n_again = (counted(len(links), "link") for links in (self.above, self.again))
        found = [
            (self.others, f"not read: {n_others} neither image nor video ({kinds})"),
            (self.hidden, f"not read: {n_hidden} hidden or made by an operating system"),
            (
                self.unasked,
                f"not read: {n_unasked} of another kind or folder than this command reads",
            ),
            (self.special, f"not read: {n_special}"),
            (self.above, f"not followed: {n_above} to a folder that holds it"),
            (self.again, f"not followed: {n_again} to a folder that is read under another name"),
        ]
        return [f"{text}: {some_of(paths)}." for paths, text in found if paths]


def some_of(paths: Sequence[str]) -> str:
    """Return the first of some paths for a message."""
    return printable(first_of(sorted(paths), _N_EXAMPLES))


def walk(root: Path, folder: str = "", rest: Rest | None = None) -> list[MediaFile]:
    """Return the images and videos below root/folder, sorted by path.

    Each folder is read once, under its own name before that of a link to it; a link to a folder
    that holds it is not followed. Links to nothing, and files that cannot be opened, are listed
    like the images or videos that they may be, so that reading them fails with a reason. All else
    is added to `rest`. Hidden files are not listed.

    Raises
    ------
    CorpusError
        If a folder cannot be read.
    """
    rest = Rest() if rest is None else rest
    found = _Found([], {}, set(), rest)
    top = _Folder("" if folder == "." else folder, os.path.realpath(root / folder))
    _walk_folder(root, top, found)
    while found.links:
        link = min(found.links)
        place, target = found.links.pop(link), os.path.realpath(root / link)
        if _holds(target, top.real) or _holds(target, place.real):
            rest.above.append(link)
        elif target in found.seen:
            rest.again.append(link)
        else:
            _walk_folder(root, _Folder(link, target), found)
    return sorted(found.files)


def files_below(root: Path, folder: str) -> Iterator[str]:
    """Yield the paths of all files below root/folder, relative to `root`; links stay unfollowed."""
    for here, _, names in os.walk(root / folder):
        for name in names:
            yield Path(here, name).relative_to(root).as_posix()


class _Folder(NamedTuple):
    """A folder on the way of a walk."""

    path: str  # relative to the root
    real: str  # its path without links


class _Found(NamedTuple):
    """The results of a walk so far."""

    files: list[MediaFile]
    links: dict[str, _Folder]  # to folders, with the folders they are in
    seen: set[str]  # real paths of folders
    rest: Rest


def _holds(outer: str, inner: str) -> bool:
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")


def _walk_folder(root: Path, start: _Folder, found: _Found) -> None:
    """Walk a folder and those in it; links to folders are added to those found."""
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if here.real in found.seen:
            continue
        found.seen.add(here.real)
        for entry in _entries(root / here.path):
            path = f"{here.path}/{entry.name}" if here.path else entry.name
            if is_hidden(entry.name):
                found.rest.add_hidden(root, path)
            elif not _is_folder(entry):
                _add_file(entry, path, found)
            elif entry.is_symlink():
                found.links[path] = here
            else:
                waiting.append(_Folder(path, f"{here.real.rstrip('/')}/{entry.name}"))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    with reading_from(folder, CorpusError), os.scandir(folder) as entries:
        return list(entries)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _add_file(entry: "os.DirEntry[str]", path: str, found: _Found) -> None:
    file = media_file(Path(entry.path), path, found.rest)
    if file is not None:
        found.files.append(file)


def media_file(file: Path, path: str, rest: Rest) -> MediaFile | None:
    """Return a file as an image or video called `path`, or None if it was added to `rest`.

    A link to nothing, or a file that cannot be opened, is an image unless its suffix is a video's.
    """
    try:
        medium = medium_of(file)
    except OSError as error:
        if error.errno == errno.EINVAL:
            rest.special.append(path)
            return None
        return MediaFile(path, is_video=False)
    if medium == "other":
        rest.others.append(path)
        return None
    return MediaFile(path, is_video=medium == "video")
