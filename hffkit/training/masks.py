"""Masks of forgeries: the samples that they belong to, and their grey levels in map cells."""

from collections.abc import Mapping

import numpy as np
from PIL import Image as Pillow

from hffkit.manifest.classes import ClassTable
from hffkit.manifest.pairs import mask_for
from hffkit.media.image import Image
from hffkit.storage.corpora import Item
from hffkit.storage.labels import Items
from hffkit.training.dataset import Pixels, read_image

MASK_LEVEL = 51  # of 255, 0.2: a cell above it is forged


def masked(
    items: Items, masks: Mapping[str, Item], table: ClassTable
) -> tuple[list[int], list[Item | None]]:
    """Return the places of samples with a known mask, and the masks; None is all zeros."""
    places: list[int] = []
    wanted: list[Item | None] = []
    for place, (_, sample) in enumerate(items):
        is_fake = table[sample.cls].is_fake
        mask = mask_for(sample, masks) if is_fake else None
        if mask is not None or not is_fake:
            places.append(place)
            wanted.append(mask)
    return places, wanted


def read_mask(item: Item, side: int) -> Pixels:
    """Return the grey levels (side, side) of a mask; CorpusError if its record is damaged."""
    return shrunk(read_image(*item), side)


def shrunk(mask: Image, side: int) -> Pixels:
    """Return a mask (H, W, 3) as (side, side) grey levels, resized in colour as published.

    The filter is that of torchvision's Resize on Pillow's images: BILINEAR, a triangle as wide as
    two cells, so that every pixel of the mask counts. The grey is ITU-R 601's.
    """
    small = Pillow.fromarray(mask).resize((side, side), Pillow.Resampling.BILINEAR)
    return np.asarray(small.convert("L"), np.uint8)
