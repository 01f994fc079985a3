"""Effect of metric learning on accuracy and on the distance between two qualities.

    hffkit degrade FF++ --op h264:40 --out FF++-c40    # then merge both trees into one
    hffkit build ff++ --src FF++ --quality c23,c40 --frames 100 --out pairs.lmdb
    nice -n 19 python benchmarks/metric_learning.py --data pairs.lmdb

Two networks are trained on the same images with several seeds: `mml` with the recipe mml-small on
pairs without masks, and Xception with plain cross-entropy on single images, with the same size,
solver, iterations and number of images. Printed are, for each seed, fake/real accuracy and AUC on
c23 and c40 of val and test, and the distance between the embeddings (the inputs of the last layer,
or of the decision) of the two qualities of a frame. Its unit is the mean distance between
embeddings of different frames of one quality: 0 means identical, 1 as far apart as different
frames. It is measured on all test frames, which are held out, and for comparison on every fifth
training frame. Xception embeds both qualities alike, mml each by its own head. Below are the means
over seeds with 95 % intervals, and the differences of mml from Xception, seed by seed. The
intervals are over seeds alone where val and test have one group each, as those of the seven clips.

Without --data, the command prints the table of benchmarks/measured/metric-learning.csv. With it, it
first does the trainings that have no row there, a quarter of an hour each; see trainings.py.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from trainings import (
    MEASURED,
    Built,
    Measurements,
    Settings,
    Training,
    interval,
    origin,
    train_missing,
)

from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.inference.network import NetworkDetector, load_network
from hffkit.manifest.pairs import in_quality, quality_of
from hffkit.manifest.samples import Split
from hffkit.networks.mml import HeadName, Mml
from hffkit.storage.corpora import open_corpora
from hffkit.storage.labels import Items, items_of
from hffkit.training.dataset import FaceDataset
from hffkit.training.loader import StreamLoader, prepare

HIGH, LOW = "c23", "c40"
_STEP = 5  # of the training frames whose pairs are compared
_ALIKE = ("base_lr=0.0001", "weight_decay=0.0001", "max_iterations=300", "val_interval=75",
          "log_interval=10", "size=96")  # fmt: skip
NETWORKS = {
    "mml": Settings("mml", "mml-small"),
    "xception": Settings("xception", "xception-native", (*_ALIKE, "batch_size=16")),
}  # 8 pairs are 16 images
CELLS = ("val c23", "val c40", "test c23", "test c40")
PAIRS = ("pairs, train", "pairs, test")
FIGURES = (*CELLS, *(f"AUC {cell}" for cell in CELLS), *PAIRS)


@torch.inference_mode()
def embeddings(detector: NetworkDetector, items: Items, head: HeadName) -> Tensor:
    """Compute the embeddings of images of one quality, (N, 2048)."""
    net: nn.Module = detector.net
    plain = nn.Sequential(*list(net.children())[:-1]) if not isinstance(net, Mml) else None
    faces = FaceDataset(items, detector.run.size, detector.run.input)
    loader = StreamLoader(faces, np.zeros(len(items), np.int64), detector.device, 1)
    found = []
    for pixels, _ in loader.in_order(64):
        images = prepare(pixels, detector.run.input)
        found.append(net.embed(images, head)[0] if isinstance(net, Mml) else plain(images))  # type: ignore[misc]
    return torch.cat(found).double()


def measured(run: Path, data: str) -> dict[str, str]:
    """Measure one run; return FIGURES, accuracies in per cent."""
    detector, corpora = load_network(run, torch.device("cpu")), open_corpora([data])
    found: dict[str, float] = {}
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        request = EvalRequest((run,), (data,), split=split, task="binary", n_resamples=0)
        for row in evaluate(request).measured[0].qualities:
            accuracy, auc = row.values["accuracy"], row.values["auc"]
            if accuracy is None or auc is None:
                raise SystemExit(f"{data}: {row.quality} of {split} lacks real faces or fakes")
            found[f"{split} {row.quality}"] = 100 * accuracy
            found[f"AUC {split} {row.quality}"] = auc
    steps: tuple[tuple[Split, int], ...] = (("train", _STEP), ("test", 1))
    for split, step in steps:
        known = {sample.key: (corpus, sample) for corpus, sample in items_of(corpora, split)}
        highs = [k for k in known if quality_of(k) == HIGH and in_quality(k, LOW) in known][::step]
        high = embeddings(detector, [known[key] for key in highs], "hq")
        low = embeddings(detector, [known[in_quality(key, LOW)] for key in highs], "lq")
        n = len(highs)
        strangers = [float(torch.cdist(each, each).sum() / (n * (n - 1))) for each in (high, low)]
        own = float((high - low).norm(dim=1).mean())
        found[f"pairs, {split}"] = own / (sum(strangers) / 2)
    return {name: f"{found[name]:.4f}" for name in FIGURES}


def complete(file: Measurements, data: str, scratch: Path, seeds: int) -> None:
    """Do the trainings that have no row, seed by seed."""
    built = Built(Path(data))
    options = ("--task", "binary", "--threads", 1, "--device", "cpu")
    for seed in range(seeds):
        for network, settings in NETWORKS.items():
            run = scratch / f"{network}-{seed}"
            training = Training(network, settings, seed, run, options)
            train_missing(file, built, training, lambda run: measured(run, data))


def print_table(file: Measurements, n_seeds: int) -> None:
    """Print the figures of each training, their means over seeds, and the differences."""
    print(f"| network | seed | kept | {' | '.join((*CELLS, *PAIRS))} |")
    print("|---" * (3 + len(CELLS) + len(PAIRS)) + "|")
    rows = [row for row in file.rows().values() if row.seed < n_seeds]
    found: dict[str, dict[int, dict[str, float]]] = {network: {} for network in NETWORKS}
    for row in sorted(rows, key=lambda row: row.key):
        values = {name: float(value) for name, value in row.figures.items()}
        found[row.network][row.seed] = values
        cells = [f"{values[cell]:.1f} ({values[f'AUC {cell}']:.3f})" for cell in CELLS]
        cells += [f"{values[pair]:.2f}" for pair in PAIRS]
        print(f"| {row.network} | {row.seed} | {row.kept} | {' | '.join(cells)} |")
    one, other = found.values()
    gains = {seed: {name: one[seed][name] - other[seed][name] for name in FIGURES}
             for seed in one.keys() & other.keys()}  # fmt: skip
    for name, seeds in {**found, " - ".join(found): gains}.items():
        if seeds:
            cells = [mean_text(seeds, cell, ".1f") for cell in CELLS]
            cells += [mean_text(seeds, pair, ".2f") for pair in PAIRS]
            print(f"| {name} | mean of {len(seeds)} | | {' | '.join(cells)} |")
    print(f"\n{origin(rows)}")


def mean_text(seeds: dict[int, dict[str, float]], name: str, form: str) -> str:
    """Return the mean of a figure over seeds, with its 95 % interval."""
    values = np.array([[figures[name]] for figures in seeds.values()])
    low, high = interval(values, np.zeros(1, np.int64))
    return f"{values.mean():{form}} [{low:{form}}, {high:{form}}]"


def main() -> None:
    """Train what is missing if there are data, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", help="a corpus of c23 and c40, to train on")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-metric")
    )
    parser.add_argument(
        "--measured", type=Path, default=MEASURED / "metric-learning.csv", help="CSV file"
    )
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    file = Measurements(arguments.measured, FIGURES)
    if arguments.data is not None:
        with contextlib.suppress(KeyboardInterrupt):
            complete(file, arguments.data, arguments.scratch, arguments.seeds)
    print_table(file, arguments.seeds)


if __name__ == "__main__":
    main()
