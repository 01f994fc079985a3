"""The single writer of a corpus: appends finished units in order, and can be killed any time."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import IO

from hffkit.errors import StorageError, writing_to
from hffkit.fields import Fields
from hffkit.input_files import object_of, read_lines
from hffkit.manifest.failures import Failure, read_failures
from hffkit.manifest.lines import read_manifest
from hffkit.manifest.samples import (
    MAX_INDEX,
    GroupGuard,
    Sample,
    json_line,
    json_text,
    lmdb_key,
    printable,
    with_index,
)
from hffkit.media.files import sha256_of
from hffkit.storage.corpus import (
    BOXES_FILE,
    CORPUS_FILE,
    FAILURES_FILE,
    MANIFEST_FILE,
    CorpusInfo,
    Provenance,
    nested,
)
from hffkit.storage.datum import decode_datum
from hffkit.storage.digests import Digests
from hffkit.storage.duplicates import Duplicates
from hffkit.storage.lmdb_file import LmdbWriter
from hffkit.storage.parts import Event, Record, VideoBoxes
from hffkit.storage.staging import JOURNAL_FILE, RESUME, sync, write_bytes_durably

_TEXTS = (MANIFEST_FILE, FAILURES_FILE, BOXES_FILE)
_DATA_FILE = "data.mdb"
_COMMIT_BYTES = 1 << 26  # of records; so much that the cost of syncing is small


class CorpusWriter:
    """Writes a corpus folder unit by unit.

    Each commit appends the durable length of every file to a journal. A writer that opens the same
    folder again truncates the files to the last of these lengths and resumes there.
    """

    def __init__(self, folder: Path) -> None:
        """Begin the corpus in `folder`, or resume it."""
        self._folder = folder
        self._lmdb = LmdbWriter(folder)
        self._journal = folder / JOURNAL_FILE
        self.units: list[str] = []  # durable, in order
        self._waiting: list[str] = []  # appended since
        self._waiting_bytes = 0
        self._sizes = dict.fromkeys(_TEXTS, 0)
        self._written = {name: sha256() for name in _TEXTS}
        self._durable: dict[str, str] = {}  # digests at the last commit
        self._last_key = b""
        self._next_index = 0
        self._guard = GroupGuard()
        self._digests = Digests()
        self._duplicates = Duplicates()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._files: dict[str, IO[bytes]] = {}
        with writing_to(folder, RESUME):
            self._resume()
            self._files |= {name: (folder / name).open("ab") for name in _TEXTS}

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        for file in self._files.values():
            # After an error, closing would only report it a second time.
            with suppress(OSError) if kind else nullcontext():
                file.close()
        self._lmdb.__exit__(kind, *raised)

    def _resume(self) -> None:
        """Take the folder back to the last commit, and count what is durable.

        Raises
        ------
        StorageError, ManifestError
            If a file was altered since.
        """
        self._read_journal()
        for name, size in self._sizes.items():
            with writing_to(self._folder / name), (self._folder / name).open("ab") as file:
                if file.tell() < size:
                    raise self._damaged(name, f"it has {file.tell()} bytes of {size}")
                file.truncate(size)
                self._written[name] = sha256((self._folder / name).read_bytes())
        self._lmdb.drop_after(self._last_key)
        samples = read_manifest(self._folder / MANIFEST_FILE)
        records = self._lmdb.items()
        for sample, record in zip_longest(samples, records):
            if sample is None or record is None or sample.lmdb_key != record[0]:
                raise self._damaged(MANIFEST_FILE, "its lines are not those of the records")
            if sha256(decode_datum(record[1]).data).hexdigest() != sample.sha256:
                raise self._damaged(_DATA_FILE, f"the record of {sample.key}")
            self._count(sample, *record)
            self._next_index = (sample.index or 0) + 1
        for name, digest in self._durable.items():
            if self._states()[name] != digest:
                raise self._damaged(name, "it is not what was written")

    def _states(self) -> dict[str, str]:
        """Return the digests of all that was written so far."""
        texts = {name: written.hexdigest() for name, written in self._written.items()}
        return {_DATA_FILE: self._digests.content.hexdigest(), **texts}

    def _read_journal(self) -> None:
        """Read what was durable at the last commit; a line that a crash cut off is dropped."""
        if not self._journal.exists():
            return
        lines = list(read_lines(self._journal, StorageError))
        whole = [line for line in lines if line.endswith(b"\n")]
        for number, line in enumerate(whole, 1):
            where = f"{self._journal}:{number}"
            row = Fields(object_of(line, where, StorageError), where, StorageError)
            sizes = row.inner("sizes")
            self.units += row.texts("units")
            self._sizes = {name: sizes.whole(name) for name in _TEXTS}
            self._last_key = row.take("last_key", str).encode()
            written = row.inner("written")
            self._durable = {name: written.take(name, str) for name in self._states()}
        if len(whole) < len(lines):
            write_bytes_durably(self._journal, b"".join(whole))

    def _damaged(self, name: str, reason: str) -> StorageError:
        return StorageError(
            f"{self._folder / name}: damaged: {reason}. Delete {self._folder.parent} and run the "
            "same command again."
        )

    def append(
        self, unit: str, events: Iterable[Event], keep: Callable[[Sample], bool] | None = None
    ) -> None:
        """Append a unit: number its samples and write its records.

        The unit is durable when it is in `units`: after `commit`, which is called for every 64 MB.
        """
        with writing_to(self._folder, RESUME):
            for event in events:
                if isinstance(event, Record):
                    if keep is None or keep(event.sample):
                        self._put(event)
                elif isinstance(event, Failure):
                    if event.kind != "duplicate":  # `finish` finds those of this corpus
                        self._write(FAILURES_FILE, event.to_line())
                elif isinstance(event, VideoBoxes):
                    self._write_boxes(event)
                else:
                    raise TypeError(f"a corpus holds no {type(event).__name__}")
        self._waiting.append(unit)
        if self._waiting_bytes >= _COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Make the appended units durable."""
        if not self._waiting:
            return
        with writing_to(self._folder, RESUME):
            self._lmdb.flush()
            for file in self._files.values():
                sync(file)
            self._sizes = {name: file.tell() for name, file in self._files.items()}
            row = {
                "units": self._waiting,
                "sizes": self._sizes,
                "last_key": self._last_key.decode(),
                "written": self._states(),
            }
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(json_line(row))
                sync(journal)
        self.units += self._waiting
        self._waiting, self._waiting_bytes = [], 0

    def _put(self, record: Record) -> None:
        sample = record.sample
        line = record.line or sample.to_line()
        index = sample.index
        if index is None:
            index = self._next_index
            line = with_index(line, index)
        if index > MAX_INDEX or record.value is None:
            raise StorageError(f"{self._folder}: a corpus holds at most {MAX_INDEX + 1} records.")
        self._last_key = lmdb_key(index, sample.key)
        self._lmdb.put(self._last_key, record.value)
        self._waiting_bytes += len(record.value)
        self._write(MANIFEST_FILE, line)
        self._count(sample, self._last_key, record.value)
        self._next_index = index + 1

    def _count(self, sample: Sample, key: bytes, value: bytes | memoryview) -> None:
        self._guard.check(sample)
        self._digests.add(sample, key, value)
        self._duplicates.add(sample)
        self._counts[sample.cls, sample.split] += 1

    def _write(self, name: str, text: str) -> None:
        data = text.encode()
        self._files[name].write(data)
        self._written[name].update(data)

    def _write_boxes(self, event: VideoBoxes) -> None:
        at_start = self._files[BOXES_FILE].tell() == 0
        text = json_line({event.video: event.boxes}).strip()[1:-1]
        self._write(BOXES_FILE, ("{\n" if at_start else ",\n") + text)

    def finish(self, provenance: Provenance, n_left_out: int = 0) -> CorpusInfo:
        """Write corpus.json, the last file of a corpus, and return its contents."""
        self.commit()
        with writing_to(self._folder, RESUME):
            at_start = self._files[BOXES_FILE].tell() == 0
            self._write(BOXES_FILE, "{}\n" if at_start else "\n}\n")
            if provenance.holds == "faces":  # masks may well be equal
                manifest = self._folder / MANIFEST_FILE
                for failure in self._duplicates.failures(lambda: read_manifest(manifest)):
                    self._write(FAILURES_FILE, failure.to_line())
            for file in self._files.values():
                sync(file)
            info = self._info(provenance, n_left_out)
            with (self._folder / CORPUS_FILE).open("wb") as about_file:
                about_file.write(printable(json_text(info.to_json())).encode())
                sync(about_file)
        return info

    def _info(self, provenance: Provenance, n_left_out: int) -> CorpusInfo:
        failures = Counter(row.kind for row in read_failures(self._folder / FAILURES_FILE))
        return CorpusInfo(
            provenance=provenance,
            n_samples=sum(self._counts.values()),
            counts=nested(self._counts),
            failures=dict(sorted(failures.items())),
            content_sha256=self._digests.content.hexdigest(),
            pixels_sha256=self._digests.pixels.hexdigest(),
            sources_sha256=self._digests.sources.hexdigest(),
            n_left_out=n_left_out,
            files_sha256={name: sha256_of(self._folder / name) for name in sorted(_TEXTS)},
        )
