"""Pairs of images in two qualities with their masks.

A pair is one array of bytes: the image of high quality (S, S, 3), the image of low quality, and
the grey levels of the mask (m, m), where m is the side of the network's attention map.
"""

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from hffkit.manifest.samples import Sample
from hffkit.networks.mml import map_side
from hffkit.storage.corpora import Item, corpora_of
from hffkit.training.dataset import FaceDataset, Pixels
from hffkit.training.masks import read_mask

Array = TypeVar("Array", Pixels, Tensor)


class PairDataset:
    """Pairs of images with their masks, (n,) uint8 each."""

    transform = None  # a transform of one image would separate it from the other of its pair

    def __init__(self, high: FaceDataset, low: FaceDataset, masks: Sequence[Item | None]) -> None:
        """Take the images of both qualities and the mask of each pair; None is all zeros."""
        self._high, self._low, self._masks = high, low, masks
        self.items = high.items
        self.shape = pair_shape(high.size)

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def samples(self) -> list[Sample]:
        """The samples of all images, in both qualities."""
        return [*self._high.samples, *self._low.samples]

    def release(self) -> None:
        """Close the databases; reading reopens them."""
        self._high.release()
        self._low.release()
        for corpus in corpora_of(mask for mask in self._masks if mask is not None):
            corpus.records.close()

    def read(self, number: int, epoch: int, out: Pixels) -> None:
        """Write one pair to `out`, (n,) uint8."""
        high, low, levels = parts_of(out[None], self._high.size)
        self._high.read(number, epoch, high[0])
        self._low.read(number, epoch, low[0])
        mask = self._masks[number]
        levels[0] = 0 if mask is None else read_mask(mask, levels.shape[-1])


def pair_shape(size: int) -> tuple[int]:
    """Return the shape of a pair of images of `size` px."""
    return (2 * 3 * size * size + map_side(size) ** 2,)


def parts_of(pairs: Array, size: int) -> tuple[Array, Array, Array]:
    """Return views of (B, n): images (B, S, S, 3) of high and low quality, masks (B, m, m)."""
    n, side = 3 * size * size, map_side(size)
    high = pairs[:, :n].reshape(-1, size, size, 3)
    low = pairs[:, n : 2 * n].reshape(-1, size, size, 3)
    return high, low, pairs[:, 2 * n :].reshape(-1, side, side)
