"""Pairs of samples that show the same frame in two qualities, and the masks of forged frames.

Keys of FaceForensics++ are `ff++/QUALITY/CLASS/VIDEO/FRAME`. The members of a pair differ only in
the quality, and so does the mask of a forged frame, whose quality is `masks`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from hffkit.errors import ManifestError
from hffkit.manifest.samples import Sample

MASKS = "masks"
_SOURCE, _N_PARTS = "ff++", 5
T = TypeVar("T", bound=tuple[Any, Sample])  # a sample and what holds it


def quality_of(key: str) -> str | None:
    """Return the quality in a sample's key; None for keys of another form."""
    parts = key.split("/")
    return parts[1] if parts[0] == _SOURCE and len(parts) == _N_PARTS else None


def in_quality(key: str, quality: str) -> str:
    """Replace the quality in a sample's key, which must have one."""
    parts = key.split("/")
    return "/".join((parts[0], quality, *parts[2:]))


def frame_of(key: str) -> str:
    """Return the key without its quality: the same for the members of a pair and their mask."""
    return key if quality_of(key) is None else in_quality(key, "*")


@dataclass(frozen=True, slots=True)
class Paired(Generic[T]):
    """Pairs in the order of their members of high quality, and the samples in no pair."""

    high: list[T]
    low: list[T]
    masks: list[T | None]  # of forged frames, if masks were given
    left_out: Mapping[str, int]  # number of samples by reason


def paired(
    items: Iterable[T],
    masks: Mapping[str, T] | None,
    is_fake: Callable[[Sample], bool],
    qualities: tuple[str, str],
) -> Paired[T]:
    """Match samples of two qualities.

    Parameters
    ----------
    items
        Samples, each with what holds it.
    masks
        Masks by key, from `by_key`; a forged frame without its mask is then left out. None: no
        masks are wanted.
    qualities
        The high and the low one.

    Raises
    ------
    ManifestError
        If a sample occurs twice.
    """
    high, low = qualities
    sides: dict[str, list[T]] = {high: [], low: []}
    left_out: Counter[str] = Counter()
    for item in items:
        quality = quality_of(item[1].key)
        if quality in sides:
            sides[quality].append(item)
        else:
            left_out[f"neither {high} nor {low}"] += 1
    partners = by_key(sides[low])
    found: Paired[T] = Paired([], [], [], {})
    for key, item in by_key(sides[high]).items():
        sample = item[1]
        partner = partners.pop(in_quality(key, low), None)
        if partner is None:
            left_out[f"{high} without {low}"] += 1
            continue
        if sample.box != partner[1].box:
            left_out[f"{high} and {low} cut differently"] += 2
            continue
        mask = None
        if masks is not None and is_fake(sample):
            mask = mask_for(sample, masks)
            if mask is None:
                is_there = in_quality(key, MASKS) in masks
                left_out["mask cut differently" if is_there else "fake without a mask"] += 2
                continue
        found.high.append(item)
        found.low.append(partner)
        found.masks.append(mask)
    left_out[f"{low} without {high}"] += len(partners)
    return replace(found, left_out={reason: n for reason, n in left_out.items() if n})


def mask_for(sample: Sample, masks: Mapping[str, T]) -> T | None:
    """Return the mask of a forged frame; None if there is none with the same crop."""
    if quality_of(sample.key) is None:
        return None
    mask = masks.get(in_quality(sample.key, MASKS))
    return mask if mask is not None and mask[1].box == sample.box else None


def by_key(items: Iterable[T]) -> dict[str, T]:
    """Index items by the keys of their samples; ManifestError if a key occurs twice."""
    found: dict[str, T] = {}
    for item in items:
        key = item[1].key
        if key in found:
            raise ManifestError(f"Sample key {key!r} occurs twice: its pair is ambiguous.")
        found[key] = item
    return found
