"""Attention maps compared with the masks of forgeries."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hffkit.errors import ArgumentError, CorpusError
from hffkit.inference.detector import Detector
from hffkit.inference.network import NetworkDetector
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.pairs import quality_of
from hffkit.networks.table import NETWORKS
from hffkit.storage.corpora import Item
from hffkit.storage.labels import Items
from hffkit.training.masks import MASK_LEVEL, masked, read_mask


@dataclass(frozen=True, slots=True)
class MaskAccuracy:
    """The share of cells of attention maps, at 0.5, that agree with the masks."""

    by_quality: Mapping[str, float]
    n_without_mask: int  # fake samples, which are left out


def check_attention_map(detector: Detector) -> NetworkDetector:
    """Return the network of a detector; ArgumentError if it has no attention map."""
    network = detector.as_network
    if network is not None and network.network.attention_map is not None:
        return network
    able = ", ".join(name for name, spec in NETWORKS.items() if spec.attention_map is not None)
    raise ArgumentError(
        f"{detector.path}: {detector.run.network} has no attention map to compare `masks` with. "
        f"Networks with one: {able}."
    )


def mask_accuracy(
    detector: Detector, items: Items, table: ClassTable, masks: Mapping[str, Item]
) -> MaskAccuracy:
    """Compute the mask accuracy of samples, by quality; the masks of real samples are zeros.

    Raises
    ------
    CorpusError
        If there are fake samples, and none has a mask.
    """
    places, wanted = masked(items, masks, table)
    n_without = len(items) - len(places)
    if n_without and not any(wanted):
        raise CorpusError(
            f"{items[0][0].path}: none of its {n_without} fake samples has a mask in `masks`."
        )
    kept = [items[place] for place in places]
    maps = check_attention_map(detector).attention_maps(kept)
    nothing = np.zeros(maps.shape[1:], bool)
    forged = [
        nothing if mask is None else read_mask(mask, len(nothing)) > MASK_LEVEL for mask in wanted
    ]
    right = ((maps > 0.5) == np.stack(forged)).mean((1, 2))
    of_each = np.array([quality_of(sample.key) or "" for _, sample in kept])
    qualities = set(of_each.tolist()) - {""}
    found = {quality: float(right[of_each == quality].mean()) for quality in qualities}
    return MaskAccuracy(found, n_without)
