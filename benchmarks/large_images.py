"""Memory and time to search large images for faces.

    python benchmarks/large_images.py PHOTO

A photograph is resized to 12, 48 and 178 megapixels and saved as JPEG of quality 90, and at 12 as
PNG, WebP and AVIF. Each file is searched by a new process, which has searched a small image before.
Printed are the growth of its peak memory, and its processor time: medians of three processes.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peaks import memory_of
from PIL import Image

from hffkit.faces.search import FaceSearch, FrameCounts, faces_in

SIDES = ((4000, 3000), (8000, 6000), (13377, 13377))
OTHERS = ("png", "webp", "avif")
N_PROCESSES = 3


def main() -> None:
    """Measure and print the table, or search the files of a single measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--small", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.small is not None:
        print(*search(arguments.small, arguments.photo))
        return
    print("| file | megapixels | memory | seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = save(arguments.photo, folder / "small.jpg", (320, 240))
        kinds = [(size, "jpg") for size in SIDES] + [(SIDES[0], other) for other in OTHERS]
        for size, kind in kinds:
            file = save(arguments.photo, folder / f"large.{kind}", size)
            words = [sys.executable, __file__, str(file), "--small", str(small)]
            found = [
                [float(text) for text in subprocess.check_output(words, text=True).split()]
                for _ in range(N_PROCESSES)
            ]
            kilobytes, seconds = map(statistics.median, zip(*found, strict=True))
            megapixels = f"{size[0] * size[1] / 1e6:.0f} ({size[0]}x{size[1]})"
            print(f"| {kind} | {megapixels} | {kilobytes / 1024:.0f} MB | {seconds:.2f} |")


def save(photo: Path, path: Path, size: tuple[int, int]) -> Path:
    """Save a resized photograph."""
    with Image.open(photo) as image:
        image.convert("RGB").resize(size).save(path, quality=90)
    return path


def search(small: Path, large: Path) -> tuple[int, float]:
    """Return the growth of the peak memory in kB, and the processor time in seconds."""
    search = FaceSearch(frames=1)
    list(faces_in(small, search, FrameCounts()))
    before, begin = memory_of(os.getpid(), "VmHWM"), time.process_time()
    list(faces_in(large, search, FrameCounts()))
    return memory_of(os.getpid(), "VmHWM") - before, time.process_time() - begin


if __name__ == "__main__":
    main()
