"""Entries of a listing: the files of a dataset, each once and with a name that can be a key."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hffkit.errors import CorpusError
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import MAX_KEY_BYTES, Split, lmdb_key, printable
from hffkit.media.files import twins

_FRAME_BYTES = len("/000000")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of frames, with split and group as far as the dataset has them."""

    path: str  # relative to the root; also the key of its sample, or the start of its samples'
    cls: str
    is_video: bool = False
    split: Split | None = None
    group: str | None = None  # None: a group of its own
    index: int | None = None  # number in a list, which its record keeps

    @property
    def place(self) -> str:
        """Path, class and split, for messages."""
        return f"{self.path} (class {self.cls}{f', {self.split}' if self.split else ''})"


def with_good_keys(entries: Iterable[Entry]) -> tuple[list[Entry], list[Failure]]:
    """Return the entries whose names can be keys, and failures for the others.

    Raises
    ------
    CorpusError
        If a path is listed twice.
    """
    good, failures = [], []
    for entry in entries:
        reason = _no_key(entry)
        if reason is None:
            good.append(entry)
        else:
            failures.append(Failure("unreadable", printable(entry.path), None, reason))
    twice = [path for path, n in Counter(entry.path for entry in good).items() if n > 1]
    if twice:
        raise CorpusError(f"'{twice[0]}' is listed twice ({len(twice)} such). List each file once.")
    return good, failures


def _no_key(entry: Entry) -> str | None:
    """Return the reason why the path of an entry cannot be a key; None if it can."""
    try:
        n_bytes = len(lmdb_key(0, entry.path))
    except UnicodeEncodeError:
        return "the file's name is not UTF-8"
    if "\0" in entry.path:
        return "no file can have this name: it holds a zero byte"
    if entry.path.split("/")[0] in ("..", ""):
        return "it leads out of the dataset's folder: name a folder that holds all files"
    n_bytes += _FRAME_BYTES if entry.is_video else 0
    if n_bytes > MAX_KEY_BYTES:
        return f"its key would have {n_bytes} bytes, LMDB holds {MAX_KEY_BYTES}; shorten it"
    return None


def each_once(entries: Sequence[Entry], root: Path) -> tuple[list[Entry], list[str]]:
    """Return the entries without further names of one file, and these names.

    Raises
    ------
    CorpusError
        If a file has names in two classes or two splits.
    """
    again = twins(root, (entry.path for entry in entries))
    if not again:
        return list(entries), []
    by_path = {entry.path: entry for entry in entries}
    for path, other in again.items():
        one, two = by_path[other], by_path[path]
        if (one.cls, one.split) != (two.cls, two.split):
            raise CorpusError(
                f"{root}: {one.place} and {two.place} are one file with two names. Remove the name "
                "that is wrong: a file has one class and one split."
            )
    return [entry for entry in entries if entry.path not in again], list(again)
