"""Corpus folders, format 1: data.mdb holds Datums alone, the files beside it describe them."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast, get_args

from hffkit.errors import ManifestError, StorageError, reading_from
from hffkit.fields import Fields, shown
from hffkit.input_files import is_there, read_lines, read_object
from hffkit.json_types import JsonObject
from hffkit.manifest.classes import ClassTable, LabelKind
from hffkit.manifest.failures import FailureKind
from hffkit.manifest.lines import SHA256, is_sha256, read_manifest, sample_of_line
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.media.files import sha256_of
from hffkit.media.image import Image
from hffkit.storage.datum import Datum, decode_datum
from hffkit.storage.digests import OWN_SHA256, own_sha256
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
    size: int | None  # px of packed images; None: native
    labels: LabelKind
    verb: str
    options: Mapping[str, Any]  # all arguments that determine bytes, with the seed
    versions: dict[str, str]  # of the libraries that determine pixels or bytes
    shard: tuple[int, int] | None = None
    holds: Holds = "faces"  # older corpora lack it; masks mark the forged pixels of fakes

    @property
    def layout(self) -> Layout:
        """The form of the records: native images, or packed pixels of one size."""
        return "native" if self.size is None else "packed"

    def to_json(self) -> dict[str, object]:
        """Return the provenance as JSON values."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**row, "classes": self.classes.to_json(), "layout": self.layout}

    @classmethod
    def from_json(cls, found: Fields) -> "Provenance":
        """Build the provenance from the values that `to_json` returned."""
        size = None if found.optional("size", int) is None else found.whole("size", 1)
        layout = found.one_of("layout", get_args(Layout))
        if (layout == "packed") != (size is not None):
            raise found.wrong("size", f"that of a {layout} corpus")
        versions = found.inner("versions")
        if not found.take("classes", list):
            raise found.wrong("classes", "a list of classes")
        return cls(
            classes=ClassTable.from_json(found.row.get("classes"), found.where),
            size=size,
            labels=cast(LabelKind, found.one_of("labels", get_args(LabelKind))),
            verb=found.take("verb", str),
            options=found.take("options", dict),
            versions={name: versions.take(name, str) for name in versions.row},
            shard=_shard_of(found),
            holds=cast(Holds, found.one_of("holds", get_args(Holds)))
            if "holds" in found.row
            else "faces",
        )


def _shard_of(found: Fields) -> tuple[int, int] | None:
    if found.optional("shard", list) is None:
        return None
    shard = found.row["shard"]
    if [type(value) for value in shard] == [int, int] and 0 <= shard[0] < shard[1]:
        return shard[0], shard[1]
    raise found.wrong("shard", "null, or [I, N] with I below N")


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
    files_sha256: Mapping[str, str] = field(default_factory=dict)  # by name; older corpora lack it
    masks: "CorpusInfo | None" = None  # built beside it, a corpus of their own; not in corpus.json

    def to_json(self) -> dict[str, object]:
        """Return the contents of corpus.json as JSON values."""
        row = {each.name: getattr(self, each.name) for each in fields(self)}
        del row["provenance"], row["masks"]
        if not self.n_left_out:
            del row["n_left_out"]
        row = {"format": FORMAT, **self.provenance.to_json(), **row}
        if not self.files_sha256:
            del row["files_sha256"]
            return row
        return {**row, OWN_SHA256: own_sha256(row)}

    @classmethod
    def from_json(cls, row: JsonObject, where: str) -> "CorpusInfo":
        """Build from the values that `to_json` returned; messages begin with `where`, their file.

        Raises
        ------
        StorageError, ManifestError
            If a value has another type or range, or is not as it was written.
        """
        found = Fields(row, where, StorageError)
        files = found.inner("files_sha256") if "files_sha256" in row else None
        own = row.get(OWN_SHA256)
        if (files is not None or own is not None) and own != own_sha256(row):
            raise StorageError(
                f"{where}: was altered after the corpus was made: {OWN_SHA256} is not the digest "
                "of the rest. Copy the corpus again, or make it again."
            )
        provenance = Provenance.from_json(found)
        n_samples = found.whole("n_samples")
        counts = {name: _whole_by_name(each, SPLITS) for name, each in _inner(found, "counts")}
        if sum(sum(splits.values()) for splits in counts.values()) != n_samples:
            raise found.wrong("n_samples", "the sum of the counts")
        return cls(
            provenance=provenance,
            n_samples=n_samples,
            counts=counts,
            failures=_whole_by_name(found.inner("failures"), get_args(FailureKind)),
            content_sha256=_digest(found, "content_sha256"),
            pixels_sha256=_digest(found, "pixels_sha256"),
            sources_sha256=_digest(found, "sources_sha256"),
            n_left_out=found.whole("n_left_out") if "n_left_out" in row else 0,
            files_sha256={} if files is None else {n: _digest(files, n) for n in files.row},
        )


def _inner(found: Fields, name: str) -> Iterator[tuple[str, Fields]]:
    table = found.inner(name)
    return ((each, table.inner(each)) for each in table.row)


def _whole_by_name(found: Fields, known: Collection[str]) -> dict[str, int]:
    found.check_known(known)
    return {name: found.whole(name) for name in found.row}


def _digest(found: Fields, name: str) -> str:
    value = found.take(name, str)
    if not is_sha256(value):
        raise found.wrong(name, SHA256)
    return value


def masks_path(faces: Path) -> Path:
    """Return the path of the masks of a corpus of faces: pairs-masks.lmdb for pairs.lmdb."""
    return faces.parent / f"{faces.stem}-masks{faces.suffix}"


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
        about = path / CORPUS_FILE
        if not is_there(about):
            raise StorageError(f"{path}: {_lack(path)}")
        row = read_object(about, StorageError)
        found = row.get("format")
        if type(found) is not int or found != FORMAT:
            raise StorageError(
                f"{path}: corpus format must be {FORMAT}, got {shown(found)}. "
                "Another version of hffkit made it; use that one or build it again."
            )
        self.info = CorpusInfo.from_json(row, str(about))
        self.provenance = self.info.provenance
        self.n_samples = self.info.n_samples
        self.content_sha256 = self.info.content_sha256
        self.records = LmdbReader(path)
        self._found_sha256: dict[str, str] = {}  # of files, by name
        self._checked = bytearray()  # a bit for each index: set once the record was found sound

    def label(self, sample: Sample) -> int:
        """Return the label that the sample's Datum must have."""
        return self.provenance.classes.label(sample.cls, self.provenance.labels)

    @property
    def name(self) -> CorpusName:
        """The arguments that open this corpus again, in another process."""
        return CorpusName(self.path, self.prefix)

    def file(self, name: str) -> Path:
        """Return the path of a file beside the records, once it was compared with its digest.

        Raises
        ------
        ManifestError
            If it is not the file that corpus.json describes.
        """
        reason = self.alteration(name)
        if reason is not None:
            raise ManifestError(
                f"{self.path / name}: {reason}. Copy the corpus again, or make it again."
            )
        return self.path / name

    def alteration(self, name: str) -> str | None:
        """Return how a file beside the records differs from the one that corpus.json describes.

        None if it does not, and for corpora of older versions, which have no digests of files.
        """
        recorded = self.info.files_sha256.get(name)
        if recorded is None or self._sha256(name) == recorded:
            return None
        return (
            f"was altered after the corpus was made: its SHA-256 is {self._sha256(name)}, and "
            f"{CORPUS_FILE} has {recorded}"
        )

    def _sha256(self, name: str) -> str:
        if name not in self._found_sha256:
            with reading_from(self.path / name, ManifestError):
                self._found_sha256[name] = sha256_of(self.path / name)
        return self._found_sha256[name]

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in manifest order, which is key order."""
        self.file(MANIFEST_FILE)
        return self.samples_as_found()

    def samples_as_found(self) -> Iterator[Sample]:
        """Yield the samples of the manifest even if it was altered."""
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
        """Read the record of a sample, as it is stored; see `datum`."""
        value = self.records.get(self.lmdb_key(sample))
        self._check(sample, decode_datum(value))
        return value

    def line_starts(self) -> Iterator[int]:
        """Yield the byte where each line of the manifest begins.

        Raises
        ------
        ManifestError
            If the manifest cannot be read, or its number of lines is not that of the samples.
        """
        path = self.file(MANIFEST_FILE)
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
        """Return the SHA-256 of the manifest; unlike content_sha256 it covers splits and groups."""
        self.file(MANIFEST_FILE)
        return self._sha256(MANIFEST_FILE)

    def identity(self) -> dict[str, str]:
        """Return the digests by which a run records its data."""
        return {"content_sha256": self.content_sha256, "manifest_sha256": self.manifest_sha256()}

    def datum(self, sample: Sample) -> Datum:
        """Read the record of a sample.

        Raises
        ------
        StorageError
            If it is not the record that the manifest describes, which is tested the first time.
        """
        datum = decode_datum(self.records.get(self.lmdb_key(sample)))
        self._check(sample, datum)
        return datum

    def _check(self, sample: Sample, datum: Datum) -> None:
        place, bit = divmod(sample.index or 0, 8)
        if place >= len(self._checked):
            self._checked.extend(bytes(place + 1 - len(self._checked)))
        if not self._checked[place] >> bit & 1:
            for reason in self.faults(sample, datum):
                raise StorageError(
                    f"{self.path}: {sample.key}: {reason}. `hffkit verify` finds all such records."
                )
            self._checked[place] |= 1 << bit

    def faults(self, sample: Sample, datum: Datum) -> Iterator[str]:
        """Yield each difference of a record from its sample and from the form of the corpus."""
        if sample.cls not in self.provenance.classes.names:
            yield f"class {sample.cls!r} is not in the class table"
        elif datum.label != self.label(sample):
            yield f"label is {datum.label}, class {sample.cls} has {self.label(sample)}"
        size = self.provenance.size
        shape = datum.channels, datum.height, datum.width
        if datum.encoded != (size is None) or shape != (
            (0,) * 3 if size is None else (3, size, size)
        ):
            form = "an encoded" if datum.encoded else "a raw"
            where = "a native corpus" if size is None else f"a corpus packed at {size}"
            yield f"is {form} Datum of shape {shape} in {where}"
        if hashlib.sha256(datum.data).hexdigest() != sample.sha256:
            yield "sha256 of the stored bytes differs"

    def image(self, sample: Sample) -> Image:
        """Read the pixels of a sample: (H, W, 3) uint8 RGB."""
        return self.datum(sample).image()

    def grey(self, sample: Sample) -> Image:
        """Read a sample as (H, W) uint8 grey; see `Datum.grey`."""
        return self.datum(sample).grey()


def _lack(path: Path) -> str:
    """Say what is there instead of a corpus, and what to do."""
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
