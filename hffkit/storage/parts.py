"""Finished work of one unit: a file that has its name only when it is whole.

A part is a sequence of JSON lines. A line that holds a sample is followed by the bytes of its
Datum, as many as the line says. The last line is {"end": true}.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hffkit.errors import StorageError
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Box, Sample, json_line


@dataclass(frozen=True, slots=True)
class Record:
    """A sample and the Datum message stored for it; None where only samples were asked for."""

    sample: Sample
    value: bytes | None


@dataclass(frozen=True, slots=True)
class VideoBoxes:
    """The crops of one video: [x, y, size] for each frame that has a face."""

    video: str
    boxes: dict[int, Box]


Event = Record | Failure | VideoBoxes


class PartWriter:
    """Writes one part; leaving the block after an error leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        """Begin the part that will be called `path`."""
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        self._file: IO[bytes]
        self.n_unreadable = 0
        self._marked: dict[int, int] = {}  # how many were unreadable at each mark

    def __enter__(self) -> "PartWriter":
        try:
            self._file = self._temporary.open("wb")
        except OSError as error:
            raise _cannot_write(self._temporary, error) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        try:
            if kind is None:
                self._write(b'{"end":true}\n')
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self._temporary.replace(self._path)
        except OSError as problem:
            raise _cannot_write(self._path, problem) from None
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, event: Event) -> None:
        """Append a record, a failure or a video's boxes."""
        if isinstance(event, Record):
            if event.value is None:
                raise ValueError("a record without a value cannot be stored")
            row = {"sample": asdict(event.sample), "bytes": len(event.value)}
            self._write(json_line(row).encode())
            self._write(event.value)
        elif isinstance(event, Failure):
            self.n_unreadable += event.kind == "unreadable"
            self._write(json_line({"failure": asdict(event)}).encode())
        else:
            self._write(json_line({"video": event.video, "boxes": event.boxes}).encode())

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

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _cannot_write(self._path, error) from None


def read_part(path: Path, *, with_values: bool = True) -> Iterator[Event]:
    """Yield the events of a part in order.

    Raises
    ------
    StorageError
        If the part is damaged.
    """
    cut_short = StorageError(f"{path}: cut short. Delete it and run the same command again.")
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                raise cut_short
            row = json.loads(line)
            if "sample" in row:
                value = file.read(row["bytes"]) if with_values else None
                if value is None:
                    file.seek(row["bytes"], os.SEEK_CUR)
                elif len(value) < row["bytes"]:
                    raise cut_short
                yield Record(Sample.from_json(row["sample"]), value)
            elif "failure" in row:
                yield Failure(**row["failure"])
            elif "video" in row:
                boxes = {int(frame): (x, y, s) for frame, (x, y, s) in row["boxes"].items()}
                yield VideoBoxes(row["video"], boxes)
            else:
                return
    raise cut_short


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written: {error.strerror}. Mend that and run the same command again; "
        "what is finished is kept."
    )
