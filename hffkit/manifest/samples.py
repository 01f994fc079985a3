"""Samples and the manifest of a corpus: one JSON object a line."""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from hffkit.errors import ManifestError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MAX_KEY_BYTES = 511  # LMDB's limit for `lmdb_key`
MAX_INDEX = 10**8 - 1  # eight digits: up to here keys sort as numbers
Box = tuple[int, int, int]
"""A square crop: x and y of its top left corner and its size, in pixels."""


class Sample(NamedTuple):
    """The facts about one face image, without its pixels.

    `index` is the number of the record in its corpus; it is None until the corpus is written.
    Corpora have millions of samples, and a named tuple is created faster than a frozen dataclass.
    """

    key: str  # unique in the corpus: "ff++/c23/Deepfakes/000_003/0042"
    cls: str  # a name of the corpus's class table
    split: Split
    group: str  # never crosses a split; FF++: the official pair, both videos and their forgeries
    source: str  # path of the file the pixels are from, relative to the source's root
    source_sha256: str  # of that file
    frame: int | None  # counted from 0; None for an image
    box: Box | None  # the crop taken from the image or frame; None if it is whole
    detector: str | None  # settings and input file of the detector that gave box or outline
    sha256: str  # of the Datum's data; equals source_sha256 if the file is stored as it is
    pixels_sha256: str  # of the decoded pixels: see hffkit.media.image.pixels_sha256
    operations: tuple[Mapping[str, Any], ...] = ()  # with their drawn parameters
    index: int | None = None  # type: ignore[assignment]  # hides tuple.index
    facts: Mapping[str, str | int | float] | None = None  # of the source file, if it is not stored

    @property
    def lmdb_key(self) -> bytes:
        """The key of the record in data.mdb: see `lmdb_key`."""
        if self.index is None:
            raise ValueError(f"sample {self.key!r} has no index yet")
        return lmdb_key(self.index, self.key)

    def to_line(self) -> str:
        """Return the sample as one line of JSON: sorted keys, UTF-8, LF at the end."""
        row = self._asdict()
        if self.facts is None:  # as in the lines of older corpora
            del row["facts"]
        return json_line(row)


def lmdb_key(index: int, key: str) -> bytes:
    """Return the key of a record: its number in eight digits, an underscore, the sample key."""
    return b"%08d_%b" % (index, key.encode())


def with_index(line: str, index: int) -> str:
    """Insert the index into a line that `to_line` returned for a sample without one."""
    # No text can contain the pattern, for its quotes are escaped.
    return line.replace('"index":null', f'"index":{index}', 1)


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def json_line(row: Mapping[str, object]) -> str:
    """Return `row` as one line of JSON with sorted keys, the form of all our JSON Lines files.

    Bytes of a path that are not UTF-8 become JSON escapes of lone surrogates.
    """
    return printable(_ENCODER.encode(row) + "\n")


def json_text(row: Mapping[str, object]) -> str:
    """Return `row` as the text of a JSON file with sorted keys, the form of most of ours."""
    return json.dumps(row, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def printable(text: str) -> str:
    """Return `text` with escapes for bytes of a path that are not UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class GroupGuard:
    """Checks, sample by sample, that no key occurs twice and no group is in two splits."""

    def __init__(self) -> None:
        self._split_of: dict[str, tuple[Split, str]] = {}
        self._keys: set[int] = set()

    def check(self, sample: Sample) -> None:
        """Raise ManifestError if the sample's key or group conflicts with an earlier sample."""
        digest = hash(sample.key)  # 8 bytes for each of millions of keys
        if digest in self._keys:
            raise ManifestError(
                f"Sample key {sample.key!r} occurs twice: the corpora hold the same files. Leave "
                "out all but one of them."
            )
        self._keys.add(digest)
        self.check_group(sample.group, sample.split, sample.key)

    def check_group(self, group: str, split: Split, member: str) -> None:
        """Raise ManifestError if an earlier member of the group is in another split."""
        known, other = self._split_of.setdefault(group, (split, member))
        if known != split:
            raise ManifestError(
                f"Group {group!r} leaks across splits: {other!r} is {known}, {member!r} is "
                f"{split}. Split by group, not by frame."
            )
