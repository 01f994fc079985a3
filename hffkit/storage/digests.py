"""The digests in corpus.json: of records in their order, and of its own values."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hffkit.manifest.samples import Sample
from hffkit.storage.datum import decode_datum

OWN_SHA256 = "own_sha256"


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


def own_sha256(row: Mapping[str, object]) -> str:
    """Return the digest of the other values of corpus.json, which it holds itself."""
    rest = {name: value for name, value in row.items() if name != OWN_SHA256}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
