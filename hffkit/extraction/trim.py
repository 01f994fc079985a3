"""Reduction of 75 real and 20 fake frames per video to the totals of the AMTENnet paper."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

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

    Of real videos, frames that no forgery uses are left out first, evenly spaced. Samples are given
    by key, ff++/QUALITY/CLASS/VIDEO/FRAME, and split; only classes of the paper are cut.
    """
    frames: dict[tuple[str, str, Split], dict[str, list[int]]] = defaultdict(dict)
    used: dict[str, set[int]] = defaultdict(set)  # by the fakes of a target
    for key, split in samples:
        _, quality, name, video, frame = key.split("/")
        if name == "Real" or name in _FAKE:
            frames[quality, name, split].setdefault(video, []).append(int(frame))
        if name in _FAKE:
            used[video.split("_")[0]].add(int(frame))
    left_out: set[str] = set()
    for (quality, name, split), videos in frames.items():
        total = PAPER_TOTALS.get((name in _FAKE, split))
        if total is None:
            continue
        quotas = level({video: len(n) for video, n in videos.items()}, total, seed=seed)
        for video, unsorted in videos.items():
            numbers = sorted(unsorted)
            kept_last = used[video] if name == "Real" else set()
            free = [n for n in numbers if n not in kept_last]
            n_out = len(numbers) - quotas[video]
            out = evenly(free, n_out)
            out += evenly([n for n in numbers if n in kept_last], n_out - len(out))
            left_out |= {f"ff++/{quality}/{name}/{video}/{n:04d}" for n in out}
    return left_out
