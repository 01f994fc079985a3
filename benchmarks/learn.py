"""Accuracy of networks on real faces: mini-3, three classes of one size and JPEG history.

    python benchmarks/learn.py --data ../shared/data/images

The classes are CelebA in StarGAN's crop, StarGAN's fakes of the same photographs, and DCGAN's
faces. Copies of one photograph are one group, which never crosses a split. Each network is trained
with the recipe `small` (Meso-4 with its own, whose Adam suits it better) and several seeds. The
table shows test accuracies and the mean over seeds with a 95 % interval from a bootstrap over seeds
and groups. Its first row is a baseline without pixels: a classifier on file size and JPEG header
alone. Below it are the differences from Model-base, on the same images. The benchmark runs for
hours; finished runs are kept in --scratch and reused. amtennet-bf16 needs a processor with
AVX512_BF16 or AMX; --networks leaves it out.
"""

import argparse
import csv
import io
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus

REAL, FAKES = "real-celeba-stargan128", ("fake-stargan128", "fake-dcgan128")
_MESO = ("--recipe", "meso4-native", "--set", "size=128", "--max-iterations", "1000")
NETWORKS: dict[str, tuple[str, ...]] = {
    "amtennet": ("--network", "amtennet", "--recipe", "small"),
    "amtennet-bf16": ("--network", "amtennet", "--recipe", "small", "--precision", "bf16"),
    "model-base": ("--network", "model-base", "--recipe", "small"),
    "mislnet": ("--network", "mislnet", "--recipe", "small"),
    "meso4": ("--network", "meso4", *_MESO, "--set", "val_interval=50", "--set", "log_interval=25"),
}
BASE = "model-base"  # what the other networks are compared with
Floats = npt.NDArray[np.float64]


def lay_out(data: Path, scratch: Path) -> Path:
    """Build the packed corpus, once."""
    corpus, tree = scratch / "mini-3.lmdb", scratch / "mini-3"
    if not corpus.exists():
        tree.mkdir(parents=True, exist_ok=True)
        for name in (REAL, *FAKES):
            link = tree / name
            if not link.is_symlink():
                link.symlink_to((data / name).resolve())
        words = ["hffkit", "build", "folder", "--src", tree, "--real", REAL]
        words += ["--fake", ",".join(FAKES), "--group-by", r"(g\d+_r\d+)", "--size", "128"]
        subprocess.run([str(word) for word in [*words, "--out", corpus]], check=True)
    return corpus


def correct(corpus: Path, run: Path, train: Sequence[object]) -> Floats:
    """Train a run unless it exists; return the correctness of each test sample."""
    if not run.exists():
        words = ["hffkit", "train", "--data", corpus, "--out", run, *train]
        subprocess.run([str(word) for word in words], check=True)
    scores = run / "test.csv"
    if not scores.exists():
        words = ["hffkit", "eval", run, "--data", corpus, "--csv", scores, "--resamples", 0]
        subprocess.run([str(w) for w in words], check=True, stdout=subprocess.DEVNULL)
    rows = csv.DictReader(io.StringIO(scores.read_text("utf-8")))
    return np.array([row["label"] == row["predicted"] for row in rows], float)


def without_pixels(corpus: Path, data: Path) -> Floats:
    """Classify by file size and JPEG header; return the correctness of each test sample."""
    samples = list(Corpus(corpus).samples())
    features = np.array([header(data / sample.source) for sample in samples])
    labels = np.array([sample.cls for sample in samples])
    is_test = np.array([sample.split == "test" for sample in samples])
    is_train = np.array([sample.split == "train" for sample in samples])
    forest = RandomForestClassifier(500, random_state=0)
    forest.fit(features[is_train], labels[is_train])
    return np.asarray(forest.predict(features[is_test]) == labels[is_test], float)


def header(path: Path) -> list[float]:
    """Return size in bytes, width, height, sums of the quantisation tables, other segments."""
    with Image.open(path) as image:
        tables = getattr(image, "quantization", {})
        sums = [float(sum(tables.get(i, ()))) for i in range(2)]
        layers = [float(a * 10 + b) for _, a, b, _ in getattr(image, "layer", ())][:3]
        return [
            float(path.stat().st_size),
            *map(float, image.size),
            *sums,
            *layers,
            *[0.0] * (3 - len(layers)),
            float(len(image.info)),
        ]


def interval(values: Floats, samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (seeds, N), drawing groups and seeds."""
    names, groups = np.unique([sample.group for sample in samples], return_inverse=True)
    sums = np.array([np.bincount(groups, row, len(names)) for row in values])
    sizes = np.bincount(groups, minlength=len(names))
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = rng.integers(0, len(names), len(names))
        seeds = rng.integers(0, len(values), len(values))
        means.append(sums[seeds][:, drawn].sum() / len(seeds) / sizes[drawn].sum())
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    """Train the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-learn"))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of one training")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    corpus = lay_out(arguments.data, arguments.scratch)
    test = [sample for sample in Corpus(corpus).samples() if sample.split == "test"]
    print("| network | test accuracy of each seed | mean | 95 % interval | kept iterations |")
    print("|---|---|---|---|---|")
    known = without_pixels(corpus, arguments.data)
    low, high = interval(known[None], test)
    print(f"| no pixels | | {100 * known.mean():.2f} | {100 * low:.1f} to {100 * high:.1f} | |")
    right: dict[str, Floats] = {}
    for network in arguments.networks.split(","):
        found, kept = [], []
        for seed in range(arguments.seeds):
            run = arguments.scratch / f"{network}-{seed}"
            words = [*NETWORKS[network], "--seed", seed]
            words += ["--threads", arguments.threads]
            found.append(correct(corpus, run, words))
            about = json.loads((run / "run.json").read_text("utf-8"))
            kept.append(str(about["result"]["selected"]["iteration"]))
        each = ", ".join(f"{100 * values.mean():.2f}" for values in found)
        right[network] = np.array(found)
        low, high = interval(right[network], test)
        print(
            f"| {network} | {each} | {100 * np.mean(found):.2f} | {100 * low:.1f} to "
            f"{100 * high:.1f} | {', '.join(kept)} |",
            flush=True,
        )
    for network in [name for name in right if BASE in right and name != BASE]:
        gain = right[network] - right[BASE]  # of the same images, seed by seed
        low, high = interval(gain, test)
        shown = f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        print(f"\n{network} - {BASE}: {shown} points")


if __name__ == "__main__":
    main()
