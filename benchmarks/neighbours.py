"""Near-duplicates: edits of one photo that must be told apart, and the speed of the search.

    python benchmarks/neighbours.py --data ../shared/data --edited
    python benchmarks/neighbours.py --data ../shared/data --search

`--edited` prints the distances of all pairs of StarGAN's images of one photo, and the photo.
Planted copies are in benchmarks/planted.py.

`--search` prints seconds and candidates of the search among 10,000, 50,000 and 155,000
thumbnails: those of all images, repeated with smooth noise that makes them other images.
Then it prints records per second of decoding and describing, and pairs per second of registration.
"""

import argparse
import itertools
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hffkit.audit.near_duplicates import MAX_DISTANCE
from hffkit.audit.neighbours import SIDE, VIEWS, Thumbnails, candidates, describe
from hffkit.audit.registration import register
from hffkit.media.image import decode, encode_jpeg

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

STARGAN = ("real-celeba-stargan128", "fake-stargan128")
OTHERS = (
    "fake-dcgan128", "real-ffhq256", "fake-stylegan256", "real-celeba-half89", "real-lfwcrop",
    "fake-stylegan2-web512", "real-celebahq1024", "fake-pggan1024", "real-lfw250-gray",
)  # fmt: skip


def files_of(data: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the images of some folders of images/ and images-more/."""
    folders = [data / part / name for part in ("images", "images-more") for name in names]
    return sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())


def drawn(paths: list[Path], n: int, rng: Rng) -> list[Path]:
    """Draw files."""
    return [paths[i] for i in np.sort(rng.choice(len(paths), n, replace=False))]


def edited(data: Path) -> None:
    """Print how close StarGAN's images of one photo, and the photo, are to each other."""
    photos: dict[str, list[Path]] = {}
    for path in files_of(data, STARGAN):
        photos.setdefault(path.name[:8], []).append(path)
    distances = []
    for paths in photos.values():
        images = [decode(path.read_bytes()) for path in paths]
        for a, b in itertools.combinations(images, 2):
            distances.append(register(a, b, VIEWS[0]).distance)
    closest = ", ".join(f"{distance:.4f}" for distance in sorted(distances)[:5])
    n_close = sum(distance <= MAX_DISTANCE for distance in distances)
    print(f"{len(distances)} pairs of StarGAN's images of one photo and the photo: {n_close} "
          f"within {MAX_DISTANCE}; closest {closest}", flush=True)  # fmt: skip


def thumbnails_of(paths: list[Path]) -> Thumbnails:
    """Read and describe images."""
    return np.array([describe(decode(path.read_bytes())) for path in paths])


def repeated(thumbnails: Thumbnails, n: int, rng: Rng) -> Thumbnails:
    """Return `n` thumbnails, repeated with smooth noise."""
    found = np.empty((n, SIDE, SIDE), np.uint8)
    for place in range(n):
        noise = cv2.resize(rng.normal(0, 20, (8, 8)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        found[place] = np.clip(thumbnails[place % len(thumbnails)] + noise, 0, 255)
    return found


def search(data: Path) -> None:
    """Print the time of searches, and the rates of the other steps."""
    cv2.setNumThreads(1)
    small = thumbnails_of(files_of(data, (*STARGAN, *OTHERS)))
    rng = np.random.default_rng(0)
    print("| images | search, s | CPU, s | candidates | peak MB |\n|---|---|---|---|---|")
    for n in (10_000, 50_000, 155_000):
        thumbnails = repeated(small, n, rng)
        began, cpu = time.perf_counter(), time.process_time()
        found = candidates(thumbnails, np.arange(n), n_workers=2)
        spent, used = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {n} | {spent:.0f} | {used:.0f} | {len(found.first)} | {peak:.0f} |", flush=True)
    faces = [path.read_bytes() for path in files_of(data, STARGAN)[:1500]]
    cpu = time.process_time()
    images = [decode(face) for face in faces]
    for image in images:
        describe(image)
    print(f"\ndecode and describe: {len(faces) / (time.process_time() - cpu):.0f} records a second "
          "of 128 px and core")  # fmt: skip
    cpu = time.process_time()
    for first, second in pairs_of(images[:100]):
        register(first, second, VIEWS[0])
    print(f"registration: {99 / (time.process_time() - cpu):.0f} pairs a second and core")


def pairs_of(images: list[Pixels]) -> Iterator[tuple[Pixels, Pixels]]:
    """Yield neighbours, each encoded again."""
    for first, second in itertools.pairwise(images):
        yield first, decode(encode_jpeg(second, 80))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds images")
    parser.add_argument("--edited", action="store_true")
    parser.add_argument("--search", action="store_true")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores\n", flush=True)
    if arguments.edited:
        edited(arguments.data)
    if arguments.search:
        search(arguments.data)


if __name__ == "__main__":
    main()
