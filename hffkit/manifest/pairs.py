"""Which samples show the same frame in two qualities, and which mask belongs to them.

Keys of FaceForensics++ are `ff++/QUALITY/CLASS/VIDEO/FRAME`; the members of a pair differ in
the quality alone, and so does the mask of a fake one, whose quality is `masks`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from hffkit.errors import ManifestError
from hffkit.manifest.samples import Sample

MASKS = "masks"
_SOURCE, _N_PARTS = "ff++", 5
T = TypeVar("T")


def quality_of(key: str) -> str | None:
    """Return the quality that a sample's key names; None where it names none."""
    parts = key.split("/")
    return parts[1] if parts[0] == _SOURCE and len(parts) == _N_PARTS else None


def in_quality(key: str, quality: str) -> str:
    """Return the key of the same frame in another quality; the key must name one."""
    parts = key.split("/")
    return "/".join((parts[0], quality, *parts[2:]))


def frame_of(key: str) -> str:
    """Return what the members of a pair and their mask have in common; a key without quality."""
    return key if quality_of(key) is None else in_quality(key, "*")


@dataclass(frozen=True, slots=True)
class Paired(Generic[T]):
    """Pairs in the order of their members of high quality, and what is in none."""

    high: list[T]
    low: list[T]
    masks: list[T | None]  # of fakes, where masks are wanted
    left_out: Mapping[str, int]  # samples by the reason why


def paired(
    items: Iterable[T],
    masks: Mapping[str, T] | None,
    sample_of: Callable[[T], Sample],
    is_fake: Callable[[Sample], bool],
    qualities: tuple[str, str],
) -> Paired[T]:
    """Return the pairs among some items.

    Parameters
    ----------
    items
        What has a sample each.
    masks
        By key: see `by_key`; None where no masks are wanted.
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
        quality = quality_of(sample_of(item).key)
        if quality in sides:
            sides[quality].append(item)
        else:
            left_out[f"neither {high} nor {low}"] += 1
    partners = by_key(sides[low], sample_of)
    by_key(sides[high], sample_of)  # refuses what occurs twice
    found: Paired[T] = Paired([], [], [], left_out)
    for item in sides[high]:
        sample = sample_of(item)
        partner = partners.pop(in_quality(sample.key, low), None)
        if partner is None:
            left_out[f"{high} without {low}"] += 1
            continue
        if sample.box != sample_of(partner).box:
            left_out[f"{high} and {low} cut differently"] += 2
            continue
        mask = None
        if masks is not None and is_fake(sample):
            mask = mask_for(sample, masks, sample_of)
            if mask is None:
                is_there = in_quality(sample.key, MASKS) in masks
                left_out["mask cut differently" if is_there else "fake without a mask"] += 2
                continue
        found.high.append(item)
        found.low.append(partner)
        found.masks.append(mask)
    left_out[f"{low} without {high}"] += len(partners)
    return Paired(found.high, found.low, found.masks, {k: n for k, n in left_out.items() if n})


def mask_for(sample: Sample, masks: Mapping[str, T], sample_of: Callable[[T], Sample]) -> T | None:
    """Return the mask of a forgery among masks by key; None if none is there that is cut alike."""
    if quality_of(sample.key) is None:
        return None
    mask = masks.get(in_quality(sample.key, MASKS))
    return mask if mask is not None and sample_of(mask).box == sample.box else None


def by_key(items: Iterable[T], sample_of: Callable[[T], Sample]) -> dict[str, T]:
    """Return items by the keys of their samples; ManifestError if one occurs twice."""
    found: dict[str, T] = {}
    for item in items:
        key = sample_of(item).key
        if key in found:
            raise ManifestError(f"Sample key {key!r} occurs twice: pairs cannot be told apart.")
        found[key] = item
    return found
