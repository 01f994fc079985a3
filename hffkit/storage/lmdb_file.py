"""LMDB databases of Datums: opened lazily for reading, growing by themselves in writing."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from hffkit.errors import StorageError
from hffkit.storage.datum import Datum, decode_datum

_FIRST_MAP_BYTES = 1 << 26
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1 << 24  # small, so that little is left to wait for at a commit


def refuse_lmdb_1() -> None:
    """Raise StorageError where the LMDB library writes a format that Caffe cannot read."""
    version = lmdb.version()
    if version >= (1, 0):
        raise StorageError(
            f"This LMDB library is {'.'.join(map(str, version))}, whose file format Caffe cannot "
            "read. Install lmdb>=1.4,<4, which brings LMDB 0.9."
        )


_Batch = list[tuple[bytes, bytes | memoryview]]


@dataclass(slots=True, weakref_slot=True)
class _Opened:
    """An environment, and whose it is: py-lmdb opens a path only once in a process."""

    env: Any
    pid: int
    inode: int


_opened: WeakValueDictionary[Path, _Opened] = WeakValueDictionary()
_opening = threading.Lock()  # of several threads that read first, one opens


def _open(path: Path) -> _Opened:
    """Return the environment of `path` in this process; readers of one database share it."""
    inode = (path / "data.mdb").stat().st_ino
    known = _opened.get(path)
    if known is not None and (known.pid, known.inode) == (os.getpid(), inode):
        return known
    if known is not None:  # a parent's, come along in a fork, or a database since replaced
        known.env.close()
    try:
        env = lmdb.open(str(path), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise StorageError(f"{path}: no readable LMDB: {error}.") from None
    # Reading a page that is not there is a bus error, which no Python code outlives.
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
    """Reads the records of an LMDB, ours or Caffe's.

    The environment is opened in each process that reads, when it reads: LMDB environments do not
    survive a fork and cannot be pickled, a reader can.
    """

    def __init__(self, path: Path) -> None:
        """Check that `path` holds a database; open nothing yet."""
        if not (path / "data.mdb").is_file():
            raise StorageError(f"{path}: no LMDB: it holds no data.mdb.")
        self._path = path.resolve()
        self._mine: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_mine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path = state["_path"]
        self._mine = None

    def _env(self) -> Any:
        mine = self._mine
        if mine is None or mine.pid != os.getpid():
            with _opening:
                mine = self._mine = _open(self._path)
        return mine.env

    def close(self) -> None:
        """Let go of the environment, which closes when no reader has it; reading opens it again."""
        self._mine = None

    def __len__(self) -> int:
        return int(self._env().stat()["entries"])

    def get(self, key: bytes) -> bytes:
        """Return the value under `key`; an absent key is a StorageError."""
        try:
            with self._env().begin() as transaction:
                value = transaction.get(key)
        except lmdb.Error as error:
            raise StorageError(f"{self._path}: cannot be read: {error}.") from None
        if value is None:
            raise StorageError(f"{self._path}: no record {key.decode('utf-8', 'replace')!r}.")
        return bytes(value)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order."""
        try:
            with self._env().begin() as transaction:
                yield from transaction.cursor()
        except lmdb.Error as error:
            raise StorageError(f"{self._path}: cannot be read: {error}.") from None

    def datums(self) -> Iterator[tuple[bytes, Datum]]:
        """Yield (key, Datum) in key order."""
        for key, value in self.items():
            yield key, decode_datum(value)


class LmdbWriter:
    """Appends records in key order; what `flush` returned from is durable.

    A thread writes one batch while the caller fills the next.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the database in the folder `path`."""
        refuse_lmdb_1()
        try:
            path.mkdir(exist_ok=True)
            # The caller sees to it that there is one writer; lock.mdb would only be in the way.
            # What is read again are single pages of the tree: nothing is to be read ahead.
            self._env = lmdb.open(
                str(path), map_size=_FIRST_MAP_BYTES, mode=0o664, lock=False, readahead=False
            )
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"{path}: cannot be written: {error}") from None
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
        with self._env.begin() as transaction:
            yield from transaction.cursor()

    def put(self, key: bytes, value: bytes | memoryview) -> None:
        """Queue one record; keys must ascend. It may raise what an earlier one has caused."""
        self._batch.append((key, value))
        self._batch_bytes += len(value)
        if len(self._batch) >= _BATCH_RECORDS or self._batch_bytes >= _BATCH_BYTES:
            self._begin()

    def flush(self) -> None:
        """Write all that is queued and wait until it is durable."""
        self._begin()
        self._wait()

    def _begin(self) -> None:
        """Let the thread write what is queued, once it has written what came before."""
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
                            raise StorageError(f"{self._path}: key {key!r} is out of order.")
                self._uncache()
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise StorageError(
                    f"{self._path}: cannot be written: {error}. Free some space and run the same "
                    "command again; what is finished is kept."
                ) from None

    def _uncache(self) -> None:
        """Let the system forget what is durable, and use the same memory for what comes next.

        A corpus is seldom read soon, and may be larger than the memory that others need too.
        """
        if hasattr(os, "posix_fadvise"):  # nowhere but on Linux
            with suppress(OSError):  # it is advice
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def drop_after(self, last_key: bytes) -> None:
        """Remove the records behind `last_key` (all of them if it is empty)."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    cursor = transaction.cursor()
                    while cursor.last() and cursor.key() > last_key:
                        cursor.delete()
                return
            except lmdb.MapFullError:  # deleting copies pages first
                self._grow()

    def _grow(self) -> None:
        self._env.set_mapsize(self._env.info()["map_size"] * 2)
