"""A fabricated tree in the layout of FaceForensics++, for `hffkit demo`.

The clips show one public-domain portrait (NASA's astronaut, from scikit-image), moving and in ten
colourings. Forgeries of it are made by warping and blending; what is blended in has a third of the
resolution, a trace that a network learns in a minute. Figures measured on them mean nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats32
from hffkit.errors import CorpusError
from hffkit.manifest.seeds import rng_for
from hffkit.media.h264 import write_video
from hffkit.media.image import Image

# Official pairs of videos: three of train, one of val and one of test.
PAIRS = (("001", "870"), ("002", "006"), ("054", "071"), ("672", "720"), ("953", "974"))
N_FRAMES = 24
SIDE = 320  # px
_CRF = {"c23": 23, "c40": 40}
_FACE = (223, 118)  # centre of the portrait's face, px
_RADII = (44, 58)  # of the ellipse that forgeries change, px
_REDUCTION = 3  # of the resolution inside the ellipse


def fabricate(root: Path, pairs: Sequence[tuple[str, str]] = PAIRS) -> int:
    """Write two qualities of each original and of its forgeries by four methods below `root`.

    Clips that are there already are kept.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    CorpusError
        If scikit-image, which contains the portrait, is not installed.
    """
    portrait = _portrait()
    n_clips = 0
    for pair in pairs:
        for target, source in (pair, pair[::-1]):
            face, other = _guise(portrait, target), _guise(portrait, source)
            clips = {f"original_sequences/youtube:{target}": face}
            for method, forge in FORGERIES.items():
                clips[f"manipulated_sequences/{method}:{target}_{source}"] = forge(face, other)
            for place, image in clips.items():
                folder, _, name = place.partition(":")
                for quality, crf in _CRF.items():
                    path = root / folder / quality / "videos" / f"{name}.mp4"
                    if not path.exists():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        partial = path.with_name("partial.mp4")
                        write_video(partial, _moving(image, target), crf=crf)
                        partial.replace(path)
                    n_clips += 1
    return n_clips


def _portrait() -> Image:
    try:
        from skimage.data import astronaut
    except ImportError:
        raise CorpusError(
            'The demo\'s portrait comes with scikit-image: pip install -e ".[demo]".'
        ) from None
    return np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]


def _guise(portrait: Image, name: str) -> Image:
    """Scale the colour channels of the portrait by factors that depend on `name`."""
    rng = rng_for(0, "demo", name)
    gains = rng.uniform(0.75, 1.1, 3)
    return np.clip(portrait * gains, 0, 255).astype(np.uint8)


def _moving(image: Image, name: str) -> Iterator[Image]:
    """Yield frames of the image under a slow pan, zoom and turn that depend on `name`."""
    rng = rng_for(0, "motion", name)
    phases = rng.uniform(0, 2 * np.pi, 3)
    for i in range(N_FRAMES):
        turn, zoom, pan = np.sin(2 * np.pi * i / N_FRAMES + phases)
        matrix = np.asarray(cv2.getRotationMatrix2D(_FACE, 4 * turn, 1.25 + 0.08 * zoom))
        matrix[:, 2] += SIDE / 2 - np.array(_FACE) + (14 * pan, 20)
        yield _warp(image, matrix, (SIDE, SIDE))


def _blend(face: Image, forged: npt.NDArray[Any], *, lower_half: bool = False) -> Image:
    ellipse = np.zeros(face.shape[:2], np.float32)
    start = 0 if lower_half else -180
    cv2.ellipse(ellipse, _FACE, _RADII, 0, start, 180, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(ellipse, (0, 0), 4))[..., None]
    return (face * (1 - mask) + _rendered(forged) * mask).round().astype(np.uint8)


def _rendered(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the image at a fraction of its resolution, enlarged to its size again."""
    height, width = image.shape[:2]
    size = (width // _REDUCTION, height // _REDUCTION)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _warp(image: Image, matrix: npt.NDArray[Any], size: tuple[int, int]) -> Image:
    warped = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def _deepfakes(face: Image, other: Image) -> Image:
    """Blend in the other face."""
    return _blend(face, other)


def _face2face(face: Image, _: Image) -> Image:
    """Warp the face along a wave, to change its expression."""
    grid: Floats32 = np.indices(face.shape[:2]).astype(np.float32)
    wave = (grid[0] + 4 * np.sin(grid[1] / 9)).astype(np.float32)
    return _blend(face, cv2.remap(face, grid[1], wave, cv2.INTER_LINEAR))


def _faceswap(face: Image, other: Image) -> Image:
    """Blend in the other face, slightly turned and enlarged."""
    matrix = np.asarray(cv2.getRotationMatrix2D(_FACE, 5, 1.06))
    return _blend(face, _warp(other, matrix, (face.shape[1], face.shape[0])))


def _neural_textures(face: Image, _: Image) -> Image:
    """Smooth the lower half of the face, as a renderer would."""
    return _blend(face, cv2.bilateralFilter(face, 9, 60, 5), lower_half=True)


FORGERIES: Mapping[str, Callable[[Image, Image], Image]] = {
    "Deepfakes": _deepfakes,
    "Face2Face": _face2face,
    "FaceSwap": _faceswap,
    "NeuralTextures": _neural_textures,
}
