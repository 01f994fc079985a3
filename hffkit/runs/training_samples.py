"""Fingerprints of the samples that a run was trained on, to find them in other corpora.

A sample has two fingerprints of 8 bytes: of its stored pixels, and of the frame (or image file)
that they were taken from. The second finds it again after resizing, cropping and operations. The
fingerprints of 372,000 samples are a file of 6 MB. Two different samples share one by chance with
a probability of 2^-64, so 372,000 samples against 100,000 others do with about 8e-9.
"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Bools, array_of
from hffkit.errors import WeightsError
from hffkit.input_files import is_there, read_bounded
from hffkit.manifest.samples import Sample
from hffkit.storage.staging import write_bytes_durably

SAMPLES_FILE = "training-samples.npy"
SELECTION_FILE = "selection-samples.npy"  # of the validation samples that chose the weights
_BYTES = 8
_TYPE = np.dtype("<u8")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSamples:
    """The samples that a run was trained on."""

    fingerprints: npt.NDArray[np.uint64]  # ascending, each once

    def hold(self, samples: Iterable[Sample]) -> Bools:
        """Return (N,) True where a sample has the pixels or the origin of a training sample."""
        known = np.isin(_fingerprints(samples), self.fingerprints)
        return known[:, 0] | known[:, 1]

    def hold_any(self, source_sha256: str, frames: Iterable[int | None]) -> bool:
        """Test if a frame of a file is the origin of a training sample; None is an image file."""
        origins = np.array([_origin(source_sha256, frame) for frame in frames], np.uint64)
        return bool(np.isin(origins, self.fingerprints).any())


def write_training_samples(
    folder: Path,
    samples: Iterable[Sample],
    earlier: TrainingSamples | None,
    name: str = SAMPLES_FILE,
) -> None:
    """Write the fingerprints of samples, and of those of an earlier training (None: none)."""
    found = np.unique(_fingerprints(samples))
    if earlier is not None:
        found = np.union1d(found, earlier.fingerprints)
    file = io.BytesIO()
    np.save(file, found.astype(_TYPE), allow_pickle=False)
    write_bytes_durably(folder / name, file.getvalue())


def read_training_samples(folder: Path, name: str = SAMPLES_FILE) -> TrainingSamples | None:
    """Return the samples that a run was trained on, or those of another file of the same form.

    None if the run has no record of them.

    Raises
    ------
    WeightsError
        If the record is damaged.
    """
    path = folder / name
    if not is_there(path):
        return None
    try:
        found = array_of(read_bounded(path, WeightsError))
    except ValueError as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Copy the run again.") from None
    if found.dtype != _TYPE or found.ndim != 1:
        raise WeightsError(f"{path}: damaged: it holds no list of fingerprints.")
    return TrainingSamples(found.astype(np.uint64))


def _fingerprints(samples: Iterable[Sample]) -> npt.NDArray[np.uint64]:
    """Return the fingerprints of samples, (N, 2): of pixels and of origin."""
    rows = [
        number
        for sample in samples
        for number in (_pixels(sample), _origin(sample.source_sha256, sample.frame))
    ]
    return np.array(rows, np.uint64).reshape(-1, 2)


def _pixels(sample: Sample) -> int:
    return int(sample.pixels_sha256[: 2 * _BYTES], 16)


def _origin(source_sha256: str, frame: int | None) -> int:
    origin = f"{source_sha256} {frame}".encode()
    return int.from_bytes(hashlib.blake2b(origin, digest_size=_BYTES).digest(), "big")
