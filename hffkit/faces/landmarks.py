"""Landmarks found in faces by a predictor of dlib's, which users bring along."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from hffkit.errors import CorpusError
from hffkit.faces.detection import Face
from hffkit.faces.outline import N_LANDMARKS, Points
from hffkit.media.image import Image

_N_HEX = 16  # digits of the file's digest that stand in manifests


@dataclass(frozen=True, slots=True)
class Predictor:
    """A file of dlib's shape predictor, which workers load for themselves."""

    path: Path
    sha256: str

    def __str__(self) -> str:
        return f"{self.path.name} {self.sha256[:_N_HEX]}"


def predictor_of(path: Path) -> Predictor:
    """Return the predictor of a file such as shape_predictor_68_face_landmarks.dat.

    Raises
    ------
    CorpusError
        If it is missing, no shape predictor, or one of other than 68 points.
    """
    digest = _digest_of(path)
    found = _loaded(path, digest)(np.zeros((64, 64), np.uint8), dlib.rectangle(8, 8, 56, 56))
    if found.num_parts != N_LANDMARKS:
        raise CorpusError(
            f"{path}: predicts {found.num_parts} points; an outline needs those of the "
            f"{N_LANDMARKS}-point scheme."
        )
    return Predictor(path, digest)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, sha256: str) -> Any:
    """Load the predictor of that digest; workers outlive commands, and may be on other machines."""
    if _digest_of(path) != sha256:
        raise CorpusError(
            f"{path}: another file than the command began with, or on this worker another than "
            "there. Run the command again, with the same file on every machine."
        )
    try:
        return dlib.shape_predictor(str(path))
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:80]
        raise CorpusError(
            f"{path}: no shape predictor of dlib's ({reason}). Give one of 68 landmarks, unpacked."
        ) from None


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}.") from None


def landmarks_of(predictor: Predictor, image: Image, face: Face) -> Points:
    """Return the 68 landmarks of a face, in pixels of the image; (68, 2) int32.

    Parameters
    ----------
    predictor : Predictor
        From `predictor_of`.
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB; the two give slightly different points.
    face : Face
        As dlib's frontal detector finds it, which predictors are trained on.

    Raises
    ------
    CorpusError
        If the predictor's file cannot be read here, or is another one than it was.
    """
    edges = dlib.rectangle(face.left, face.top, face.right, face.bottom)
    found = _loaded(predictor.path, predictor.sha256)(np.ascontiguousarray(image), edges)
    return np.array([(point.x, point.y) for point in found.parts()], np.int32)
