"""Outputs of detectors, kept beside the corpus: finished ones, and those of interrupted runs."""

import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hffkit.arrays import array_of
from hffkit.degrade.rework import Treatment
from hffkit.errors import StorageError
from hffkit.inference.detector import Detector
from hffkit.inference.intake import Outputs
from hffkit.inference.shelf import Shelf
from hffkit.input_files import read_bounded
from hffkit.storage.staging import write_bytes_durably

FORMAT = 2
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


def kept_outputs(shelf: Shelf, detector: Detector, treatment: Treatment) -> KeptOutputs:
    """Return where the outputs of a detector for the samples of a shelf are kept."""
    digest = shelf.digest(
        detector,
        format=FORMAT,
        operations=treatment.names,
        own=None if treatment.own is None else treatment.own.sha256,
        stage=treatment.stage,
        size=treatment.size,
        seed=treatment.seed,
    )
    n_columns = len(detector.run.classes.names) if detector.spectrum is None else 1
    path = shelf.folder / f"{digest}.npy"
    return KeptOutputs(path, shelf.n_samples, n_columns, shelf.is_writable)
