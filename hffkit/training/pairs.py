"""Pairs of images in two qualities with their masks, read as Faces reads single images.

A pair is one array of bytes: the image of high quality (S, S, 3), that of low quality, and the
grey levels of the mask (m, m), where m is the side of the network's attention map.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from torch import Tensor

from hffkit.errors import CorpusError, HffkitError
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image
from hffkit.networks.mml import map_side
from hffkit.storage.corpus import Corpus
from hffkit.training.dataset import Faces, Pixels

Item = tuple[Corpus, Sample]
Array = TypeVar("Array", Pixels, Tensor)


class Pairs:
    """Pairs whose bytes are read by number."""

    transform = None  # what is put to one image of a pair would part it from the other

    def __init__(self, high: Faces, low: Faces, masks: Sequence[Item | None]) -> None:
        """Take the images of both qualities, and for each pair its mask; None is all zeros."""
        self._high, self._low, self._masks = high, low, masks
        self.items = high.items
        self.shape = pair_shape(high.size)

    def __len__(self) -> int:
        return len(self._masks)

    def release(self) -> None:
        """Let go of the databases; reading opens them again."""
        self._high.release()
        self._low.release()
        for corpus in {id(mask[0]): mask[0] for mask in self._masks if mask}.values():
            corpus.records.close()

    def read(self, number: int, epoch: int, out: Pixels) -> None:
        """Write the bytes of one pair to `out`, (n,) uint8."""
        high, low, levels = parts_of(out[None], self._high.size)
        self._high.read(number, epoch, high[0])
        self._low.read(number, epoch, low[0])
        mask = self._masks[number]
        levels[0] = 0 if mask is None else read_mask(mask, levels.shape[-1])


def read_mask(item: Item, side: int) -> npt.NDArray[np.uint8]:
    """Return the grey levels (side, side) of a mask; CorpusError if its record is damaged."""
    corpus, sample = item
    try:
        return shrunk(corpus.image(sample), side)
    except HffkitError as error:
        raise CorpusError(
            f"{corpus.path}: {sample.key}: {error}. `hffkit verify` finds all such records."
        ) from None


def shrunk(mask: Image, side: int) -> npt.NDArray[np.uint8]:
    """Return a mask (H, W, 3) as (side, side) grey levels, resized in colour as published.

    The filter is Pillow's default, bicubic; the grey is ITU-R 601's.
    """
    small = Pillow.fromarray(mask).resize((side, side), Pillow.Resampling.BICUBIC)
    return np.asarray(small.convert("L"), np.uint8)


def pair_shape(size: int) -> tuple[int]:
    """Return the shape of a pair of images of `size` px."""
    return (2 * 3 * size * size + map_side(size) ** 2,)


def parts_of(pairs: Array, size: int) -> tuple[Array, Array, Array]:
    """Return (B, S, S, 3) of high and of low quality and masks (B, m, m), views of (B, n)."""
    n, side = 3 * size * size, map_side(size)
    high = pairs[:, :n].reshape(-1, size, size, 3)
    low = pairs[:, n : 2 * n].reshape(-1, size, size, 3)
    return high, low, pairs[:, 2 * n :].reshape(-1, side, side)
