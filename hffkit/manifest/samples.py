"""Samples and the manifest of a corpus: one JSON object a line."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from hffkit.errors import ManifestError, UnknownNameError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MAX_KEY_BYTES = 511  # LMDB's limit for `lmdb_key`
Box = tuple[int, int, int]
"""A square crop: x and y of its top left corner and its size, in pixels."""


def split_named(name: str) -> Split:
    """Return the split called `name`."""
    for split in SPLITS:
        if split == name:
            return split
    raise UnknownNameError("split", name, SPLITS)


class Sample(NamedTuple):
    """One face image and what is known about it; holds no pixels.

    `index` numbers the record in its corpus and is None until the corpus is written. A named tuple,
    for there are millions: it is made and changed more quickly than a frozen dataclass.
    """

    key: str  # unique in the corpus: "ff++/c23/Deepfakes/000_003/0042"
    cls: str  # a name of the corpus's class table
    split: Split
    group: str  # never crosses a split; FF++: the official pair, both videos and their forgeries
    source: str  # path of the file the pixels are from, relative to the source's root
    source_sha256: str  # of that file
    frame: int | None  # counted from 0; None for an image
    box: Box | None  # the crop taken from the image or frame; None if it is whole
    detector: str | None  # what found box or outline: settings, and the file it looked at
    sha256: str  # of the bytes in the Datum's data field; equals source_sha256 if untouched
    pixels_sha256: str  # of the decoded pixels: see hffkit.media.image.pixels_sha256
    operations: tuple[dict[str, Any], ...] = ()  # post-processing, with its drawn parameters
    index: int | None = None  # type: ignore[assignment]  # a tuple's index() is hidden

    @property
    def lmdb_key(self) -> bytes:
        """The key of the record: eight digits, an underscore, the sample key."""
        if self.index is None:
            raise ValueError(f"sample {self.key!r} has no index yet")
        return lmdb_key(self.index, self.key)

    def to_line(self) -> str:
        """Return the sample as one line of JSON: sorted keys, UTF-8, LF at the end."""
        return json_line(self._asdict())

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Sample":
        """Return the sample of one parsed line; unknown and missing fields are errors."""
        if row.keys() != _FIELDS:
            wrong = sorted(row.keys() ^ _FIELDS)
            raise ManifestError(f"a sample has missing or unknown fields: {', '.join(wrong)}.")
        if row["split"] not in SPLITS:
            raise ManifestError(f"split must be one of {', '.join(SPLITS)}, got {row['split']!r}.")
        try:
            for name in ("source_sha256", "sha256", "pixels_sha256"):
                if len(bytes.fromhex(row[name])) != _SHA256_BYTES:
                    raise ValueError(f"{name} is no SHA-256")
            box = row["box"]
            if box is not None:
                x, y, size = map(int, box)
                box = (x, y, size)
        except (TypeError, ValueError) as error:
            raise ManifestError(f"a sample is damaged: {error}.") from None
        return cls(**{**row, "box": box, "operations": tuple(row["operations"])})


_SHA256_BYTES = 32
_FIELDS = frozenset(Sample._fields)


def lmdb_key(index: int, key: str) -> bytes:
    """Return the key of the record of the sample called `key`, the `index`-th in its corpus."""
    return b"%08d_%b" % (index, key.encode())


def with_index(line: str, index: int) -> str:
    """Return a line that `to_line` wrote of a sample without index as it is with one."""
    return line.replace('"index":null', f'"index":{index}', 1)  # first of its keys, in no text


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def json_line(row: dict[str, Any]) -> str:
    """Return `row` as one line of JSON in the only form that hffkit writes.

    Bytes of a path that are no UTF-8 come out as JSON's escapes of lone surrogates.
    """
    return printable(_ENCODER.encode(row) + "\n")


def printable(text: str) -> str:
    """Return `text` with bytes of a path that are no UTF-8 written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file.

    Raises
    ------
    ManifestError
        If the file is not there or a line is no JSON object.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _json_of_line(line, f"{path}:{number}")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}).") from error


def _json_of_line(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ManifestError(f"{where}: must be UTF-8: {error}.") from error
    except json.JSONDecodeError as error:
        raise ManifestError(f"{where}: no JSON: {error}.") from error
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: must be a JSON object, got {row!r}.")
    return row


def sample_of_line(line: bytes, where: str) -> Sample:
    """Return the sample of one line of a manifest; `where` that is goes into a ManifestError."""
    row = _json_of_line(line, where)
    try:
        sample = Sample.from_json(row)
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from error
    if sample.index is None:
        raise ManifestError(f"{where}: the sample has no index.")
    return sample


def read_manifest(path: Path) -> Iterator[Sample]:
    """Yield the samples of a manifest in order, without holding them in memory."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield sample_of_line(line, f"{path}:{number}")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}).") from error


def leak(group: str, one: tuple[str, Split], other: tuple[str, Split]) -> ManifestError:
    """Return the error for a group that is in two splits, with a member of each."""
    return ManifestError(
        f"Group {group!r} leaks across splits: {one[0]!r} is {one[1]}, {other[0]!r} is "
        f"{other[1]}. Split by group, not by frame."
    )


class GroupGuard:
    """Checks samples one by one: no key twice, no group in two splits."""

    def __init__(self) -> None:
        self._split_of: dict[str, tuple[Split, str]] = {}
        self._keys: set[int] = set()

    def check(self, sample: Sample) -> None:
        """Raise ManifestError if `sample` does not fit those seen before."""
        digest = hash(sample.key)  # 8 bytes instead of the key: millions of samples fit
        if digest in self._keys:
            raise ManifestError(f"Sample key {sample.key!r} occurs twice.")
        self._keys.add(digest)
        self.check_group(sample)

    def check_group(self, sample: Sample) -> None:
        """Raise ManifestError if the sample's group was in another split before."""
        split, key = self._split_of.setdefault(sample.group, (sample.split, sample.key))
        if split != sample.split:
            raise leak(sample.group, (key, split), (sample.key, sample.split))


@dataclass(frozen=True, slots=True)
class Counts:
    """Samples and groups for each (class, split)."""

    samples: dict[tuple[str, Split], int]
    groups: dict[tuple[str, Split], int]


def count(samples: Iterable[Sample]) -> Counts:
    """Return how many samples and groups each class has in each split."""
    n_samples: Counter[tuple[str, Split]] = Counter()
    groups: dict[tuple[str, Split], set[str]] = {}
    for sample in samples:
        cell = (sample.cls, sample.split)
        n_samples[cell] += 1
        groups.setdefault(cell, set()).add(sample.group)
    return Counts(dict(n_samples), {cell: len(names) for cell, names in groups.items()})
