"""Accuracy that spectral classifiers owe to the sizes of images alone.

    python benchmarks/sizes.py --data ../shared/data/images

The CelebA notebook of Durall et al. compares generated images of 128x128 with img_align_celeba,
whose images are 178x218. Profiles of both are resampled to 80 points, so a point stands for another
frequency in each. The benchmark prints the mean accuracy over ten random splits into 80 and 20 %,
and its standard deviation, with the settings of that notebook. It compares

- fakes of DCGAN, 128x128, with real faces of CelebA, 128x128: one size on both sides;
- the same fakes with the same real faces at 89x109, half the size of img_align_celeba: resized, or
  cut out of the middle, which changes no pixel;
- the same fakes with other real faces, published at 89x109;
- real faces with other real faces, which are left alone, resized or cut. There is no fake among
  them: accuracy above 50 % is owed to the size.

No photograph is in it twice. All images are decoded in colour and made grey alike.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hffkit.media.image import Image, decode, read_bytes
from hffkit.spectrum.features import FEATURES, features_of
from hffkit.spectrum.repeats import N_REPEATS, repeated, splits_of

N_IMAGES = 600  # of each side
WIDTH, HEIGHT = 89, 109
CLASSIFIERS = ("svm-rbf", "svm-linear", "logistic")
Images = Sequence[Image]


def read(folder: Path, first: int = 0) -> Images:
    """Read `N_IMAGES` images of a folder from a place on."""
    paths = sorted(folder.iterdir())[first : first + N_IMAGES]
    return [decode(read_bytes(path)) for path in paths]


def resized(images: Images) -> Images:
    """Resize images to 89x109 by the mean of areas."""
    size, how = (WIDTH, HEIGHT), cv2.INTER_AREA
    return [np.asarray(cv2.resize(image, size, interpolation=how), np.uint8) for image in images]


def cut(images: Images) -> Images:
    """Cut 89x109 out of the middle of images of 128x128."""
    top, left = (128 - HEIGHT) // 2, (128 - WIDTH) // 2
    return [image[top : top + HEIGHT, left : left + WIDTH] for image in images]


def accuracies(some: Images, others: Images) -> list[str]:
    """Return mean accuracy and standard deviation of each classifier, as text."""
    features = features_of([*some, *others], FEATURES["celeba"])
    is_first = np.arange(len(features)) < len(some)
    splits = splits_of(len(features), (), "random", n_repeats=N_REPEATS, seed=0)
    found = []
    for classifier in CLASSIFIERS:
        each, _ = repeated(classifier, features, is_first, splits)
        found.append(f"{100 * each.mean:.1f} ({100 * each.spread:.1f})")
    return found


def comparisons(data: Path) -> Sequence[tuple[str, Images, Images]]:
    """Return the titles and both sides of the comparisons."""
    fakes, half = read(data / "fake-dcgan128"), read(data / "real-celeba-half89")
    reals = read(data / "real-celeba-stargan128")
    others = read(data / "real-celeba-stargan128", first=N_IMAGES)
    return (
        ("fakes 128x128, reals 128x128", fakes, reals),
        ("fakes 128x128, the same reals resized to 89x109", fakes, resized(reals)),
        ("fakes 128x128, the same reals cut to 89x109", fakes, cut(reals)),
        ("fakes 128x128, other reals published at 89x109", fakes, half),
        ("reals 128x128, other reals 128x128", reals, others),
        ("reals 128x128, other reals resized to 89x109", reals, resized(others)),
        ("reals 128x128, other reals cut to 89x109", reals, cut(others)),
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    data = parser.parse_args().data
    print(f"| {N_IMAGES} against {N_IMAGES} | {' | '.join(CLASSIFIERS)} |\n|---|---|---|---|")
    for title, some, others in comparisons(data):
        print(f"| {title} | {' | '.join(accuracies(some, others))} |", flush=True)


if __name__ == "__main__":
    main()
