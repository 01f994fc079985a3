"""Faults planted into corpora of 3,000 real images, and what `hffkit audit` finds of them.

    python benchmarks/planted.py --data ../shared/data copies
    python benchmarks/planted.py --data ../shared/data classes videos
    python benchmarks/planted.py --data ../shared/data classes --only border

`copies` draws 3,000 images of several sources and sizes, a third of them StarGAN's images of the
same photos and these photos, each as a group of its own. It adds 60 copies of each kind, in another
split than their originals or under the other label, and prints for each kind how many the audit
lists to be dropped, and how many other images it lists.

`classes` saves photos and as many of StarGAN's images alike, but for one difference, and prints
the worst finding of each such corpus.

`videos` lays 150 pairs of FaceForensics++ and their forgeries as folders of frames in the official
splits, moves two of five frames of 60 videos to another split, and prints how many are found.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from neighbours import OTHERS, STARGAN, drawn, files_of
from PIL import Image, ImageEnhance

from hffkit.corpus.build import build, prepare
from hffkit.media.image import decode, encode_png
from hffkit.sources.ffpp import official_pairs
from hffkit.sources.table import SOURCES

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

N_COPIES = 60
SPLITS = ("train", "val", "test")
AUDIT = (sys.executable, "-c", "from hffkit.cli.main import main; main()", "audit")


def jpeg(image: Pixels, quality: int = 75, **how: Any) -> bytes:
    """Encode an image as JPEG by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, **how)
    return buffer.getvalue()


def recoded(image: Pixels, rng: Rng) -> bytes:
    """Encode an image as JPEG of quality 60 to 95, by Pillow."""
    return jpeg(image, int(rng.integers(60, 96)))


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


def two_edits(image: Pixels, rng: Rng) -> bytes:
    """Make a copy of a copy, of two different kinds."""
    first, second = rng.choice(np.array(EDITS, object), 2, replace=False)
    return bytes(second(decode(first(image, rng)), rng))


EDITS = (recoded, mirrored, cropped, resized, brightened)
COPIES: Mapping[str, Callable[[Pixels, Rng], bytes]] = {
    "exact": lambda image, _: encode_png(image),
    "re-encoded, Q60 to Q95": recoded,
    "mirrored": mirrored,
    "cropped to 90 %": cropped,
    "resized, 0.5 to 2": resized,
    "brightened": brightened,
    "mirrored crop to 90 %": mirrored_crop,
    "resized without filter": nearest,
    "two of these edits": two_edits,
}
RELABELLED: Mapping[str, Callable[[Pixels, Rng], bytes]] = {
    "the same pixels under the other label": COPIES["exact"],
    "re-encoded under the other label": recoded,
}


def plant(data: Path, folder: Path, seed: int, n_images: int) -> None:
    """Write the images and the copies, as files of random splits."""
    rng = np.random.default_rng(seed)
    paths = drawn(files_of(data, STARGAN), n_images // 3, rng)
    paths += drawn(files_of(data, OTHERS), n_images - len(paths), rng)
    kinds = {**COPIES, **RELABELLED}
    chosen = iter(rng.permutation(len(paths)))
    originals = {int(next(chosen)): kind for kind in kinds for _ in range(N_COPIES)}
    for number, path in enumerate(paths):
        split = int(rng.integers(3))
        label = path.parent.name.partition("-")[0]
        write(folder / SPLITS[split] / label / f"{number:04}-{path.name}", path.read_bytes())
        kind = originals.get(number)
        if kind is None:
            continue
        if kind in RELABELLED:
            label = "fake" if label == "real" else "real"
        else:
            split = (split + int(rng.integers(1, 3))) % 3
        encoded = kinds[kind](decode(path.read_bytes()), rng)
        name = f"{number:04}-copy{list(kinds).index(kind)}.png"
        write(folder / SPLITS[split] / label / name, encoded)


def write(path: Path, encoded: bytes) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)


def audited(folder: Path) -> Any:
    """Build a corpus of class folders, and return the report of its audit."""
    corpus = folder.with_name(f"{folder.name}.lmdb")
    options = SOURCES["folder"].options("folder", folder, real=("real",), fake=("fake",))
    build(prepare(options), corpus, n_workers=2)
    command = [*AUDIT, str(corpus), "--workers", "2", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def number_of(key: str) -> str:
    """Return the number of an image, which its copy shares."""
    return Path(key).name.partition("-")[0]


def copies(data: Path, scratch: Path, seed: int, n_images: int, _: str) -> None:
    """Print how many copies of each kind are found, and the false alarms."""
    folder = scratch / f"copies-{seed}"
    plant(data, folder, seed, n_images)
    began = time.perf_counter()
    report = audited(folder)
    checks = ("equal-pixels", "near-duplicates")
    findings = [each for each in report["findings"] if each["check"] in checks]
    dropped = {key for finding in findings for key in finding["drop"]}
    found = {number_of(key) for key in dropped}
    names = [path.name for path in folder.rglob("*-copy*")]
    print("| copies | planted | found |\n|---|---|---|")
    for place, kind in enumerate((*COPIES, *RELABELLED)):
        numbers = [number_of(name) for name in names if f"-copy{place}." in name]
        missed = [number for number in numbers if number not in found]
        print(f"| {kind} | {len(numbers)} | {len(numbers) - len(missed)} |", *missed[:8])
    alarms = sorted(found - {number_of(name) for name in names})
    spent = time.perf_counter() - began
    print(f"of {report['n_samples']}, {len(alarms)} others are listed; {spent:.0f} s", *alarms)


def with_exif(image: Pixels) -> bytes:
    """Encode an image as JPEG with EXIF."""
    exif = Image.Exif()
    exif[0x010F] = "maker"
    return jpeg(image, exif=exif)


def framed(image: Pixels, height: int, width: int, colour: int) -> Pixels:
    """Paint a border over an image."""
    found = image.copy()
    found[:height] = found[-height:] = colour
    if width:
        found[:, :width] = found[:, -width:] = colour
    return found


def enlarged(image: Pixels) -> Pixels:
    """Reduce an image to 7/8, and enlarge it to its size."""
    size = (image.shape[1], image.shape[0])
    small = cv2.resize(image, (size[0] * 7 // 8, size[1] * 7 // 8), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def cut(image: Pixels, start: int) -> Pixels:
    """Cut 120 px out of an image of 128."""
    return np.ascontiguousarray(image[start : start + 120, start : start + 120])


Save = Callable[[Pixels], bytes]
PROFILE = b"profile" * 20
CLASSES: Mapping[str, tuple[Save, Save]] = {  # of the photos, of the forgeries
    "nothing": (jpeg, jpeg),
    "JPEG quality 75, 85": (jpeg, lambda image: jpeg(image, 85)),
    "saved once, and at quality 60 before": (jpeg, lambda image: jpeg(decode(jpeg(image, 60)))),
    "EXIF, stripped of it": (with_exif, jpeg),
    "a border of 2 px, grey": (jpeg, lambda image: jpeg(framed(image, 2, 2, 90))),
    "a border of 2 px, white": (jpeg, lambda image: jpeg(framed(image, 2, 2, 255))),
    "letterboxed by 12 rows": (jpeg, lambda image: jpeg(framed(image, 12, 0, 0))),
    "JPEG, PNG": (jpeg, lambda image: encode_png(decode(jpeg(image)))),
    "chroma 4:2:0, 4:4:4": (jpeg, lambda image: jpeg(image, subsampling=0)),
    "baseline, progressive": (jpeg, lambda image: jpeg(image, progressive=True)),
    "colour profile": (jpeg, lambda image: jpeg(image, icc_profile=PROFILE)),
    "enlarged from 7/8": (jpeg, lambda image: jpeg(enlarged(image))),
    "cut at another place of the grid": (
        lambda image: encode_png(cut(image, 0)), lambda image: encode_png(cut(image, 4)),
    ),
}  # fmt: skip


def classes(data: Path, scratch: Path, seed: int, n_images: int, only: str) -> None:
    """Print the worst finding of corpora whose classes differ in one way."""
    rng = np.random.default_rng(seed)
    paths = [drawn(files_of(data, (name,)), n_images // 2, rng) for name in STARGAN]
    print("| one class differs in | worst finding | AUC |\n|---|---|---|")
    for place, (kind, saves) in enumerate(CLASSES.items()):
        if only not in kind:
            continue
        folder = scratch / f"classes-{seed}-{place}"
        for label, files, save in zip(("real", "fake"), paths, saves, strict=True):
            for number, path in enumerate(files):
                write(
                    folder / SPLITS[number % 3] / label / path.name, save(decode(path.read_bytes()))
                )
        report = audited(folder)
        found = [each for each in report["findings"] if "shortcuts" in each["check"]]
        rank = {"high": 2, "medium": 1, "low": 0}
        worst = max(found, key=lambda each: (rank[each["severity"]], each["number"]), default=None)
        shown = (
            "none |"
            if worst is None
            else f"{worst['severity']}: {worst['title']} | {worst['number']}"
        )
        print(f"| {kind} | {shown} |", flush=True)


def videos(data: Path, scratch: Path, seed: int, n_images: int, _: str) -> None:
    """Print how many of the videos in two splits are found."""
    rng = np.random.default_rng(seed)
    folder = scratch / f"videos-{seed}"
    official = official_pairs()
    pairs = sorted({pair for pair, _ in official.values()})
    chosen = [pairs[i] for i in rng.choice(len(pairs), n_images // 20, replace=False)]
    names = [name for pair in chosen for name in (*pair.split("+"), pair.replace("+", "_"),
                                                  "_".join(reversed(pair.split("+"))))]  # fmt: skip
    files = iter(drawn(files_of(data, STARGAN), 5 * len(names), rng))
    moved = set(rng.choice(names, N_COPIES, replace=False).tolist())
    for name in names:
        split = official[name[:3]][1]
        label = "fake" if "_" in name else "real"
        for frame in range(5):
            other = SPLITS[(SPLITS.index(split) + 1) % 3]
            where = other if name in moved and frame >= 3 else split
            write(folder / where / label / name / f"{frame}.jpg", next(files).read_bytes())
    report = audited(folder)
    dropped = {key for f in report["findings"] if f["check"] == "origins" for key in f["drop"]}
    videos_of = [Path(key).parent.name for key in dropped]
    share = {name for name in names for key in moved if set(name.split("_")) & set(key.split("_"))}
    print(f"{len(moved & set(videos_of))} of {len(moved)} videos in two splits are found; "
          f"{len(set(videos_of) - share)} of the others listed")  # fmt: skip


PARTS = {"copies": copies, "classes": classes, "videos": videos}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds images")
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--only", default="", help="part of a name of `classes`")
    parser.add_argument("--images", type=int, default=3000, help="of a corpus")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one corpus for each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.parts:
            for seed in arguments.seeds:
                print(f"\n{name}, seed {seed}", flush=True)
                PARTS[name](arguments.data, Path(scratch), seed, arguments.images, arguments.only)


if __name__ == "__main__":
    main()
