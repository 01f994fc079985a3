"""Reduction of a build with spare frames to the totals of the AMTENnet paper."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import product

from hffkit.extraction.frames import PAPER_FAKE, PAPER_REAL
from hffkit.manifest.samples import Split
from hffkit.manifest.seeds import rank
from hffkit.media.spacing import evenly

# Faces in each quality: 50k + 10k real, 12.5k + 2.5k of each method; the paper names no val.
PAPER_TOTALS: Mapping[tuple[bool, Split], int] = {
    (False, "train"): 50_000,
    (False, "test"): 10_000,
    (True, "train"): 12_500,
    (True, "test"): 2_500,
}
_FAKE = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
_REAL = ("Real", "Real-actors")
Bucket = tuple[str, str, Split]
"""Quality, class and split."""


def level(counts: Mapping[str, int], total: int, *, seed: int) -> dict[str, int]:
    """Compute the number of frames that each video keeps, `total` or fewer in sum.

    Videos with the most frames are cut first, down to a common number; `seed` and the names decide
    which videos keep one frame more.
    """
    if sum(counts.values()) <= total:
        return dict(counts)
    sizes = counts.values()
    height = max(h for h in range(max(sizes) + 1) if sum(min(n, h) for n in sizes) <= total)
    quotas = {video: min(n, height) for video, n in counts.items()}
    higher = sorted(
        (video for video, n in counts.items() if n > height),
        key=lambda video: rank(seed, "trim", video),
    )
    for video in higher[: total - sum(quotas.values())]:
        quotas[video] += 1
    return quotas


def surplus(samples: Iterable[tuple[str, Split]], *, seed: int) -> set[str]:
    """Return the keys of the samples to leave out so that the paper's totals are met exactly.

    Where they cannot be met, or the paper has none, 75 frames of each real video and 20 of each
    fake one are kept, on average: the spare frames of others take the place of missing ones.

    Of real videos, frames that no forgery uses are left out first, evenly spaced. Samples are given
    by key, ff++/QUALITY/CLASS/VIDEO/FRAME, and split.
    """
    frames: dict[Bucket, dict[str, list[int]]] = defaultdict(dict)
    used: dict[str, set[int]] = defaultdict(set)  # by the fakes of a target
    for key, split in samples:
        _, quality, name, video, frame = key.split("/")
        frames[quality, name, split].setdefault(video, []).append(int(frame))
        if name in _FAKE:
            used[video.split("_")[0]].add(int(frame))
    left_out: set[str] = set()
    for (quality, name, split), videos in frames.items():
        counts = {video: len(n) for video, n in videos.items()}
        quotas = level(counts, _wanted(name, split, counts), seed=seed)
        for video, unsorted in videos.items():
            numbers = sorted(unsorted)
            kept_last = used[video] if name == "Real" else set()
            free = [n for n in numbers if n not in kept_last]
            n_out = len(numbers) - quotas[video]
            out = evenly(free, n_out)
            out += evenly([n for n in numbers if n in kept_last], n_out - len(out))
            left_out |= {f"ff++/{quality}/{name}/{video}/{n:04d}" for n in out}
    return left_out


def _paper_total(name: str, split: Split) -> int | None:
    is_fake = name in _FAKE
    return PAPER_TOTALS.get((is_fake, split)) if is_fake or name == "Real" else None


def _wanted(name: str, split: Split, counts: Mapping[str, int]) -> int:
    """Return the number of samples to keep of some videos of a class."""
    total = _paper_total(name, split)
    if total is not None and sum(counts.values()) >= total:
        return total
    return len(counts) * (PAPER_REAL if name in _REAL else PAPER_FAKE)


def shortfall(
    samples: Iterable[tuple[str, Split]], named: Iterable[str], splits: Iterable[Split]
) -> dict[Bucket, tuple[int, int]]:
    """Return the number of samples, and the paper's total, where a total is not met.

    Samples are given as for `surplus`. Of every quality that occurs, the classes that were asked
    for by name, or else all of the paper, are expected in all of `splits`, even without a sample.
    """
    counts: Counter[Bucket] = Counter()
    for key, split in samples:
        _, quality, name, *_ = key.split("/")
        counts[quality, name, split] += 1
    qualities = sorted({quality for quality, *_ in counts})
    names = sorted(set(named) or {"Real", *_FAKE})
    found = {}
    for quality, name, split in product(qualities, names, splits):
        total, n = _paper_total(name, split), counts[quality, name, split]
        if total is not None and n < total:
            found[quality, name, split] = n, total
    return found
