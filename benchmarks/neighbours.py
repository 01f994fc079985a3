"""Near-duplicates: how many planted copies are found, false alarms, and speed.

    python benchmarks/neighbours.py --data ../shared/data --planted
    python benchmarks/neighbours.py --data ../shared/data --search

`--planted` draws 3,000 images of several sources and sizes, a third of them StarGAN's pictures of
the same photos and these photos, each as a group of its own. It adds 60 copies of each kind, in
another split than their originals, builds a corpus, and prints for each kind how many are found,
and how many of the other images are in a pair. Then it prints the distances of all pairs of
StarGAN's pictures of one photo, and the photo.

`--search` prints seconds and candidates of the search among 10,000, 50,000 and 155,000
thumbnails: those of all images, repeated with smooth noise that makes them other images.
Then it prints records per second of decoding and describing, and pairs per second of registration.
"""

import argparse
import io
import itertools
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.near_duplicates import MAX_DISTANCE, Compared, compare
from hffkit.audit.neighbours import SIDE, VIEWS, Thumbnails, candidates, describe
from hffkit.audit.registration import register
from hffkit.corpus.build import build, prepare
from hffkit.media.image import decode, encode_jpeg, encode_png
from hffkit.sources.table import SOURCES

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

N_IMAGES, N_COPIES = 3000, 60
STARGAN = ("real-celeba-stargan128", "fake-stargan128")
OTHERS = (
    "fake-dcgan128", "real-ffhq256", "fake-stylegan256", "real-celeba-half89", "real-lfwcrop",
    "fake-stylegan2-web512", "real-celebahq1024", "fake-pggan1024", "real-lfw250-gray",
)  # fmt: skip


def recoded(image: Pixels, rng: Rng) -> bytes:
    """Encode an image as JPEG of quality 60 to 95, by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
    return buffer.getvalue()


def mirrored(image: Pixels, rng: Rng) -> bytes:
    """Mirror an image, and save it as PNG or JPEG."""
    turned = np.ascontiguousarray(image[:, ::-1])
    return encode_png(turned) if rng.random() < 0.5 else recoded(turned, rng)


def part(image: Pixels, rng: Rng) -> Pixels:
    """Cut 90 % of each side out of an image."""
    height, width = (round(0.9 * side) for side in image.shape[:2])
    top = int(rng.integers(0, image.shape[0] - height + 1))
    left = int(rng.integers(0, image.shape[1] - width + 1))
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def cropped(image: Pixels, rng: Rng) -> bytes:
    """Crop an image to 90 %, and enlarge half of the crops to its size."""
    crop = part(image, rng)
    if rng.random() < 0.5:
        size = (image.shape[1], image.shape[0])
        crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC))
    return recoded(crop, rng)


def resized(image: Pixels, rng: Rng) -> bytes:
    """Scale an image by 0.5 to 2, with one of five filters."""
    scale = 2.0 ** rng.uniform(-1, 1)
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    filters = (
        Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS,
        Image.Resampling.BOX,
    )  # fmt: skip
    how = int(rng.integers(len(filters) + 1))
    if how == len(filters):
        return encode_png(np.asarray(cv2.resize(image, size), np.uint8))
    return encode_png(np.asarray(Image.fromarray(image).resize(size, filters[how])))


def brightened(image: Pixels, rng: Rng) -> bytes:
    """Brighten an image by a factor, an offset or a gamma."""
    how = int(rng.integers(3))
    if how == 0:
        enhance = ImageEnhance.Brightness(Image.fromarray(image)).enhance
        return encode_png(np.asarray(enhance(rng.uniform(1.1, 1.5))))
    if how == 1:
        return encode_png(np.clip(image + rng.integers(15, 46), 0, 255).astype(np.uint8))
    return encode_png(np.rint(255 * (image / 255) ** rng.uniform(0.6, 0.9)).astype(np.uint8))


def mirrored_crop(image: Pixels, rng: Rng) -> bytes:
    """Mirror a crop to 90 %."""
    return recoded(np.ascontiguousarray(part(image, rng)[:, ::-1]), rng)


def nearest(image: Pixels, rng: Rng) -> bytes:
    """Scale an image by 0.5 to 2 without a filter."""
    scale = 2.0 ** rng.uniform(-1, 1)
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    return encode_png(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.NEAREST)))


KINDS: Mapping[str, Callable[[Pixels, Rng], bytes]] = {
    "exact": lambda image, _: encode_png(image),
    "re-encoded, Q60 to Q95": recoded,
    "mirrored": mirrored,
    "cropped to 90 %": cropped,
    "resized, 0.5 to 2": resized,
    "brightened": brightened,
    "mirrored crop to 90 %": mirrored_crop,
    "resized without filter": nearest,
}


def files_of(data: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the images of some folders of data/images and data/images-more."""
    folders = [data / part / name for part in ("data/images", "data/images-more") for name in names]
    return sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())


def drawn(paths: list[Path], n: int, rng: Rng) -> list[Path]:
    """Draw files."""
    return [paths[i] for i in np.sort(rng.choice(len(paths), n, replace=False))]


def plant(data: Path, folder: Path, seed: int) -> None:
    """Write the images and the copies, as files of random splits and of their polarity."""
    rng = np.random.default_rng(seed)
    paths = drawn(files_of(data, STARGAN), N_IMAGES // 3, rng)
    paths += drawn(files_of(data, OTHERS), N_IMAGES - len(paths), rng)
    splits = ("train", "val", "test")
    chosen = iter(rng.permutation(len(paths)))
    originals = {int(next(chosen)): kind for kind in KINDS for _ in range(N_COPIES)}
    for number, path in enumerate(paths):
        split = int(rng.integers(3))
        name = f"{path.parent.name.partition('-')[0]}/{number:04}"
        write(folder / splits[split] / f"{name}-{path.name}", path.read_bytes())
        if number in originals:
            kind = originals[number]
            other = splits[(split + int(rng.integers(1, 3))) % 3]
            place = list(KINDS).index(kind)
            encoded = KINDS[kind](decode(path.read_bytes()), rng)
            write(folder / other / f"{name}-copy{place}.png", encoded)


def write(path: Path, encoded: bytes) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)


def planted(data: Path, scratch: Path, seed: int) -> None:
    """Print how many copies of each kind are found, and the false alarms."""
    corpus = scratch / f"planted-{seed}.lmdb"
    if not corpus.exists():
        folder = scratch / f"planted-{seed}"
        plant(data, folder, seed)
        options = SOURCES["folder"].options("folder", folder, real=("real",), fake=("fake",))
        build(prepare(options), corpus, n_workers=2)
    audited = Audited(AuditRequest((str(corpus),)), n_workers=2)
    began, cpu = time.perf_counter(), time.process_time()
    found = compare(audited)
    spent, used = time.perf_counter() - began, time.process_time() - cpu
    keys = [sample.key for _, sample in audited.items(np.arange(len(audited.index)))]
    report(found, [Path(key).name for key in keys])
    print(f"{len(keys)} samples, {found.n_candidates} candidates, {len(found.copies)} copies; "
          f"{spent:.0f} s, {used:.0f} s of them in this process\n", flush=True)  # fmt: skip


def number_of(name: str) -> str:
    """Return the number of an image, which its copy shares."""
    return name.partition("-")[0]


def report(found: Compared, names: list[str]) -> None:
    """Print the table of kinds, and the images that are no copies but in a pair."""
    pairs = {(names[copy.first], names[copy.second]): copy for copy in found.copies}
    true = {number_of(a) for a, b in pairs if number_of(a) == number_of(b)}
    first: dict[int, str] = {}
    for name, image in zip(names, found.images, strict=True):  # equal pixels
        if number_of(first.setdefault(int(image), name)) == number_of(name) != "":
            true |= {number_of(name)} if first[int(image)] != name else set()
    print("| copies | planted | found |\n|---|---|---|")
    for place, kind in enumerate(KINDS):
        copies = [number_of(name) for name in names if f"-copy{place}." in name]
        print(f"| {kind} | {len(copies)} | {sum(n in true for n in copies)} |")
    wrong = {pair: copy for pair, copy in pairs.items() if len(set(map(number_of, pair))) > 1}
    alarmed = {name for pair in wrong for name in pair}
    distances = [copy.distance for copy in pairs.values()]
    quantiles = ", ".join(f"{q:.3f}" for q in np.quantile(distances, (0.5, 0.95, 0.99, 1)))
    print(f"\ndistances of copies: {quantiles} (median, 95 %, 99 %, largest)")
    print(f"{len(alarmed)} other images in pairs ({100 * len(alarmed) / len(names):.2f} %)")
    for (a, b), copy in wrong.items():
        print(f"  {copy.distance:.3f} {a} {b}: {copy.kind}")


def edited(data: Path) -> None:
    """Print how close StarGAN's pictures of one photo, and the photo, are to each other."""
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
    print(f"{len(distances)} pairs of StarGAN's pictures of one photo and the photo: {n_close} "
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
    parser.add_argument("--data", type=Path, required=True, help="folder that holds data/images")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--seeds", type=int, default=1, help="number of planted corpora")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-neighbours")
    )
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores\n", flush=True)
    for seed in range(arguments.seeds if arguments.planted else 0):
        planted(arguments.data, arguments.scratch, seed)
    if arguments.planted:
        edited(arguments.data)
    if arguments.search:
        search(arguments.data)


if __name__ == "__main__":
    main()
