"""Facial landmarks by a dlib shape predictor; hffkit ships none."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from hffkit.errors import CorpusError, reading_from
from hffkit.faces.detection import Face
from hffkit.faces.outline import N_LANDMARKS, Points
from hffkit.media.files import sha256_of
from hffkit.media.image import Image

_N_HEX = 16  # digits of the file's SHA-256 in manifests


@dataclass(frozen=True, slots=True)
class Predictor:
    """The file of a dlib shape predictor; each worker loads it itself."""

    path: Path
    sha256: str

    def __str__(self) -> str:
        return f"{self.path.name} {self.sha256[:_N_HEX]}"


def predictor_of(path: Path) -> Predictor:
    """Check a file such as shape_predictor_68_face_landmarks.dat and return its predictor.

    Raises
    ------
    CorpusError
        If the file is missing, is no shape predictor, or predicts other than 68 points.
    """
    digest = _digest_of(path)
    found = _loaded(path, digest)(np.zeros((64, 64), np.uint8), dlib.rectangle(8, 8, 56, 56))
    if found.num_parts != N_LANDMARKS:
        raise CorpusError(
            f"{path}: must predict the {N_LANDMARKS} points of iBUG 300-W, got {found.num_parts}."
        )
    return Predictor(path, digest)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, sha256: str) -> Any:
    """Load the predictor, unless its file changed or this worker's machine has another one."""
    if _digest_of(path) != sha256:
        raise CorpusError(
            f"{path}: not the file that the command began with. Run the command again, with the "
            "same file on every machine."
        )
    try:
        return dlib.shape_predictor(str(path))
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:80]
        raise CorpusError(
            f"{path}: no dlib shape predictor ({reason}). Pass one of 68 landmarks, unpacked."
        ) from None


def _digest_of(path: Path) -> str:
    with reading_from(path, CorpusError):
        return sha256_of(path)


def landmarks_of(predictor: Predictor, image: Image, face: Face) -> Points:
    """Predict the landmarks of a face.

    Parameters
    ----------
    predictor : Predictor
        From `predictor_of`.
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB; the two give slightly different points.
    face : Face
        A detection of dlib's frontal detector: predictors are trained on its boxes.

    Returns
    -------
    (68, 2) int32
        x and y in pixels of the image.

    Raises
    ------
    CorpusError
        If the file cannot be read, or is no longer the one of `predictor`.
    """
    edges = dlib.rectangle(face.left, face.top, face.right, face.bottom)
    found = _loaded(predictor.path, predictor.sha256)(np.ascontiguousarray(image), edges)
    return np.array([(point.x, point.y) for point in found.parts()], np.int32)
