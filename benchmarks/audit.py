"""Speed and memory of `hffkit audit`.

    python benchmarks/audit.py --data IMAGES IMAGES_MORE
    python benchmarks/audit.py --data IMAGES IMAGES_MORE --sizes 10000 50000 155000 --copies 300

Prints records per second of the facts that need decoding, with one worker and with two, for images
of 128, 256 and 1024 px; then, for corpora of several sizes, seconds and peak memory of the whole
command, and how many of the planted copies it lists. The corpora repeat the images of five classes
at 128 px with smooth noise, which makes them other images, saved as JPEG 75 in groups of three.
`--copies` of them are saved again at quality 60 to 95, in another split.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from peaks import peaks_of

from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.collected import collected
from hffkit.manifest.classes import numbered
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.media.image import Image, decode, encode_jpeg, resize
from hffkit.storage.corpus import Provenance
from hffkit.storage.parts import Record
from hffkit.storage.record import store
from hffkit.storage.writer import CorpusWriter

KINDS = {128: "fake-stargan128", 256: "real-ffhq256", 1024: "real-celebahq1024"}
CLASSES = (
    "fake-dcgan128", "fake-stargan128", "fake-stylegan256", "real-celeba-stargan128",
    "real-ffhq256",
)  # fmt: skip
COPIES = ("equal-pixels", "near-duplicates")  # checks that list copies
N_OF_SPEED = {128: 6000, 256: 3000, 1024: 400}


Images = dict[str, list[Image]]


def images_of(data: Sequence[Path], names: Sequence[str], side: int) -> Images:
    """Return the images of some classes, resized to a square."""
    return {
        name: [
            resize(decode(path.read_bytes()), side, "pillow-bilinear")
            for path in sorted(path for folder in data for path in folder.glob(f"{name}/*.jpg"))
        ]
        for name in names
    }


def records(images: Images, n: int, n_copies: int) -> Iterator[Record]:
    """Yield n samples with pixels of their own, and copies of the first ones."""
    flat = [(name, image) for name in images for image in images[name]]
    random.Random(0).shuffle(flat)  # each part of a corpus has all classes
    classes = list(images)
    for place in range(n + n_copies):
        is_copy, number = divmod(place, n)
        name, image = flat[number % len(flat)]
        encoded = encode_jpeg(noisy(image, number), 60 + number % 36 if is_copy else 75)
        stored = store(decode(encoded), encoded, classes.index(name), None)
        group = number // 3
        key, digest = f"{number:08}{'-copy' if is_copy else ''}", stored.sha256
        sample = Sample(
            key, name, SPLITS[(group + is_copy) % 3], f"g{group}{'-copy' if is_copy else ''}",
            f"{key}.jpg", digest, None, None, None, digest, stored.pixels_sha256,
        )  # fmt: skip
        yield Record(sample, stored.value)


def noisy(image: Image, seed: int) -> Image:
    """Add smooth noise."""
    small = np.random.default_rng(seed).normal(0, 20, (8, 8))
    size = (image.shape[1], image.shape[0])
    noise = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)[..., None]
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def write(folder: Path, images: Images, n: int, n_copies: int = 0) -> Path:
    """Write a corpus of n samples and copies of some."""
    fake = [name for name in images if name.startswith("fake")]
    table = numbered(fake, [name for name in images if name not in fake])
    made = Provenance(table, None, "multi", "build", {}, {})
    with CorpusWriter(folder) as writer:
        for start, record in enumerate(records(images, n, n_copies)):
            writer.append(str(start), [record])
        writer.finish(made)
    return folder


def speeds(data: Sequence[Path], folder: Path) -> None:
    """Print records per second of the facts."""
    for side, name in KINDS.items():
        n = N_OF_SPEED[side]
        corpus = write(folder / str(side), images_of(data, [name], side), n)
        for n_workers in (1, 2):
            audited = Audited(AuditRequest((str(corpus),), samples=n), n_workers)
            len(audited.index)
            wall, cpu = time.monotonic(), time.process_time()
            audited.shared(collected)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            spent = f", {1e3 * cpu / n:.2f} ms of processor time each" if n_workers == 1 else ""
            print(f"{side:5} px, {n_workers} workers: {n / wall:7.0f} records/s{spent}", flush=True)


def _seconds_of_children() -> float:
    """Return the processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="class folders")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--copies", type=int, default=0, help="planted into each corpus")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        speeds(arguments.data, Path(name))
        images = images_of(arguments.data, CLASSES, 128)
        for n in arguments.sizes:
            corpus = write(Path(name) / f"n{n}", images, n, arguments.copies)
            report = Path(name) / f"n{n}.json"
            code = "from hffkit.cli.main import main; main()"
            command = [
                sys.executable,
                "-c",
                code,
                "audit",
                corpus,
                "--workers",
                "2",
                "--out",
                report,
            ]
            wall, cpu = time.monotonic(), _seconds_of_children()
            parent, workers, own = peaks_of(command)
            wall, cpu = time.monotonic() - wall, _seconds_of_children() - cpu
            most = max(workers, default=0)
            found = json.loads(report.read_text())["findings"]
            dropped = [key for each in found if each["check"] in COPIES for key in each["drop"]]
            print(
                f"{n:7} records: {wall:6.0f} s, {cpu:6.0f} s of processor time, peak "
                f"{parent // 1024} MB, {own // 1024} MB without mapped files, worker "
                f"{most // 1024} MB; {len(dropped)} of {arguments.copies} copies listed",
                flush=True,
            )


if __name__ == "__main__":
    main()
