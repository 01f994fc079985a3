"""Distortion of the two wavelets of JPEG 2000 at the ratios of Table IX.

    python benchmarks/jpeg2000.py --data ../shared/data/images

Prints for some kinds of images the PSNR in dB, median [lowest, highest] of 20 images, after `jp2`
(reversible 5/3) and after `jp2-97` (irreversible 9/7), and the median ratios that they achieve.
"""

import argparse
from pathlib import Path

import numpy as np

from hffkit.degrade.table import OPERATIONS
from hffkit.media.image import Image, decode, read_bytes

KINDS = ("real-celeba-stargan128", "fake-stargan128", "real-ffhq256", "fake-stylegan256",
         "real-ffhq1024-png")  # fmt: skip
CODES = ("jp2", "jp2-97")
RATIOS = (2.0, 4.0, 8.0)
N_IMAGES = 20


def psnr(image: Image, other: Image) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite if the images are equal."""
    error = np.mean((image.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def shown(decibels: float) -> str:
    """Return a PSNR as text."""
    return f"{decibels:.1f}" if np.isfinite(decibels) else "lossless"


def main(data: Path) -> None:
    """Print the table as Markdown."""
    print("| images | ratio | " + " | ".join(f"{c}: dB | ratio" for c in CODES) + " |")
    print("|---|---" + "|---|---" * len(CODES) + "|")
    for kind in KINDS:
        paths = sorted((data / kind).iterdir())[:N_IMAGES]
        images = [decode(read_bytes(path)) for path in paths]
        for ratio in RATIOS:
            cells = []
            for code in CODES:
                done = [OPERATIONS[code].apply(image, ratio) for image in images]
                found = [psnr(i, d.image) for i, d in zip(images, done, strict=True)]
                achieved = np.median([d.facts["ratio"] for d in done])
                low, middle, high = map(shown, (min(found), np.median(found), max(found)))
                spread = "" if low == high else f" [{low}, {high}]"
                cells.append(f"{middle}{spread} | {achieved:.2f}")
            print(f"| {kind} | {ratio:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the distortion of both wavelets.")
    parser.add_argument("--data", type=Path, required=True)
    main(parser.parse_args().data)
