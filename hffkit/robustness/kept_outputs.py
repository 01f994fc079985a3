"""Outputs of detectors, kept beside the corpus: finished ones, and those of interrupted runs."""

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from hffkit.arrays import array_of
from hffkit.degrade.rework import Treatment
from hffkit.errors import StorageError
from hffkit.execution.versions import LIBRARIES, versions
from hffkit.inference.detector import Detector
from hffkit.inference.intake import Outputs
from hffkit.input_files import read_bounded
from hffkit.storage.corpora import identities
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items
from hffkit.storage.staging import write_bytes_durably

FORMAT = 2
SUFFIX = ".robustness"  # data.lmdb.robustness/, beside data.lmdb
_DIGITS = 32
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class KeptOutputs:
    """The outputs of one detector for samples under one treatment.

    The file holds those of the first samples, as many as were scored, and its own digest. Its name
    is a digest of all that decides them, so it is never out of date.
    """

    path: Path
    n_samples: int
    n_columns: int  # outputs of the detector for a sample
    is_writable: bool

    def read(self) -> Outputs | None:
        """Return the outputs (n, C) of the first n samples; None if there is no intact file."""
        with suppress(StorageError, ValueError):
            data = read_bounded(self.path, StorageError)
            array, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
            if hashlib.sha256(array).digest() != digest:
                return None
            found = array_of(array)
            is_table = found.shape[1:] == (self.n_columns,) and found.dtype.kind == "f"
            if is_table and len(found) <= self.n_samples and np.isfinite(found).all():
                return found
        return None

    def write(self, outputs: Outputs) -> None:
        """Replace the file by the outputs (n, C) of the first n samples."""
        if self.is_writable:
            file = io.BytesIO()
            np.save(file, outputs, allow_pickle=False)
            data = file.getvalue()
            write_bytes_durably(self.path, data + hashlib.sha256(data).digest())


class Shelf:
    """The folder of kept outputs beside a corpus, for samples selected of it."""

    def __init__(self, corpora: Sequence[Corpus], items: Items) -> None:
        """Create the folder beside the first corpus; without write access nothing is kept."""
        corpus = corpora[0].path.resolve()
        self.folder = corpus.parent / f"{corpus.name}{SUFFIX}"
        self.n_samples = len(items)
        keys = hashlib.sha256()
        for _, sample in items:
            keys.update(sample.key.encode("utf-8", "surrogateescape") + b"\0")
        self._data = {
            "format": FORMAT,
            **identities(corpora),
            "keys": keys.hexdigest(),
            "versions": versions(*LIBRARIES),
        }
        self.is_writable = _is_writable(self.folder)

    def place(self, detector: Detector, treatment: Treatment) -> KeptOutputs:
        """Return where the outputs of a detector under a treatment are kept."""
        about = {
            **self._data,
            "weights": detector.weights_sha256,
            "intake": repr(detector.intake),
            "classes": detector.run.classes.to_json(),
            "network": detector.run.network,
            "operations": treatment.names,
            "own": None if treatment.own is None else treatment.own.sha256,
            "stage": treatment.stage,
            "size": treatment.size,
            "seed": treatment.seed,
        }
        text = json.dumps(about, sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]
        n_columns = len(detector.run.classes.names) if detector.spectrum is None else 1
        return KeptOutputs(
            self.folder / f"{digest}.npy", self.n_samples, n_columns, self.is_writable
        )


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
