"""The exact totals of the AMTENnet paper's FaceForensics++ sets, cut from 75 and 20 a video."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from hffkit.manifest.samples import Split
from hffkit.manifest.seeds import rank
from hffkit.media.spacing import evenly

# Faces a quality has in the paper: 50k + 10k real, 12.5k + 2.5k of each method; no val is named.
PAPER_TOTALS: Mapping[tuple[bool, Split], int] = {
    (False, "train"): 50_000,
    (False, "test"): 10_000,
    (True, "train"): 12_500,
    (True, "test"): 2_500,
}
_FAKE = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def level(counts: Mapping[str, int], total: int, *, seed: int) -> dict[str, int]:
    """Return how many frames each video keeps, so that they sum to `total` or all are kept.

    Videos with the most frames give first, down to a common height; who keeps one more where it
    does not come out even is decided by `seed` and the video's name.
    """
    if sum(counts.values()) <= total:
        return dict(counts)
    height = max(h for h in range(max(counts.values()) + 1) if _under(counts, h) <= total)
    quotas = {video: min(n, height) for video, n in counts.items()}
    higher = sorted(
        (video for video, n in counts.items() if n > height),
        key=lambda video: rank(seed, "trim", video),
    )
    for video in higher[: total - sum(quotas.values())]:
        quotas[video] += 1
    return quotas


def _under(counts: Mapping[str, int], height: int) -> int:
    return sum(min(n, height) for n in counts.values())


def surplus(samples: Iterable[tuple[str, Split]], *, seed: int) -> set[str]:
    """Return the keys to leave out, so that the paper's totals are met exactly.

    Real videos give up frames that no forgery uses before those that one does, evenly spaced.

    Parameters
    ----------
    samples : iterable of (key, split)
        Keys as `ff++/QUALITY/CLASS/VIDEO/FRAME`; other classes than the paper's are left alone.
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
