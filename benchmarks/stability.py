"""Which short training is good and stable? Variants of the recipe `small`, several seeds each.

    python benchmarks/stability.py --data ../shared/data/images

The test split of mini-3 (see learn.py) is not used. Of its 2,250 training images, 1,499 train,
151 are for validation and 600 for comparison; copies of one photograph stay together. Each training
is validated every 50 iterations, and the weights of each validation are kept. The table shows the
accuracy on the 600 images, mean and standard deviation over seeds, of the weights that score best
on val, of those with the lowest loss there, and of the last ones.

One training after the other, on one thread, hours in all. Finished ones are kept in --scratch;
several processes may share it if each has --variants of its own.
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from learn import FAKES, REAL, lay_out

from hffkit.inference.network import load_network
from hffkit.manifest.classes import ClassTable
from hffkit.runs.snapshots import snapshots_of
from hffkit.storage.corpora import joint_classes, open_corpora
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, items_of

INTERVAL = 50  # iterations between validations
N_VAL, N_COMPARED = 150, 600  # images, at least
VARIANTS: dict[str, tuple[int, tuple[str, ...]]] = {  # iterations, further options
    "500 iterations": (500, ()),
    "500 iterations, rate 0.0005": (500, ("--lr", "0.0005")),
    "1,000 iterations": (1000, ()),
}
RULES = ("best accuracy", "lowest loss", "last")


def development_corpus(data: Path, scratch: Path) -> Path:
    """Build the corpus from the training images of mini-3, once."""
    corpus, tree = scratch / "dev.lmdb", scratch / "dev"
    if corpus.exists():
        return corpus
    mini = lay_out(data, scratch)
    groups: dict[str, list[Path]] = {}
    for sample in Corpus(mini).samples():
        if sample.split == "train":
            path = scratch / "mini-3" / sample.source
            groups.setdefault(sample.group or sample.key, []).append(path)
    names = sorted(groups)
    random.Random(1).shuffle(names)
    counts = {"val": 0, "test": 0}
    for name in names:
        open_splits = [s for s, n in (("val", N_VAL), ("test", N_COMPARED)) if counts[s] < n]
        split = open_splits[0] if open_splits else "train"
        if split in counts:
            counts[split] += len(groups[name])
        for path in groups[name]:
            link = tree / split / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    words = ["hffkit", "build", "folder", "--src", tree, "--real", REAL]
    words += ["--fake", ",".join(FAKES), "--group-by", r"(g\d+_r\d+)", "--size", "128"]
    subprocess.run([str(word) for word in [*words, "--out", corpus]], check=True)
    return corpus


def train(corpus: Path, run: Path, network: str, variant: str, seed: int) -> None:
    """Train a variant, once, and keep the weights of each validation."""
    if run.exists():
        return
    n, options = VARIANTS[variant]
    words = ["hffkit", "train", "--data", corpus, "--network", network, "--recipe", "small"]
    words += ["--max-iterations", n, "--set", "select=accuracy", *options, "--threads", 1]
    words += ["--set", f"val_interval={INTERVAL}", "--seed", seed, "--out", run]
    words += ["--snapshot", ",".join(map(str, range(INTERVAL, n + 1, INTERVAL)))]
    subprocess.run([str(word) for word in words], check=True)


def accuracies(run: Path, items: Items, table: ClassTable) -> tuple[float, ...]:
    """Return the accuracy on samples, in per cent, of the weights that each rule chooses."""
    cache = run / "rules.json"
    if not cache.exists():
        lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if "val_accuracy" in row]
        best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
        lowest = min(rows, key=lambda row: row["val_loss"])
        snapshots = snapshots_of(run)
        found = []
        for row in (best, lowest, rows[-1]):
            detector = load_network(snapshots[row["iteration"]], torch.device("cpu"))
            scored = detector.score(items, table, "multi")
            found.append(100 * float((scored.predicted == scored.labels).mean()))
        cache.write_text(json.dumps(found), "utf-8")
    return tuple(json.loads(cache.read_text("utf-8")))


def main() -> None:
    """Train the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    scratch = Path(tempfile.gettempdir(), "hffkit-stability")
    parser.add_argument("--scratch", type=Path, default=scratch)
    parser.add_argument("--network", default="amtennet")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", default="0,1,2,7,8")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    corpus = development_corpus(arguments.data, arguments.scratch)
    corpora = open_corpora([str(corpus)])
    table, items = joint_classes(corpora), items_of(corpora, "test")
    seeds = arguments.seeds.split(",")
    print("| training | seeds |", " | ".join(RULES), "| last, each seed |")
    print("|---" * (len(RULES) + 3) + "|")
    for variant in arguments.variants:
        found = []
        for seed in seeds:
            name = f"{arguments.network}-{variant}-{seed}".replace(" ", "-").replace(",", "")
            run = arguments.scratch / name
            train(corpus, run, arguments.network, variant, int(seed))
            found.append(accuracies(run, items, table))
        values = np.array(found)
        columns = zip(values.mean(0), values.std(0, ddof=1), strict=True)
        cells = [f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in columns]
        each = ", ".join(f"{value:.1f}" for value in values[:, -1])
        print(f"| {variant} | {len(seeds)} | {' | '.join(cells)} | {each} |", flush=True)


if __name__ == "__main__":
    main()
