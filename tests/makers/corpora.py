"""Small corpora on the disk whose records hold texts instead of images."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hffkit.manifest.classes import numbered
from hffkit.manifest.samples import Sample, Split
from hffkit.storage.corpus import Corpus, Provenance
from hffkit.storage.datum import Datum, encode_datum
from hffkit.storage.parts import Record
from hffkit.storage.writer import CorpusWriter

PROVENANCE = Provenance(
    classes=numbered(["Glow"], ["Real"]),
    size=None,
    labels="multi",
    verb="build",
    options={"seed": 0},
    versions={"opencv": "5"},
)


def text_sample(key: str, cls: str = "Real", split: Split = "train", content: str = "") -> Sample:
    """A sample in a group of its own; its file is at the path `key`, with `content` or the key."""
    file, pixels = (
        hashlib.sha256(text.encode()).hexdigest() for text in (content or key, f"pixels of {key}")
    )
    return Sample(key, cls, split, key, key, file, None, None, None, file, pixels)


def text_corpus(path: Path, samples: Sequence[Sample], **provenance: Any) -> Corpus:
    """Write samples, in this order, to the corpus `path`."""
    about = replace(PROVENANCE, **provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with CorpusWriter(path) as writer:
        for sample in samples:
            label = about.classes.label(sample.cls, about.labels)
            datum = Datum(sample.key.encode(), label, encoded=True)
            writer.append(sample.key, [Record(sample, encode_datum(datum))])
        writer.finish(about)
    return Corpus(path)
