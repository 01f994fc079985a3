"""Is AMTEN worth it? Accuracy against the number of training images, in five grouped folds.

    python benchmarks/learning_curve.py --data IMAGES IMAGES_MORE --sizes 500,1000,2000,4000,all

Five classes at 128 px: CelebA in StarGAN's crop, StarGAN's and DCGAN's faces as they are (JPEG,
quality 75), FFHQ and StyleGAN (256 px, quality 75) halved and saved again at quality 75, both by
the same path. Copies of one photograph are one group. Each group is tested in one of the folds and
trained on in the others; smaller training sets are parts of larger ones. All networks of a fold
see the same images in the same order, 14 passes over them (at least 1,000 iterations) with the
recipe `small`. So differences are paired, and their intervals come from a bootstrap over groups and
folds, each fold with a seed of its own.

One training after the other, each on --threads threads. It runs for hours. Finished runs are kept
in --scratch and used again; an interrupted training goes on. --fold trains one fold only, so that
several processes can share the work; the table covers the folds that are finished.
"""

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from learn import correct, without_pixels

from hffkit.storage.corpus import Corpus

REAL = ("real-celeba-stargan128", "real-ffhq256")
FAKE = ("fake-stargan128", "fake-dcgan128", "fake-stylegan256")
HALVED = ("real-ffhq256", "fake-stylegan256")
NETWORKS = ("model-base", "amtennet", "srm-model-base")  # the first is what others are compared to
N_FOLDS, PASSES, BATCH, QUALITY = 5, 14, 64, 75
MIN_ITERATIONS = 1000
N_RESAMPLES = 2000
_PHOTOGRAPH = re.compile(r"g\d+_r\d+")
Floats = npt.NDArray[np.float64]


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


def lay_out(groups: dict[str, list[Path]], scratch: Path, fold: int, size: int | None) -> Path:
    """Build the packed corpus of a fold and size, once."""
    name = f"fold{fold}-{size or 'all'}"
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
        self.groups: list[npt.NDArray[np.str_]] = []
        self.n_train: list[int] = []

    def add(self, corpus: Path, tree: Path, found: dict[str, Floats]) -> None:
        """Add a fold."""
        samples = list(Corpus(corpus).samples())
        self.groups.append(np.array([s.group or s.key for s in samples if s.split == "test"]))
        self.n_train.append(sum(s.split == "train" for s in samples))
        for network, right in {**found, "no pixels": without_pixels(corpus, tree)}.items():
            self.right.setdefault(network, []).append(right)

    def means(self) -> tuple[dict[str, float], dict[str, Floats]]:
        """Return the accuracy of each network in per cent, and its resamples (R,)."""
        rng = np.random.default_rng(0)
        sums: dict[str, list[Floats]] = {network: [] for network in self.right}
        counts: list[Floats] = []
        for i, names in enumerate(self.groups):
            known, which = np.unique(names, return_inverse=True)
            drawn = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), N_RESAMPLES)
            counts.append(np.asarray(drawn @ np.bincount(which), np.float64))
            for network, right in self.right.items():
                right_of = np.bincount(which, right[i], len(known))
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


def line(curve: Curve) -> str:
    """Return the line of the table of one size."""
    values, spread = curve.means()
    base = NETWORKS[0]
    cells = [f"{np.mean(curve.n_train):,.0f}", str(len(curve.groups))]
    cells += [shown(values[name], spread[name]) for name in ("no pixels", *NETWORKS)]
    for name in NETWORKS[1:]:
        cells.append(shown(values[name] - values[base], spread[name] - spread[base], "+.1f"))
        reduction = (values[name] - values[base]) / (100 - values[base])
        many = (spread[name] - spread[base]) / (100 - spread[base])
        cells.append(shown(100 * reduction, 100 * many, "+.0f"))
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="class folders")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-curve"))
    parser.add_argument("--sizes", default="500,1000,2000,4000,all")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="train this fold only")
    parser.add_argument("--threads", type=int, default=1, help="threads of one training")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    groups = faces(arguments.data, arguments.scratch)
    heads = ["training images", "folds", "no pixels", *NETWORKS]
    for name in NETWORKS[1:]:
        heads += [f"{name} - {NETWORKS[0]}", "error reduction, %"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for size in (None if word == "all" else int(word) for word in arguments.sizes.split(",")):
        curve = Curve()
        for fold in range(N_FOLDS):
            corpus = lay_out(groups, arguments.scratch, fold, size)
            n_train = sum(s.split == "train" for s in Corpus(corpus).samples())
            n_iterations = max(MIN_ITERATIONS, round(PASSES * n_train / BATCH))
            runs = {name: corpus.with_name(f"{corpus.stem}-{name}") for name in NETWORKS}
            if arguments.fold not in (None, fold) and not all(
                run.exists() for run in runs.values()
            ):
                continue
            found = {}
            for name, run in runs.items():
                words = ["--network", name, "--recipe", "small", "--seed", fold]
                words += ["--max-iterations", n_iterations, "--threads", arguments.threads]
                found[name] = correct(corpus, run, words)
            curve.add(corpus, corpus.with_suffix(""), found)
        if curve.groups:
            print(line(curve), flush=True)


if __name__ == "__main__":
    main()
