"""Is AMTEN worth it? Accuracy against the number of training images, in five grouped folds.

    python benchmarks/learning_curve.py
    python benchmarks/learning_curve.py --data IMAGES IMAGES_MORE --sizes 500,1000,2000,4000,all

Five classes at 128 px: CelebA in StarGAN's crop, StarGAN's and DCGAN's faces as they are (JPEG,
quality 75), FFHQ and StyleGAN (256 px, quality 75) halved and saved again at quality 75, both by
the same path. Copies of one photograph are one group. Each group is tested in one of the folds and
trained on in the others; smaller training sets are parts of larger ones. All networks of a fold
see the same images in the same order, 14 passes over them (at least 1,000 iterations) with the
recipe `small`. So differences are paired, and their intervals come from a bootstrap over groups and
folds, each fold with a seed of its own.

Without --data, the command prints the table of benchmarks/measured/learning-curve.csv. With it, it
first does the trainings that have no row there, hours each at the larger sizes, one thread each:

    --sizes 500,2000,all --folds 0,1,2 --networks model-base,amtennet    # a part of the design

The table shows the sizes and folds at which all of --networks are trained. Start as many processes
as there are cores (nice -n 19): they share the work. Ctrl-C and SIGTERM lose nothing, and the same
command continues; runs are in --scratch. See trainings.py for the file.
"""

import argparse
import contextlib
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from trainings import (
    MEASURED,
    N_RESAMPLES,
    NO_PIXELS,
    Built,
    Floats,
    Ints,
    Measurements,
    Row,
    Settings,
    Training,
    add_without_pixels,
    locked,
    origin,
    train_missing,
)

REAL = ("real-celeba-stargan128", "real-ffhq256")
FAKE = ("fake-stargan128", "fake-dcgan128", "fake-stylegan256")
HALVED = ("real-ffhq256", "fake-stylegan256")
NETWORKS = ("model-base", "amtennet", "srm-model-base")
BASE = NETWORKS[0]  # what the others are compared with
N_FOLDS, PASSES, BATCH, QUALITY = 5, 14, 64, 75
MIN_ITERATIONS = 1000
_PHOTOGRAPH = re.compile(r"g\d+_r\d+")


def faces(folders: Sequence[Path], scratch: Path) -> dict[str, list[Path]]:
    """Return the files of each group, those of 256 px halved by one path."""
    groups: dict[str, list[Path]] = {}
    for name in (*REAL, *FAKE):
        for path in sorted(p for folder in folders for p in (folder / name).glob("*.jpg")):
            file = halved(path, scratch / "halved" / name) if name in HALVED else path
            photograph = _PHOTOGRAPH.match(path.name)
            group = photograph[0] if photograph else f"{name}/{path.name}"
            groups.setdefault(group, []).append(file)
    return groups


def halved(path: Path, folder: Path) -> Path:
    """Write an image at half its size as JPEG, once."""
    out = folder / path.name
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        image = np.asarray(cv2.imread(str(path)))
        small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out), small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return out


def splits(
    groups: dict[str, list[Path]], fold: int, size: int | None
) -> Iterator[tuple[str, Path]]:
    """Yield split and file of every image of a fold; `size` images of training, None for all."""
    names = sorted(groups)
    random.Random(0).shuffle(names)
    rest = [name for i, name in enumerate(names) if i % N_FOLDS != fold]
    n_train = 0
    for name in rest:
        if size is not None and n_train >= size:
            break
        n_train += len(groups[name])
        yield from (("train", path) for path in groups[name])
    yield from (("test", path) for name in names[fold::N_FOLDS] for path in groups[name])


def corpus_name(fold: int, size: int | None) -> str:
    """Return the name of the corpus of a fold and size."""
    return f"fold{fold}-{size or 'all'}"


def lay_out(groups: dict[str, list[Path]], scratch: Path, fold: int, size: int | None) -> Path:
    """Build the packed corpus of a fold and size, once."""
    name = corpus_name(fold, size)
    corpus, tree = scratch / f"{name}.lmdb", scratch / name
    if corpus.exists():
        return corpus
    for split, path in splits(groups, fold, size):
        link = tree / split / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    words = ["hffkit", "build", "folder", "--src", tree, "--real", ",".join(REAL)]
    words += ["--fake", ",".join(FAKE), "--group-by", r"(g\d+_r\d+)", "--size", "128"]
    subprocess.run([str(word) for word in [*words, "--out", corpus]], check=True)
    return corpus


class Curve:
    """Correct test predictions at one size, over the finished folds."""

    def __init__(self) -> None:
        self.right: dict[str, list[Floats]] = {}  # by network: of each fold (N,)
        self.groups: list[Ints] = []
        self.n_train: list[int] = []

    def add(self, file: Measurements, rows: Sequence[Row]) -> None:
        """Add a fold."""
        self.groups.append(file.groups(rows[0]))
        self.n_train.append(rows[0].n_train)
        for row in rows:
            self.right.setdefault(row.network, []).append(file.right(row))

    def means(self) -> tuple[dict[str, float], dict[str, Floats]]:
        """Return the accuracy of each network in per cent, and its resamples (R,)."""
        rng = np.random.default_rng(0)
        sums: dict[str, list[Floats]] = {network: [] for network in self.right}
        counts: list[Floats] = []
        for i, which in enumerate(self.groups):
            n = int(which.max()) + 1
            drawn = rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
            counts.append(np.asarray(drawn @ np.bincount(which), np.float64))
            for network, right in self.right.items():
                right_of = np.bincount(which, right[i], n)
                sums[network].append(np.asarray(drawn @ right_of, np.float64))
        n = len(counts)
        folds = rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
        total = (folds * np.array(counts).T).sum(1)
        values = {network: 100 * np.concatenate(r).mean() for network, r in self.right.items()}
        spread = {
            network: 100 * (folds * np.array(parts).T).sum(1) / total
            for network, parts in sums.items()
        }
        return values, spread


def shown(value: float, resamples: Floats, form: str = ".1f") -> str:
    """Return a figure with its 95 % interval."""
    low, high = np.nanpercentile(resamples, (2.5, 97.5))
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def line(curve: Curve, networks: Sequence[str]) -> str:
    """Return the line of the table of one size."""
    values, spread = curve.means()
    cells = [f"{np.mean(curve.n_train):,.0f}", str(len(curve.groups))]
    cells += [shown(values[name], spread[name]) for name in (NO_PIXELS, *networks)]
    for name in compared(networks):
        cells.append(shown(values[name] - values[BASE], spread[name] - spread[BASE], "+.1f"))
        reduction = (values[name] - values[BASE]) / (100 - values[BASE])
        many = (spread[name] - spread[BASE]) / (100 - spread[BASE])
        cells.append(shown(100 * reduction, 100 * many, "+.0f"))
    return "| " + " | ".join(cells) + " |"


def compared(networks: Sequence[str]) -> list[str]:
    """Return the networks whose difference from BASE is shown."""
    return [name for name in networks if BASE in networks and name != BASE]


def print_table(
    file: Measurements, sizes: Sequence[int | None], folds: Sequence[int], networks: Sequence[str]
) -> None:
    """Print the line of each size that has a fold with a training of each network."""
    heads = ["training images", "folds", NO_PIXELS, *networks]
    for name in compared(networks):
        heads += [f"{name} - {BASE}", "error reduction, %"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    rows, used = file.rows(), []
    for size in sizes:
        curve = Curve()
        for fold in folds:
            name = corpus_name(fold, size)
            keys = [(name, NO_PIXELS, 0), *((name, network, fold) for network in networks)]
            if all(key in rows for key in keys):
                found = [rows[key] for key in keys]
                curve.add(file, found)
                used += found
        if curve.groups:
            print(line(curve, networks))
    print(f"\n{origin(used)}")


def complete(
    file: Measurements,
    data: Sequence[Path],
    scratch: Path,
    cells: Sequence[tuple[int | None, int]],
    networks: Sequence[str],
    threads: int,
) -> None:
    """Do the trainings that have no row, of each size and fold in turn."""
    for size, fold in cells:
        with locked(scratch / "corpora", waits=True):
            built = Built(lay_out(faces(data, scratch), scratch, fold, size))
        add_without_pixels(file, built, built.path.with_suffix(""))
        n_iterations = max(MIN_ITERATIONS, round(PASSES * built.n_train / BATCH))
        for network in networks:
            settings = Settings(network, changes=(f"max_iterations={n_iterations}",))
            run = built.path.with_name(f"{built.name}-{network}")
            options = ("--threads", threads)
            train_missing(file, built, Training(network, settings, fold, run, options))


def main() -> None:
    """Train what is missing if there are data, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, nargs="+", help="class folders, to train on")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-curve"))
    parser.add_argument(
        "--measured", type=Path, default=MEASURED / "learning-curve.csv", help="CSV file"
    )
    parser.add_argument("--sizes", default="500,1000,2000,4000,all")
    parser.add_argument("--folds", default=",".join(map(str, range(N_FOLDS))))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--threads", type=int, default=1, help="threads of one training")
    arguments = parser.parse_args()
    file, networks = Measurements(arguments.measured), arguments.networks.split(",")
    sizes = [None if word == "all" else int(word) for word in arguments.sizes.split(",")]
    folds = [int(word) for word in arguments.folds.split(",")]
    if arguments.data is not None:
        cells = [(size, fold) for size in sizes for fold in folds]
        with contextlib.suppress(KeyboardInterrupt):
            complete(file, arguments.data, arguments.scratch, cells, networks, arguments.threads)
    print_table(file, sizes, folds, networks)


if __name__ == "__main__":
    main()
