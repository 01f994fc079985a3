"""LMDB databases of Datums: opened lazily for reading, growing by themselves in writing."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from hffkit.errors import StorageError
from hffkit.storage.datum import Datum, decode_datum

MAX_KEY_BYTES = 511
_FIRST_MAP_BYTES = 1 << 26
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1 << 26


def refuse_lmdb_1() -> None:
    """Raise StorageError where the LMDB library writes a format that Caffe cannot read."""
    version = lmdb.version()
    if version >= (1, 0):
        raise StorageError(
            f"This LMDB library is {'.'.join(map(str, version))}, whose file format Caffe cannot "
            "read. Install lmdb>=1.4,<4, which brings LMDB 0.9."
        )


class LmdbReader:
    """Reads the records of an LMDB, ours or Caffe's.

    The environment is opened in each process that reads, when it reads: LMDB environments do not
    survive a fork and cannot be pickled, a reader can.
    """

    def __init__(self, path: Path) -> None:
        """Check that `path` holds a database; open nothing yet."""
        if not (path / "data.mdb").is_file():
            raise StorageError(f"{path}: no LMDB: it holds no data.mdb.")
        self._path = path
        self._opened: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path = state["_path"]
        self._opened = None

    def _env(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                env = lmdb.open(str(self._path), readonly=True, lock=False, create=False)
            except lmdb.Error as error:
                raise StorageError(f"{self._path}: no readable LMDB: {error}.") from None
            # Reading a page that is not there is a bus error, which no Python code outlives.
            needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            if (self._path / "data.mdb").stat().st_size < needed:
                env.close()
                path = self._path / "data.mdb"
                raise StorageError(f"{path}: cut short: it needs {needed} bytes. Copy it again.")
            self._opened = (os.getpid(), env)
        return self._opened[1]

    def close(self) -> None:
        """Close the environment; the next read opens it again."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None

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
    """Appends records in key order; what `flush` returned from is durable."""

    def __init__(self, path: Path) -> None:
        """Open or create the database in the folder `path`."""
        refuse_lmdb_1()
        try:
            path.mkdir(exist_ok=True)
            # The caller sees to it that there is one writer; lock.mdb would only be in the way.
            self._env = lmdb.open(str(path), map_size=_FIRST_MAP_BYTES, mode=0o664, lock=False)
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"{path}: cannot be written: {error}") from None
        self._path = path
        self._batch: list[tuple[bytes, bytes]] = []
        self._batch_bytes = 0

    def __enter__(self) -> "LmdbWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._env.close()

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the durable records in key order."""
        with self._env.begin() as transaction:
            yield from transaction.cursor()

    def put(self, key: bytes, value: bytes) -> None:
        """Queue one record; keys must ascend."""
        self._batch.append((key, value))
        self._batch_bytes += len(value)
        if len(self._batch) >= _BATCH_RECORDS or self._batch_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is queued in one synchronous transaction, growing the map as needed."""
        while self._batch:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._batch:
                        if not transaction.put(key, value, append=True):
                            raise StorageError(f"{self._path}: key {key!r} is out of order.")
                self._batch, self._batch_bytes = [], 0
            except lmdb.MapFullError:
                self._env.set_mapsize(self._env.info()["map_size"] * 2)
            except lmdb.Error as error:
                raise StorageError(
                    f"{self._path}: cannot be written: {error}. Free some space and run the same "
                    "command again; what is finished is kept."
                ) from None

    def drop_after(self, last_key: bytes) -> None:
        """Remove the records behind `last_key` (all of them if it is empty)."""
        with self._env.begin(write=True) as transaction:
            cursor = transaction.cursor()
            while cursor.last() and cursor.key() > last_key:
                cursor.delete()
