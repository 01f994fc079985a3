"""Effect of three choices: hffkit's PNG encoding, kept memory, the median by planes.

    python benchmarks/formats.py FACE...

Prints for each image the bytes and milliseconds of PNG as hffkit writes it, as OpenCV writes it
with the same filter and run lengths alone, and as OpenCV writes it by default; the time to decode
it as JPEG, without and with kept memory; and the time of its median over 5x5 pixels, by OpenCV on
three channels and by hffkit.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from hffkit.degrade.spatial import median_filter
from hffkit.execution.memory import keep_memory_of_images
from hffkit.media.image import Image, decode, encode_png

UP_AND_RLE = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]


def by_opencv(image: Image, settings: list[int]) -> bytes:
    """Return `image` as OpenCV's PNG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, settings)[1].tobytes()


ENCODERS: dict[str, Callable[[Image], bytes]] = {
    "hffkit": encode_png,
    "OpenCV, up, RLE": partial(by_opencv, settings=UP_AND_RLE),
    "OpenCV default": partial(by_opencv, settings=[]),
}


def milliseconds(call: Callable[..., object], *arguments: object) -> float:
    """Return the median time of 31 calls."""
    taken = []
    for _ in range(31):
        begin = time.perf_counter()
        call(*arguments)
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def main() -> None:
    """Measure each image named on the command line."""
    cv2.setNumThreads(1)
    images = {path: np.asarray(cv2.imread(path), np.uint8) for path in sys.argv[1:]}
    jpegs = {path: cv2.imencode(".jpg", image)[1].tobytes() for path, image in images.items()}
    before = {path: milliseconds(decode, jpeg) for path, jpeg in jpegs.items()}
    keep_memory_of_images()
    for path, image in images.items():
        print(path, image.shape)
        for name, encode in ENCODERS.items():
            png = encode(image)
            write, read = milliseconds(encode, image), milliseconds(decode, png)
            print(f"  PNG {name:15} {len(png):9} bytes, write {write:6.2f}, read {read:6.2f} ms")
        after = milliseconds(decode, jpegs[path])
        print(f"  JPEG read {before[path]:.2f} ms, with kept memory {after:.2f} ms")
        opencv, ours = milliseconds(cv2.medianBlur, image, 5), milliseconds(median_filter, image, 5)
        print(f"  median 5 OpenCV {opencv:.2f} ms, hffkit {ours:.2f} ms")


if __name__ == "__main__":
    main()
