"""Files that a user names for a result: pages, sheets, tables. None of the user's own is lost.

A file that is there already is replaced only if its content tells that the same command wrote it.
Pages, sheets and reports are signed with a digest of the rest, so that one that was edited is
kept. CSV has no place for a signature; a table is known by its first columns.
"""

import hashlib
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Protocol

from hffkit.errors import ArgumentError, StorageError, cannot_write, writing_to
from hffkit.storage.staging import refuse_inside, sync_folder, write_aside

_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16


class FileForm(Protocol):
    """The form of a command's files, and how they are known."""

    def marked(self, data: bytes) -> bytes:
        """Return the content with the mark by which it is recognised."""

    def recognises(self, file: BinaryIO) -> bool:
        """Return True if the same command wrote a file, and nobody changed it since."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A file with a signature before its last bytes: the command, and a digest of the rest."""

    command: str
    signature: Callable[[bytes], bytes]  # of a text, in the syntax of the format
    n_after: int  # bytes that follow the signature

    def marked(self, data: bytes) -> bytes:
        """Return the content with its signature."""
        end = len(data) - self.n_after
        return data[:end] + self._of(hashlib.sha256(data).hexdigest()) + data[end:]

    def recognises(self, file: BinaryIO) -> bool:
        """Return True if the signature is that of the content."""
        blank = self._of("0" * 64)
        begin = file.seek(0, os.SEEK_END) - len(blank) - self.n_after
        if begin < 0:
            return False
        file.seek(begin)
        found, rest = file.read(len(blank)), file.read()
        if not found.startswith(blank[: blank.index(b"0" * 64)]):  # saves reading a large file
            return False
        file.seek(0)
        digest = hashlib.sha256()
        for start in range(0, begin, _CHUNK_BYTES):
            digest.update(file.read(min(_CHUNK_BYTES, begin - start)))
        digest.update(rest)
        return found == self._of(digest.hexdigest())

    def _of(self, digest: str) -> bytes:
        return self.signature(f"hffkit {self.command} {digest}".encode())


@dataclass(frozen=True, slots=True)
class Columns:
    """A CSV file, known by its first columns."""

    names: tuple[str, ...]

    def marked(self, data: bytes) -> bytes:
        """Return the content."""
        return data

    def recognises(self, file: BinaryIO) -> bool:
        """Return True if the first line begins with the columns."""
        head, columns = file.readline(_HEADER_BYTES), ",".join(self.names).encode()
        return head.startswith((columns + b",", columns + b"\n"))


class Kept:
    """A file that is never replaced."""

    def marked(self, data: bytes) -> bytes:
        """Return the content."""
        return data

    def recognises(self, file: BinaryIO) -> bool:  # noqa: ARG002
        """Return False."""
        return False


def _comment(text: bytes) -> bytes:
    return b"<!-- " + text + b" -->\n"


def _chunk(text: bytes) -> bytes:
    """Return a text chunk of PNG (ISO 15948, 11.3.4.3)."""
    body = b"tEXtSoftware\0" + text
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _member(text: bytes) -> bytes:
    return b',\n "signature": "' + text + b'"'


def _page(command: str) -> Signed:
    return Signed(command, _comment, 0)


def _sheet(command: str) -> Signed:
    return Signed(command, _chunk, 12)  # before IEND


EVAL_PAGE, PREDICT_PAGE, ROBUSTNESS_PAGE, AUDIT_PAGE = map(
    _page, ("eval", "predict", "robustness", "audit")
)
INSPECT_SHEET, PREVIEW_SHEET, SPECTRA_PLOT = map(_sheet, ("inspect", "preview", "plot"))
AUDIT_REPORT = Signed("audit", _member, 3)  # a JSON object that ends in a line of its own
SCORES = Columns(("key", "group", "video", "label", "class", "score", "predicted"))
SWEEP = Columns(("quality", "threshold", "n_samples", "accuracy"))
FACES = Columns(("path", "frame", "x", "y", "size", "class", "score"))
CONDITIONS = Columns(
    ("run", "level", "suite", "operation", "severity", "chain", "metric", "value", "low", "high",
     "less_clean", "less_clean_low", "less_clean_high")
)  # fmt: skip
FEATURES = Kept()


def sweep_path(path: Path) -> Path:
    """Return the path of the sweeps over thresholds beside the CSV file of the scores."""
    return path.with_name(f"{path.stem}-thresholds{path.suffix}")


def check_output(path: Path, parameter: str, form: FileForm) -> None:
    """Refuse a file that cannot be written, before the work that it is to hold.

    Raises
    ------
    ArgumentError
        If it is a folder, or in none; the message names `parameter`.
    StorageError
        If the file is somebody else's, or its folder cannot be written.
    """
    try:
        is_good = path.name not in ("", "-") and path.parent.is_dir() and not path.is_dir()
    except (OSError, ValueError):
        is_good = False
    if not is_good:
        raise ArgumentError(f"`{parameter}` must be a file in an existing folder, got {path}.")
    _is_new(path, form)
    with writing_to(path):
        NamedTemporaryFile(dir=path.parent, prefix=".hffkit-", suffix=".tmp").close()


def write_output(path: Path, content: bytes | str, form: FileForm) -> None:
    """Write a file durably under a name that the user gave; until then the old one stays whole.

    Bytes of a path that are not UTF-8 are written as they are.

    Raises
    ------
    StorageError
        If the file that is there is somebody else's, or it cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    is_new = _is_new(path, form)
    try:
        temporary = path.with_name(f".hffkit-{secrets.token_hex(8)}.tmp")
        write_aside(temporary, form.marked(data))
        try:
            _name(temporary, path, is_new=is_new)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None
    sync_folder(path.parent)


def _name(temporary: Path, path: Path, *, is_new: bool) -> None:
    """Give a file its name; one that should be new replaces none that appeared meanwhile."""
    if is_new:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # no hard links on this file system
            temporary.replace(path)
    else:
        temporary.replace(path)


def _is_new(path: Path, form: FileForm) -> bool:
    """Return True if there is no file yet; raise StorageError if it must not be replaced."""
    refuse_inside(path)
    with writing_to(path):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return True
        if stat.S_ISLNK(found.st_mode):
            raise StorageError(
                f"{path} is a symbolic link, and links are not followed. Name the file itself."
            )
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{path} is no file that can be replaced. Name another one.")
        if not found.st_mode & 0o222 or not os.access(path, os.W_OK):
            raise StorageError(f"{path} already exists and is read-only. Choose another file.")
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            if form.recognises(file):
                return False
    is_kept = isinstance(form, Kept)
    why = "" if is_kept else ", and this command did not write it, or it was changed since"
    raise StorageError(f"{path} already exists{why}. Delete it or choose another file.")
