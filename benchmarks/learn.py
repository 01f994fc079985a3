"""Accuracy of networks on real faces: mini-3, three classes of one size and JPEG history.

    python benchmarks/learn.py                              # the table of benchmarks/measured/
    nice -n 19 python benchmarks/learn.py --data IMAGES     # first train what it lacks

The classes are CelebA in StarGAN's crop, StarGAN's fakes of the same photographs, and DCGAN's
faces. Copies of one photograph are one group, which never crosses a split. Each network is trained
with the recipe `small` (Meso-4 with its own, whose Adam suits it better) and several seeds. The
table shows test accuracies and the mean over seeds with a 95 % interval from a bootstrap over seeds
and groups. Its first row is a baseline without pixels: a classifier on file size and JPEG header
alone. Below it are the differences from Model-base, on the same images and seeds.

A training takes half an hour on one thread. Each adds a row to benchmarks/measured/mini-3.csv when
it is finished, and is not repeated; see trainings.py. Start as many processes as there are cores:
they share the work. Ctrl-C and SIGTERM lose nothing, and the same command continues; runs are in
--scratch. Finished runs of `hffkit train` with the same corpus and options that lie there as
NETWORK-SEED count, too. amtennet-bf16 needs a processor with AVX512_BF16 or AMX.
"""

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from trainings import (
    MEASURED,
    NO_PIXELS,
    Built,
    Measurements,
    Row,
    Settings,
    Training,
    add_without_pixels,
    interval,
    locked,
    origin,
    train_missing,
)

REAL, FAKES = "real-celeba-stargan128", ("fake-stargan128", "fake-dcgan128")
_MESO = ("size=128", "max_iterations=1000", "val_interval=50", "log_interval=25")
NETWORKS = {
    "amtennet": Settings("amtennet"),
    "amtennet-bf16": Settings("amtennet", changes=("precision=bf16",)),
    "model-base": Settings("model-base"),
    "mislnet": Settings("mislnet"),
    "meso4": Settings("meso4", "meso4-native", _MESO),
}
BASE = "model-base"  # what the other networks are compared with
CORPUS = "mini-3"


def lay_out(data: Path, scratch: Path) -> Path:
    """Build the packed corpus, once."""
    corpus, tree = scratch / f"{CORPUS}.lmdb", scratch / CORPUS
    with locked(corpus, waits=True):
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


def complete(
    file: Measurements, data: Path, scratch: Path, networks: Sequence[str], seeds: int, threads: int
) -> None:
    """Do the trainings that have no row, seed by seed."""
    built = Built(lay_out(data, scratch))
    add_without_pixels(file, built, data)
    for seed in range(seeds):
        for network in networks:
            run = scratch / f"{network}-{seed}"
            options = ("--threads", threads)
            train_missing(file, built, Training(network, NETWORKS[network], seed, run, options))


def print_table(file: Measurements, networks: Sequence[str], n_seeds: int) -> None:
    """Print accuracies of the seeds that are there, and the differences from BASE."""
    rows = file.rows()
    found: dict[str, dict[int, Row]] = {}
    for name in (NO_PIXELS, *networks):
        seeds = {s: rows[CORPUS, name, s] for s in range(n_seeds) if (CORPUS, name, s) in rows}
        if seeds:
            found[name] = seeds
    print("| network | test accuracy of each seed | mean | 95 % interval | kept iterations |")
    print("|---|---|---|---|---|")
    for name, seeds in found.items():
        right = np.array([file.right(row) for row in seeds.values()])
        each = ", ".join(f"{100 * values.mean():.2f}" for values in right)
        kept = ", ".join(str(row.kept) for row in seeds.values())
        low, high = interval(right, file.groups(next(iter(seeds.values()))))
        cells = ["", ""] if name == NO_PIXELS else [each, kept]
        print(
            f"| {name} | {cells[0]} | {100 * right.mean():.2f} | {100 * low:.1f} to "
            f"{100 * high:.1f} | {cells[1]} |"
        )
    print(f"\n{origin([row for seeds in found.values() for row in seeds.values()])}")
    for name in [each for each in found if each not in (NO_PIXELS, BASE)]:
        common = sorted(found[name].keys() & found.get(BASE, {}).keys())
        if common:
            pairs = [(file.right(found[name][s]), file.right(found[BASE][s])) for s in common]
            gain = np.array([one - other for one, other in pairs])  # of the same images
            low, high = interval(gain, file.groups(found[name][common[0]]))
            shown = f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            print(f"{name} - {BASE}: {shown} points, {len(common)} seeds")


def main() -> None:
    """Train what is missing if there are data, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder of class folders, to train on")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-learn"))
    parser.add_argument("--measured", type=Path, default=MEASURED / "mini-3.csv", help="CSV file")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of one training")
    arguments = parser.parse_args()
    file, networks = Measurements(arguments.measured), arguments.networks.split(",")
    if arguments.data is not None:
        with contextlib.suppress(KeyboardInterrupt):
            complete(file, arguments.data, arguments.scratch, networks,
                     arguments.seeds, arguments.threads)  # fmt: skip
    print_table(file, networks, arguments.seeds)


if __name__ == "__main__":
    main()
