"""LMDB databases of Datums: readers that open lazily, and a writer whose map grows as needed."""

import os
import resource
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary, ref

import lmdb

from hffkit.errors import Replacing, StorageError, cannot_write, reading_from
from hffkit.storage.staging import RESUME

_FIRST_MAP_BYTES = 1 << 26
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1 << 24  # small, so that a commit waits for little


def refuse_lmdb_1() -> None:
    """Raise StorageError if the LMDB library is 1.x, whose format Caffe cannot read."""
    version = lmdb.version()
    if version >= (1, 0):
        raise StorageError(
            f"This LMDB library is {'.'.join(map(str, version))}, whose file format Caffe cannot "
            "read. Install lmdb>=1.4,<4, which brings LMDB 0.9."
        )


_Batch = list[tuple[bytes, bytes | memoryview]]


@dataclass(slots=True, weakref_slot=True)
class _Opened:
    """An open environment and its process; py-lmdb opens a path only once in a process."""

    env: Any
    pid: int
    inode: int


_opened: WeakValueDictionary[Path, _Opened] = WeakValueDictionary()
_opening = threading.Lock()  # only one of several threads may open an environment
_readers: "deque[ref[LmdbReader]]" = deque()  # that hold an environment, by the time they opened it
_MAX_OPEN = 256  # of them; each environment is a descriptor and a map


def _open(path: Path) -> _Opened:
    """Open the environment of `path`, or return it if a reader of this process has it open."""
    with reading_from(path / "data.mdb", StorageError):
        inode = (path / "data.mdb").stat().st_ino
    known = _opened.get(path)
    if known is not None and (known.pid, known.inode) == (os.getpid(), inode):
        return known
    if known is not None:  # inherited in a fork, or of a database that was replaced
        del _opened[path]  # opening may fail, and a later database get the number of this inode
        known.env.close()
    try:
        env = lmdb.open(os.fsencode(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise StorageError(f"{path}: no readable LMDB: {error}.") from None
    # Reading a missing page is a bus error, which would end the process.
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if (path / "data.mdb").stat().st_size < needed:
        env.close()
        raise StorageError(
            f"{path / 'data.mdb'}: cut short: it needs {needed} bytes. Copy it again."
        )
    opened = _Opened(env, os.getpid(), inode)
    _opened[path] = opened
    return opened


class LmdbReader:
    """Reads the records of an LMDB, written by hffkit or by Caffe.

    Each process opens the environment at its first read: unlike an environment, a reader survives
    a fork and can be pickled. Any number of readers can be used at once: those that opened their
    environments first release them, and open them again at the next read.
    """

    def __init__(self, path: Path) -> None:
        """Check that `path` holds a database, without opening it."""
        if not (path / "data.mdb").is_file():
            raise StorageError(f"{path}: no LMDB: it holds no data.mdb.")
        self._path = path.resolve()
        self._mine: _Opened | None = None

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._path, self._mine = path, None

    def _open(self) -> _Opened:
        """Return the environment; the caller keeps it until it is done with its transaction."""
        mine = self._mine
        if mine is None or mine.pid != os.getpid():
            with _opening:
                mine = self._mine = _open(self._path)
                _readers.append(ref(self))
                while len(_readers) > _max_open():
                    oldest = _readers.popleft()()
                    if oldest is not None and oldest is not self:
                        oldest.close()
        return mine

    def close(self) -> None:
        """Release the environment, which the last reader closes; the next read opens it again."""
        self._mine = None

    def __len__(self) -> int:
        with _reading(self._path):
            return int(self._open().env.stat()["entries"])

    def get(self, key: bytes) -> bytes:
        """Read the value under `key`; StorageError if there is none."""
        opened = self._open()
        with _reading(self._path), opened.env.begin() as transaction:
            value = transaction.get(key)
        if value is None:
            raise StorageError(f"{self._path}: no record {key.decode('utf-8', 'replace')!r}.")
        return bytes(value)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order."""
        opened = self._open()
        with _reading(self._path), opened.env.begin() as transaction:
            yield from transaction.cursor()


def _reading(path: Path) -> Replacing:
    """Raise an error of LMDB in the block as a StorageError that names the database."""
    return Replacing(lmdb.Error, lambda error: StorageError(f"{path}: cannot be read: {error}."))


def _max_open() -> int:
    """Return how many readers may hold an environment: for a quarter of the descriptors at most."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MAX_OPEN if most == resource.RLIM_INFINITY else max(1, min(_MAX_OPEN, most // 4))


class LmdbWriter:
    """Appends records in key order; after `flush` they are durable.

    A thread writes one batch while the caller fills the next.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the database in the folder `path`."""
        refuse_lmdb_1()
        try:
            path.mkdir(exist_ok=True)
            # The caller ensures that there is one writer, so lock.mdb is not needed. Reads are of
            # single pages of the tree, so reading ahead is useless.
            self._env = lmdb.open(
                os.fsencode(path),
                map_size=_FIRST_MAP_BYTES,
                mode=0o664,
                lock=False,
                readahead=False,
            )
        except (lmdb.Error, OSError) as error:
            raise cannot_write(path, error) from None
        self._path = path
        self._file = os.open(path / "data.mdb", os.O_RDONLY)
        self._batch: _Batch = []
        self._batch_bytes = 0
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None

    def __enter__(self) -> "LmdbWriter":
        return self

    def __exit__(self, *raised: object) -> None:
        self._thread.shutdown()
        self._env.close()
        os.close(self._file)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the durable records in key order."""
        with _reading(self._path), self._env.begin() as transaction:
            yield from transaction.cursor()

    def put(self, key: bytes, value: bytes | memoryview) -> None:
        """Queue a record; keys must ascend. An error may be that of an earlier record."""
        self._batch.append((key, value))
        self._batch_bytes += len(value)
        if len(self._batch) >= _BATCH_RECORDS or self._batch_bytes >= _BATCH_BYTES:
            self._begin()

    def flush(self) -> None:
        """Write all queued records and wait until they are durable."""
        self._begin()
        self._wait()

    def _begin(self) -> None:
        """Start the thread on the queued records, once it has written the batch before."""
        self._wait()
        if self._batch:
            self._under_way = self._thread.submit(self._write, self._batch)
            self._batch, self._batch_bytes = [], 0

    def _wait(self) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _write(self, batch: _Batch) -> None:
        """Write a batch in one synchronous transaction, growing the map as needed."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in batch:
                        if not transaction.put(key, value, append=True):
                            raise StorageError(
                                f"{self._path}: key {key.decode('utf-8', 'replace')!r} is out of "
                                "order."
                            )
                self._uncache()
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise cannot_write(self._path, error, RESUME) from None

    def _uncache(self) -> None:
        """Drop the durable records from the page cache.

        A corpus is seldom read soon, and may be larger than memory.
        """
        if hasattr(os, "posix_fadvise"):  # Linux only
            with suppress(OSError):  # it is only advice
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def drop_after(self, last_key: bytes) -> None:
        """Remove the records after `last_key`, all of them if it is empty."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    cursor = transaction.cursor()
                    while cursor.last() and cursor.key() > last_key:
                        cursor.delete()
                return
            except lmdb.MapFullError:  # deleting copies pages
                self._grow()
            except lmdb.Error as error:
                raise cannot_write(self._path, error) from None

    def _grow(self) -> None:
        self._env.set_mapsize(self._env.info()["map_size"] * 2)
