"""Parts: the finished work of one unit, in a file that gets its name when it is complete.

A part holds the Datums of its samples one after another, then a JSON line for each event in order,
with the number of bytes of a sample's Datum and their checksum, then the offset of the first line
and the checksum of all lines. Lines are written and read all at once: images sweep the processor's
caches, so lines between them would take longer.
"""

import mmap
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from imagecodecs import deflate_crc32

from hffkit.errors import ManifestError, StorageError, reason_of, writing_to
from hffkit.fields import shown
from hffkit.manifest.failures import FATAL, Failure, failure_of
from hffkit.manifest.lines import row_of, sample_of
from hffkit.manifest.samples import Box, Sample, json_line
from hffkit.storage.staging import RESUME

_SPARE = ".spare"  # suffix of files of used parts, to be written over
_SAMPLE = ',"sample":'
_END = struct.Struct(">QI8s")  # offset of the first line, checksum of the lines, and a mark
_MARK = b"hffprt2\n"
_MAPPED_BYTES = 1 << 20
_MAX_MAPS = 32
_maps: WeakSet[mmap.mmap] = WeakSet()  # of parts, some value of which is still in use


@dataclass(frozen=True, slots=True)
class Record:
    """A sample and its Datum message; None if a part was read without values."""

    sample: Sample
    value: bytes | memoryview | None
    line: str | None = field(default=None, compare=False)  # the sample's to_line, if known


@dataclass(frozen=True, slots=True)
class VideoBoxes:
    """The crops of a video: [x, y, size] for each frame with a face."""

    video: str
    boxes: dict[int, Box]


@dataclass(frozen=True, slots=True)
class FileMade:
    """The description of a file that was written beside the part."""

    about: Mapping[str, Any]


Event = Record | Failure | VideoBoxes | FileMade


class PartWriter:
    """Writes one part in a `with` block; after an error nothing is left of it.

    A finished part survives the process, and if it `is_durable` also a loss of power.
    """

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        """Prepare to write the part `path`."""
        self._path = path
        self._is_durable = is_durable
        # A random name, for a worker presumed dead may still be writing the same part.
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        self._file: IO[bytes]
        self.n_unreadable = 0
        self._n_bytes = 0  # of Datums
        # To write: the facts of each event, the number of bytes of its value and their checksum.
        self._lines: list[tuple[Sample | Failure | VideoBoxes | FileMade, int, int]] = []
        self._marked: dict[int, tuple[int, int]] = {}  # bytes and unreadable inputs at each mark

    def __enter__(self) -> "PartWriter":
        with writing_to(self._temporary, RESUME):
            is_old = not self._is_durable and self._take_spare()
            self._file = self._temporary.open("r+b" if is_old else "wb", buffering=0)
        return self

    def _take_spare(self) -> bool:
        """Take the file of a used part as the temporary file, if there is one."""
        for spare in self._path.parent.glob(f"*{_SPARE}"):
            with suppress(FileNotFoundError):  # another worker took it
                spare.rename(self._temporary)
                return True
        return False

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        try:
            with writing_to(self._path, RESUME):
                if kind is None:
                    lines = "".join(_line(*each) for each in self._lines).encode()
                    self._write(lines, _END.pack(self._n_bytes, crc32(lines), _MARK))
                    self._file.truncate()  # the rest of a used part
                    if self._is_durable:
                        os.fsync(self._file.fileno())
                self._file.close()
                if kind is None:
                    self._temporary.replace(self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, event: Event) -> None:
        """Append the result for an input, or the reason why there is none."""
        if isinstance(event, Record):
            if event.value is None:
                raise ValueError("a record without a value cannot be stored")
            self._write(event.value)
            self._n_bytes += len(event.value)
            self._lines.append((event.sample, len(event.value), crc32(event.value)))
        else:
            self.n_unreadable += isinstance(event, Failure) and event.kind in FATAL
            self._lines.append((event, 0, 0))

    def mark(self) -> int:
        """Return the current position, for `rewind`."""
        place = len(self._lines)
        self._marked[place] = self._n_bytes, self.n_unreadable
        return place

    def rewind(self, mark: int) -> None:
        """Remove the events added since `mark`."""
        del self._lines[mark:]
        self._n_bytes, self.n_unreadable = self._marked[mark]
        self._file.seek(self._n_bytes)

    def _write(self, *pieces: bytes | memoryview) -> None:
        with writing_to(self._path, RESUME):
            n_written = os.writev(self._file.fileno(), pieces)
            if n_written < sum(map(len, pieces)):  # the disk is nearly full
                rest = b"".join(pieces)[n_written:]
                while rest:
                    rest = rest[self._file.write(rest) :]


def _line(event: Sample | Failure | VideoBoxes | FileMade, n_bytes: int, checksum: int) -> str:
    if isinstance(event, Sample):
        return f'{{"bytes":{n_bytes},"crc32":{checksum}{_SAMPLE}{event.to_line()[:-1]}}}\n'
    if isinstance(event, Failure):
        return json_line({"failure": asdict(event)})
    if isinstance(event, VideoBoxes):
        return json_line({"video": event.video, "boxes": event.boxes})
    return json_line({"file": event.about})


def crc32(value: bytes | memoryview) -> int:
    """Compute the CRC-32 by libdeflate, in a tenth of zlib's time."""
    return int(deflate_crc32(value))  # type: ignore[arg-type]  # its stub lacks memoryview


def remove(part: Path) -> None:
    """Delete a used part, if it exists."""
    part.unlink(missing_ok=True)


def recycle(part: Path) -> None:
    """Keep the file of a used part for the next one that need not be durable.

    Its memory pages are then reused instead of freed and allocated again for each part.
    """
    with suppress(FileNotFoundError):
        part.rename(part.with_suffix(_SPARE))


def read_part(path: Path, *, with_values: bool = True) -> Iterator[Event]:
    """Yield the events of a part in order.

    Raises
    ------
    StorageError
        If the part is cut short or damaged.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - _END.size
        tail = os.pread(file.fileno(), _END.size, end) if end >= 0 else bytes(_END.size)
        begin, checksum, mark = _END.unpack(tail)
        if mark != _MARK:
            raise StorageError(f"{path}: cut short. Delete it and run the same command again.")
        lines = os.pread(file.fileno(), max(0, end - begin), begin)
        if crc32(lines) != checksum:
            raise _damaged(path, "its lines are not those that were written")
        value_at = _values_of(file, begin) if with_values else None
        at = 0
        for line in lines.split(b"\n")[:-1]:
            event, n_bytes, checksum = _parsed(line, path, begin - at)
            if isinstance(event, Record) and value_at is not None:
                value = value_at(at, n_bytes)
                if crc32(value) != checksum:
                    raise _damaged(path, f"the record of {event.sample.key}")
                event = Record(event.sample, value, event.line)
            at += n_bytes
            yield event


def _values_of(file: IO[bytes], n_bytes: int) -> Callable[[int, int], bytes | memoryview]:
    """Return the function that gives a value of a part, by its first byte and its length.

    A map saves a copy, but keeps a descriptor until its last value is written. So only parts of
    some size are mapped, and only a few at a time: units may be as many as there are images.
    """
    if n_bytes < _MAPPED_BYTES or len(_maps) >= _MAX_MAPS:
        return lambda at, n: os.pread(file.fileno(), n, at)
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _maps.add(mapped)
    view = memoryview(mapped)
    return lambda at, n: view[at : at + n]


def _parsed(line: bytes, path: Path, n_left: int) -> tuple[Event, int, int]:
    """Return an event without its value; the value's length, of `n_left` at most, and checksum."""
    row = row_of(line, str(path), StorageError)
    try:
        if "sample" in row:
            if not 0 <= row["bytes"] <= n_left:
                raise ValueError(f"a record of {shown(row['bytes'])} bytes where {n_left} are left")
            text = line.decode()
            text = text[text.index(_SAMPLE) + len(_SAMPLE) : -1] + "\n"
            return Record(sample_of(row["sample"]), None, text), int(row["bytes"]), row["crc32"]
        if "failure" in row:
            return failure_of(row["failure"], "a failure"), 0, 0
        if "video" in row:
            boxes = {int(frame): (x, y, size) for frame, (x, y, size) in row["boxes"].items()}
            return VideoBoxes(row["video"], boxes), 0, 0
        return FileMade(row["file"]), 0, 0
    except (AttributeError, KeyError, TypeError, ValueError, ManifestError) as error:
        raise _damaged(path, reason_of(error)) from None


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path}: damaged: {reason}. Delete it and run the same command again.")
