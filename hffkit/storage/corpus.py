"""Corpus folders, format 1: data.mdb holds Datums alone, the files beside it describe them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from hffkit.errors import ManifestError, StorageError, reading_from, reason_of
from hffkit.input_files import read_lines
from hffkit.json_types import JsonObject
from hffkit.manifest.classes import ClassTable, LabelKind
from hffkit.manifest.lines import read_manifest, sample_of_line
from hffkit.manifest.samples import Sample
from hffkit.media.files import sha256_of
from hffkit.media.image import Image
from hffkit.storage.datum import Datum, decode_datum
from hffkit.storage.lmdb_file import LmdbReader
from hffkit.storage.staging import partial_path
from hffkit.wording import counted

FORMAT = 1
Layout = Literal["native", "packed"]
Holds = Literal["faces", "masks"]

CORPUS_FILE = "corpus.json"
MANIFEST_FILE = "manifest.jsonl"
FAILURES_FILE = "failures.jsonl"
BOXES_FILE = "boxes.json"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The form of a corpus and the command that made it: all of corpus.json that precedes work."""

    classes: ClassTable
    layout: Layout
    size: int | None  # px of packed images; None: native
    labels: LabelKind
    verb: str
    options: Mapping[str, Any]  # all arguments that determine bytes, with the seed
    versions: dict[str, str]  # of the libraries that determine pixels or bytes
    shard: tuple[int, int] | None = None
    holds: Holds = "faces"  # older corpora lack it; masks mark the forged pixels of fakes

    def to_json(self) -> dict[str, object]:
        """Return the provenance as JSON values."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**row, "classes": self.classes.to_json()}

    @classmethod
    def from_json(cls, row: JsonObject) -> "Provenance":
        """Build the provenance from the values that `to_json` returned."""
        known = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        known["classes"] = ClassTable.from_json(row["classes"])
        known["shard"] = None if row["shard"] is None else tuple(row["shard"])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class CorpusInfo:
    """The contents of corpus.json: provenance, counts and digests of a finished corpus."""

    provenance: Provenance
    n_samples: int
    counts: Mapping[str, Mapping[str, int]]  # samples by class, then split
    failures: Mapping[str, int]  # by kind
    content_sha256: str
    pixels_sha256: str
    sources_sha256: str
    n_left_out: int = 0  # samples above the paper's totals
    masks: "CorpusInfo | None" = None  # built beside it, a corpus of their own; not in corpus.json

    def to_json(self) -> dict[str, object]:
        """Return the contents of corpus.json as JSON values."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        del row["provenance"], row["masks"]
        if not self.n_left_out:
            del row["n_left_out"]
        return {"format": FORMAT, **self.provenance.to_json(), **row}

    @classmethod
    def from_json(cls, row: JsonObject) -> "CorpusInfo":
        """Build from the values that `to_json` returned."""
        known = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        return cls(**{**known, "provenance": Provenance.from_json(row)})


def masks_path(faces: Path) -> Path:
    """Return the path of the masks of a corpus of faces: pairs-masks.lmdb for pairs.lmdb."""
    return faces.parent / f"{faces.stem}-masks{faces.suffix}"


@dataclass(slots=True)
class Digests:
    """The three digests of a corpus. Each is over the following bytes of its records in key order.

    - content: length of the key (4 bytes, big-endian), key, the Datum's channels, height, width,
      label and encoded flag in ASCII ("3 128 128 4 0"), the 32 bytes of the sample's sha256, which
      is the digest of the Datum's data;
    - pixels: length of the key, key, the 32 bytes of the sample's pixels_sha256;
    - sources: the sample's source path in UTF-8, a zero byte, the 32 bytes of source_sha256.
    """

    content: Any = field(default_factory=hashlib.sha256)
    pixels: Any = field(default_factory=hashlib.sha256)
    sources: Any = field(default_factory=hashlib.sha256)

    def add(self, sample: Sample, key: bytes, value: bytes | memoryview) -> None:
        """Add the next record; StorageError if the value is not a Datum."""
        head = len(key).to_bytes(4, "big") + key
        datum = decode_datum(value)
        shape = f"{datum.channels} {datum.height} {datum.width} {datum.label} {datum.encoded:d}"
        self.content.update(head + shape.encode() + bytes.fromhex(sample.sha256))
        self.pixels.update(head + bytes.fromhex(sample.pixels_sha256))
        source = sample.source.encode("utf-8", "surrogateescape")  # as in the file system
        self.sources.update(source + b"\0" + bytes.fromhex(sample.source_sha256))

    def to_json(self) -> dict[str, str]:
        """Return the digests in hexadecimal, by their names in corpus.json."""
        return {
            "content_sha256": self.content.hexdigest(),
            "pixels_sha256": self.pixels.hexdigest(),
            "sources_sha256": self.sources.hexdigest(),
        }


def nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Convert counts by (class, split) to counts by class, then split, as in corpus.json."""
    rows: dict[str, dict[str, int]] = {}
    for (name, split), n in sorted(counts.items()):
        rows.setdefault(name, {})[split] = n
    return rows


class CorpusName(NamedTuple):
    """The path of a corpus, and the prefix of its keys and groups among other corpora."""

    path: Path
    prefix: str


class Corpus:
    """A finished corpus, read-only."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        """Read corpus.json; the database is opened by the first read of a record.

        `prefix` goes before the keys and groups of all samples: see `hffkit.storage.datasets`.
        """
        self.path, self.prefix = path, prefix
        try:
            row = json.loads((path / CORPUS_FILE).read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise StorageError(f"{path}: {_lack(path)}") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise StorageError(f"{path / CORPUS_FILE}: cannot be read: {error}") from None
        found = row.get("format") if isinstance(row, dict) else None
        if found != FORMAT:
            raise StorageError(
                f"{path}: corpus format must be {FORMAT}, got {found!r}. "
                "Another version of hffkit made it; use that one or build it again."
            )
        try:
            self.info = CorpusInfo.from_json(row)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path / CORPUS_FILE}: damaged: {reason_of(error)}.") from None
        self.provenance = self.info.provenance
        self.n_samples = self.info.n_samples
        self.content_sha256 = self.info.content_sha256
        self.records = LmdbReader(path)

    def label(self, sample: Sample) -> int:
        """Return the label that the sample's Datum must have."""
        return self.provenance.classes.label(sample.cls, self.provenance.labels)

    @property
    def name(self) -> CorpusName:
        """The arguments that open this corpus again, in another process."""
        return CorpusName(self.path, self.prefix)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in manifest order, which is key order."""
        return map(self._prefixed, read_manifest(self.path / MANIFEST_FILE))

    def open_manifest(self) -> IO[bytes]:
        """Open the manifest, for `sample_at`."""
        path = self.path / MANIFEST_FILE
        with reading_from(path, ManifestError):
            return path.open("rb")

    def sample_at(self, line: bytes, start: int) -> Sample:
        """Parse the line of the manifest that begins at byte `start`."""
        return self._prefixed(sample_of_line(line, f"{self.path} at byte {start}"))

    def _prefixed(self, sample: Sample) -> Sample:
        if not self.prefix:
            return sample
        return sample._replace(key=self.prefix + sample.key, group=self.prefix + sample.group)

    def lmdb_key(self, sample: Sample) -> bytes:
        """Return the key of a sample's record in this corpus."""
        if not self.prefix:
            return sample.lmdb_key
        return sample._replace(key=sample.key.removeprefix(self.prefix)).lmdb_key

    def value(self, sample: Sample) -> bytes:
        """Read the record of a sample, as it is stored."""
        return self.records.get(self.lmdb_key(sample))

    def line_starts(self) -> Iterator[int]:
        """Yield the byte where each line of the manifest begins.

        Raises
        ------
        ManifestError
            If the manifest cannot be read, or its number of lines is not that of the samples.
        """
        path = self.path / MANIFEST_FILE
        start = n_lines = 0
        for line in read_lines(path, ManifestError):
            yield start
            start += len(line)
            n_lines += 1
        if n_lines != self.n_samples:
            raise ManifestError(
                f"{path}: {counted(n_lines, 'line')} for {counted(self.n_samples, 'sample')}. "
                "Copy the corpus again."
            )

    def manifest_sha256(self) -> str:
        """Compute the SHA-256 of the manifest; it covers splits and groups, content_sha256 none."""
        return sha256_of(self.path / MANIFEST_FILE)

    def identity(self) -> dict[str, str]:
        """Return the digests by which a run records its data."""
        return {"content_sha256": self.content_sha256, "manifest_sha256": self.manifest_sha256()}

    def datum(self, sample: Sample) -> Datum:
        """Read the record of a sample."""
        return decode_datum(self.value(sample))

    def image(self, sample: Sample) -> Image:
        """Read the pixels of a sample: (H, W, 3) uint8 RGB."""
        return self.datum(sample).image()

    def grey(self, sample: Sample) -> Image:
        """Read a sample as (H, W) uint8 grey; see `Datum.grey`."""
        return self.datum(sample).grey()


def _lack(path: Path) -> str:
    """Return what is there in place of a corpus, and what to do."""
    partial = partial_path(path)
    if partial.is_dir():
        return f"no corpus. {partial} is unfinished work: run the command that began it again."
    if not path.exists():
        return "no such corpus. Name the folder that `hffkit build` wrote."
    if path.is_file():
        return "a file, no corpus. Name the folder that `hffkit build` wrote."
    if (path / "data.mdb").is_file():
        return "a bare LMDB, no corpus. Read it with hffkit.storage.lmdb_file.LmdbReader."
    return f"no corpus: the folder holds no {CORPUS_FILE}. Corpora are made by `hffkit build`."
