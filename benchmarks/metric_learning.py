"""Effect of metric learning on accuracy and on the distance between two qualities.

    hffkit degrade FF++ --op h264:40 --out FF++-c40    # then merge both trees into one
    hffkit build ff++ --src FF++ --quality c23,c40 --frames 100 --out pairs.lmdb
    python benchmarks/metric_learning.py --data pairs.lmdb

Two networks are trained on the same images with several seeds: `mml` with the recipe mml-small on
pairs without masks, and Xception with plain cross-entropy on single images, with the same size,
solver, iterations and number of images. Printed are, for each seed, fake/real accuracy and AUC on
c23 and c40 of val and test, and the distance between the embeddings (the inputs of the last layer,
or of the decision) of the two qualities of a frame. Its unit is the mean distance between
embeddings of different frames of one quality: 0 means identical, 1 as far apart as different
frames. It is measured on all test frames, which are held out, and for comparison on every fifth
training frame. Xception embeds both qualities alike, mml each by its own head. A plot shows the
same. Finished runs are kept in --scratch and reused.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hffkit.evaluation.evaluate import EvalRequest, evaluate
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
NETWORKS: dict[str, tuple[str, ...]] = {
    "mml": ("mml-small",),
    "xception": ("xception-native", *_ALIKE, "batch_size=16"),  # 8 pairs are 16 images
}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Measurements of one run."""

    metrics: dict[str, tuple[float, float]]  # of "val c23", ...: accuracy and AUC
    own: dict[str, list[float]]  # of train and test: distances of the two qualities of a frame
    strangers: dict[str, float]  # the mean distance between different frames

    def apart(self, split: str) -> Floats:
        """Return the distances of pairs relative to that of different frames, (N,)."""
        return np.array(self.own[split]) / self.strangers[split]


def trained(data: str, out: Path, recipe: Sequence[str], seed: int) -> Path:
    """Train a run unless it exists."""
    if not out.exists():
        words = ["hffkit", "train", "--data", data, "--task", "binary", "--recipe", recipe[0]]
        for change in recipe[1:]:
            words += ["--set", change]
        words += ["--seed", str(seed), "--threads", "1", "--device", "cpu", "--out", str(out)]
        subprocess.run(words, check=True)
    return out


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


def kept(run: Path, data: str) -> Found:
    """Return the measurements of one run, from its file if it exists."""
    path = run.with_suffix(".json")
    if not path.exists():
        path.write_text(json.dumps(asdict(measured(run, data))), "utf-8")
    return Found(**json.loads(path.read_text("utf-8")))


def measured(run: Path, data: str) -> Found:
    """Measure one run."""
    detector, corpora = load_network(run, torch.device("cpu")), open_corpora([data])
    metrics: dict[str, tuple[float, float]] = {}
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        request = EvalRequest((run,), (data,), split=split, task="binary", n_resamples=0)
        for row in evaluate(request).measured[0].qualities:
            accuracy, auc = row.values["accuracy"], row.values["auc"]
            if accuracy is None or auc is None:
                raise SystemExit(f"{data}: {row.quality} of {split} lacks real faces or fakes")
            metrics[f"{split} {row.quality}"] = (accuracy, auc)
    found = Found(metrics, {}, {})
    steps: tuple[tuple[Split, int], ...] = (("train", _STEP), ("test", 1))
    for split, step in steps:
        known = {sample.key: (corpus, sample) for corpus, sample in items_of(corpora, split)}
        highs = [k for k in known if quality_of(k) == HIGH and in_quality(k, LOW) in known][::step]
        high = embeddings(detector, [known[key] for key in highs], "hq")
        low = embeddings(detector, [known[in_quality(key, LOW)] for key in highs], "lq")
        n = len(highs)
        others = [float(torch.cdist(each, each).sum() / (n * (n - 1))) for each in (high, low)]
        found.own[split] = (high - low).norm(dim=1).tolist()
        found.strangers[split] = sum(others) / 2
    return found


def plot(found: dict[str, list[Found]], path: Path) -> None:
    """Plot the distances of pairs and the accuracies on the low quality."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colours = ("#0072b2", "#d55e00")
    for place, runs in enumerate(found.values()):
        for seed, one in enumerate(runs):
            parts: Any = left.violinplot([one.apart("test")], [place + 0.28 * (seed - 1)],
                                         widths=0.25, showmeans=True)  # fmt: skip
            for body in parts["bodies"]:
                body.set_facecolor(colours[place % 2])
            for line in ("cmeans", "cmins", "cmaxes", "cbars"):
                parts[line].set_color(colours[place % 2])
    left.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
    left.set_xticks(range(len(found)), list(found))
    left.set_xlim(-0.5, len(found) - 0.5)
    left.set_ylim(bottom=0)
    left.set_title("c23 to c40 of one test frame, each seed;\n1 is the mean distance of two frames")
    cells = [f"{split} {quality}" for split in ("val", "test") for quality in (HIGH, LOW)]
    for place, (name, runs) in enumerate(found.items()):
        for seed, one in enumerate(runs):
            values = [100 * one.metrics[cell][0] for cell in cells]
            right.plot(np.arange(4) + 0.16 * (place - 0.5), values, "o", alpha=0.7,
                       color=colours[place % 2], label=None if seed else name)  # fmt: skip
    right.axhline(50, color="#888888", linewidth=0.8, linestyle="--")
    right.set_xticks(range(4), cells)
    right.set_ylim(0, 100)
    right.set_title("fake/real accuracy, %, each seed")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train the missing runs, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True, help="a corpus of c23 and c40")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-metric")
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plot", type=Path, default=Path("metric-learning.png"))
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Found]] = {}
    print(
        "| network | seed | kept | val c23 | val c40 | test c23 | test c40 | pairs, train "
        "| pairs, test |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for network, recipe in NETWORKS.items():
        for seed in range(arguments.seeds):
            run = trained(arguments.data, arguments.scratch / f"{network}-{seed}", recipe, seed)
            one = kept(run, arguments.data)
            found.setdefault(network, []).append(one)
            about = json.loads((run / "run.json").read_text("utf-8"))["result"]["selected"]
            cells = [f"{100 * accuracy:.1f} ({auc:.3f})" for accuracy, auc in one.metrics.values()]
            print(
                f"| {network} | {seed} | {about['iteration']} | {' | '.join(cells)} "
                f"| {one.apart('train').mean():.2f} | {one.apart('test').mean():.2f} |",
                flush=True,
            )
    plot(found, arguments.plot)


if __name__ == "__main__":
    main()
