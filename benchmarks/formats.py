"""What two choices are worth: PNG filtered by "up" alone, and workers that keep freed memory.

    python benchmarks/formats.py FACE...

prints for each picture bytes and milliseconds of PNG with every filter tried for each row, with
"up" alone, and as OpenCV writes it unasked; then of decoding it as JPEG, before and after.
"""

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from hffkit.workflows.memory import keep_memory_of_pictures

RLE = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
SETTINGS: dict[str, list[int]] = {
    "every filter": [*RLE, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS],
    "up": [*RLE, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP],
    "unasked": [],
}


def milliseconds(call: Callable[..., object], *arguments: object) -> float:
    """Return the median of eleven calls."""
    taken = []
    for _ in range(11):
        begin = time.perf_counter()
        call(*arguments)
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def main() -> None:
    """Measure each picture named on the command line."""
    cv2.setNumThreads(1)
    images = {path: np.asarray(cv2.imread(path), np.uint8) for path in sys.argv[1:]}
    jpegs = {path: cv2.imencode(".jpg", image)[1] for path, image in images.items()}
    before = {path: milliseconds(cv2.imdecode, jpeg, 1) for path, jpeg in jpegs.items()}
    keep_memory_of_pictures()
    for path, image in images.items():
        print(path, image.shape)
        for name, settings in SETTINGS.items():
            png = cv2.imencode(".png", image, settings)[1]
            write = milliseconds(cv2.imencode, ".png", image, settings)
            read = milliseconds(cv2.imdecode, png, 1)
            print(f"  PNG {name:12} {len(png):9} bytes, write {write:6.2f}, read {read:6.2f} ms")
        after = milliseconds(cv2.imdecode, jpegs[path], 1)
        print(f"  JPEG read {before[path]:.2f} ms, with kept memory {after:.2f} ms")


if __name__ == "__main__":
    main()
