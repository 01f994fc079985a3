"""Speed of reading videos: hffkit's reader (PyAV) against OpenCV's, one thread each.

    python benchmarks/videos.py ../shared/data/ffpp/original_sequences/youtube/c23/videos/*.mp4

Both decode every frame and convert 75 evenly spaced ones to RGB. hffkit also computes the SHA-256
of the file, counts the frames by their packets, and looks for damage. The two take turns; the times
are processor times, and the ratio is that of the medians.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from hffkit.media.spacing import evenly
from hffkit.media.video import VideoFile

N_WANTED = 75


def by_hffkit(path: Path) -> int:
    """Read a video as `hffkit build` does; return the number of frames that were converted."""
    clip = VideoFile(path)
    wanted = frozenset(evenly(clip.numbers, N_WANTED))
    return sum(1 for _ in clip.frames(wanted, lambda *_: None))


def by_opencv(path: Path) -> int:
    """Read a video by OpenCV, which believes the header's number of frames."""
    hashlib.file_digest(path.open("rb"), "sha256")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    wanted = frozenset(evenly(range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))), N_WANTED))
    number = n_converted = 0
    while capture.grab():
        if number in wanted:
            cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            n_converted += 1
        number += 1
    return n_converted


def seconds(read: Callable[[Path], int], path: Path) -> float:
    """Return the processor time of reading a video once."""
    start = time.process_time()
    if read(path) == 0:
        raise SystemExit(f"{path}: nothing was read.")
    return time.process_time() - start


def main() -> None:
    """Time both readers on each video."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"{'video':40} {'hffkit':>8} {'OpenCV':>8} {'ratio':>6}   (seconds)")
    for path in args.videos:
        times: dict[str, list[float]] = {"hffkit": [], "OpenCV": []}
        for _ in range(args.rounds):
            times["hffkit"].append(seconds(by_hffkit, path))
            times["OpenCV"].append(seconds(by_opencv, path))
        ours, theirs = (statistics.median(times[name]) for name in times)
        print(f"{path.name:40} {ours:8.3f} {theirs:8.3f} {ours / theirs:6.3f}")


if __name__ == "__main__":
    main()
