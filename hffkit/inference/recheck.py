"""Re-encodings of faces, as networks apply them to pictures, to see if a verdict holds."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hffkit.degrade.chain import Chain, chain
from hffkit.media.image import Image

if TYPE_CHECKING:  # workers apply the chains without PyTorch
    from hffkit.inference.detector import Detector

# Sharing a picture compresses it again, or reduces it and compresses it. The values are ours, from
# the ranges of Table IX of the AMTENnet paper.
_RECHECKS = (("jp:85",), ("jp:75",), ("sc:-20",), ("sc:-20", "jp:75"))


def rechecks_of(detector: "Detector") -> list[Chain]:
    """Return the chains of operations that a detector can be rechecked with.

    A classifier of spectra of one length takes images of one size only, so none are scaled.
    """
    is_of_one_size = detector.spectrum is not None and detector.spectrum.n_points is None
    return [
        chain(*names)
        for names in _RECHECKS
        if not (is_of_one_size and any(name.startswith("sc:") for name in names))
    ]


def with_rechecks(image: Image, chains: Sequence[Chain]) -> Iterator[Image]:
    """Yield a face, (H, W, 3) or (H, W) grey, and then what each chain makes of it."""
    yield image
    rgb = image if image.ndim == 3 else np.dstack([image] * 3)
    for each in chains:
        yield each(rgb, seed=0, key="recheck").image
