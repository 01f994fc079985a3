"""Finished work of one unit: a file that has its name only when it is whole.

A part is a sequence of JSON lines. A line that holds a sample is followed by the bytes of its
Datum, as many as the line says. The last line is {"end": true}.
"""

import json
import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from hffkit.errors import StorageError
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Box, Sample, json_line

_SPARE = ".spare"  # suffix of files that parts of no more use have left
_SAMPLE = b',"sample":'


@dataclass(frozen=True, slots=True)
class Record:
    """A sample and the Datum message stored for it; None where only samples were asked for."""

    sample: Sample
    value: bytes | memoryview | None
    line: str | None = field(
        default=None, compare=False
    )  # what the sample's to_line gives, where it is known


@dataclass(frozen=True, slots=True)
class VideoBoxes:
    """The crops of one video: [x, y, size] for each frame that has a face."""

    video: str
    boxes: dict[int, Box]


@dataclass(frozen=True, slots=True)
class FileMade:
    """A file that was written beside the part, and what is known of it."""

    about: dict[str, Any]


Event = Record | Failure | VideoBoxes | FileMade


class PartWriter:
    """Writes one part; leaving the block after an error leaves nothing behind.

    A part outlives its process, and if it `is_durable` also a loss of power.
    """

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        """Begin the part that will be called `path`."""
        self._path = path
        self._is_durable = is_durable
        # Of its own: a worker that was taken for dead may still be writing the same part.
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        self._file: IO[bytes]
        self.n_unreadable = 0
        self._marked: dict[int, int] = {}  # how many were unreadable at each mark

    def __enter__(self) -> "PartWriter":
        try:
            is_old = not self._is_durable and self._take_spare()
            self._file = self._temporary.open("r+b" if is_old else "wb", buffering=0)
        except OSError as error:
            raise _cannot_write(self._temporary, error) from None
        return self

    def _take_spare(self) -> bool:
        """Make a file that another part has left the temporary one, if there is any."""
        for spare in self._path.parent.glob(f"*{_SPARE}"):
            with suppress(FileNotFoundError):  # another worker was quicker
                spare.rename(self._temporary)
                return True
        return False

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        try:
            if kind is None:
                self._write(b'{"end":true}\n')
                self._file.truncate()  # what is left of another part
                if self._is_durable:
                    os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self._temporary.replace(self._path)
        except OSError as problem:
            raise _cannot_write(self._path, problem) from None
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, event: Event) -> None:
        """Append what was made of an input, or why nothing was."""
        if isinstance(event, Record):
            if event.value is None:
                raise ValueError("a record without a value cannot be stored")
            sample = event.sample.to_line().encode()
            line = b'{"bytes":%d%s%s}\n' % (len(event.value), _SAMPLE, sample[:-1])
            self._write(line, event.value)
        elif isinstance(event, Failure):
            self.n_unreadable += event.kind == "unreadable"
            self._write(json_line({"failure": asdict(event)}).encode())
        elif isinstance(event, VideoBoxes):
            self._write(json_line({"video": event.video, "boxes": event.boxes}).encode())
        else:
            self._write(json_line({"file": event.about}).encode())

    def mark(self) -> int:
        """Return a place that `rewind` can go back to."""
        place = self._file.tell()
        self._marked[place] = self.n_unreadable
        return place

    def rewind(self, mark: int) -> None:
        """Forget everything added since `mark`."""
        self._file.seek(mark)
        self._file.truncate()
        self.n_unreadable = self._marked[mark]

    def _write(self, *pieces: bytes | memoryview) -> None:
        try:
            n_written = os.writev(self._file.fileno(), pieces)
            if n_written < sum(map(len, pieces)):  # the last room there was
                rest = b"".join(pieces)[n_written:]
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _cannot_write(self._path, error) from None


def remove(part: Path) -> None:
    """Delete a part that is of no more use, if it is there."""
    part.unlink(missing_ok=True)


def recycle(part: Path) -> None:
    """Leave the file of a part that is of no more use to the next one that need not be durable.

    Its memory is then used again, instead of being given back and fetched anew for each part.
    """
    with suppress(FileNotFoundError):
        part.rename(part.with_suffix(_SPARE))


def read_part(path: Path, *, with_values: bool = True) -> Iterator[Event]:
    """Yield the events of a part in order.

    Raises
    ------
    StorageError
        If the part is damaged.
    """
    cut_short = StorageError(f"{path}: cut short. Delete it and run the same command again.")
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            raise cut_short
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed by its last reader
    at = 0
    while end := view.find(b"\n", at) + 1:
        text = view[at:end]
        row = json.loads(text)
        at = end
        if "sample" in row:
            at += row["bytes"]
            if at > len(view):
                raise cut_short
            value = memoryview(view)[end:at] if with_values else None
            line = text[text.index(_SAMPLE) + len(_SAMPLE) : -2].decode() + "\n"
            yield Record(Sample.from_json(row["sample"]), value, line)
        elif "failure" in row:
            yield Failure(**row["failure"])
        elif "video" in row:
            boxes = {int(frame): (x, y, s) for frame, (x, y, s) in row["boxes"].items()}
            yield VideoBoxes(row["video"], boxes)
        elif "file" in row:
            yield FileMade(row["file"])
        else:
            return
    raise cut_short


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written: {error.strerror}. Mend that and run the same command again; "
        "what is finished is kept."
    )
