"""Re-encodings of faces by a suite of operations, to see if a verdict holds."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hffkit.degrade.chain import Chain
from hffkit.degrade.suites import read_part
from hffkit.errors import ArgumentError
from hffkit.media.image import Image
from hffkit.runs.spectrum import SpectrumRun

if TYPE_CHECKING:  # workers apply the chains without PyTorch
    from hffkit.inference.detector import Detector

DEFAULT_SUITE = "recheck"


def rechecks_of(detector: "Detector", suite: str) -> list[Chain]:
    """Return the chains of a suite, or of one severity, that a detector can be rechecked with.

    A classifier of spectra of one length takes images of one size only, so chains that change it
    are left out.

    Raises
    ------
    ArgumentError
        If none is left, or as `read_part`.
    """
    chains = [entry.chain for entry in read_part(suite).entries]
    run, spectrum = detector.run, detector.spectrum
    if not isinstance(run, SpectrumRun) or spectrum is None or spectrum.n_points is not None:
        return chains
    side = round(math.sqrt(2) * (run.n_features + 1))  # a profile is half a diagonal long
    blank = np.zeros((side, side, 3), np.uint8)
    kept = [each for each in chains if _applied(each, blank).shape == blank.shape]
    if not kept:
        raise ArgumentError(
            f"`recheck_suite` {suite}: all of its operations change the size of faces, and "
            f"{detector.path} takes faces of one size. Name another suite."
        )
    return kept


def with_rechecks(image: Image, chains: Sequence[Chain]) -> Iterator[Image]:
    """Yield a face, (H, W, 3) or (H, W) grey, and then what each chain makes of it."""
    yield image
    rgb = image if image.ndim == 3 else np.dstack([image] * 3)
    for each in chains:
        yield _applied(each, rgb)


def _applied(each: Chain, image: Image) -> Image:
    return each(image, seed=0, key="recheck").image
