"""Speed of each network, trained and scored, for the estimates of `hffkit run --dry-run`.

    python benchmarks/networks.py --rounds 1 > manifests/speed.csv

Prints for each network the images per second of processor time on one core: of updates with its
own training recipe, but batches of 32 (8 above 128 px), and of scores. Images are random pixels. A
figure is the best of some rounds, in which the networks take turns; each begins with a step that
does not count. Processor time is counted, not wall time, so that the figures hold on a machine with
other work to do, up to what that work takes from caches and shared execution units. `mml` counts
pairs of images in training.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import torch

from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.networks.table import NETWORKS, build
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.updater import Updater

SECONDS = 1.0  # of processor time, at least, for a figure
CPU = torch.device("cpu")


def rate(step: Callable[[], object], n_images: int) -> float:
    """Return the images per second of processor time of a step, after one that does not count."""
    step()
    begin, n = time.process_time(), 0
    while time.process_time() - begin < SECONDS:
        step()
        n += 1
    return n * n_images / (time.process_time() - begin)


def rates(name: str) -> tuple[int, float, float]:
    """Return the size of a network's images in px, and its rates of training and of scoring."""
    recipe = chosen_recipe(TrainRequest((), network=name))
    if NETWORKS[name].high_quality is not None:
        without_masks = (("metric.mask_weight", 0),)
        recipe = chosen_recipe(TrainRequest((), network=name, overrides=without_masks))
    spec, n = NETWORKS[name].input, 32 if recipe.size <= 128 else 8
    net = build(name, 2, recipe.size)
    updater = Updater(net, recipe, spec, CPU, seed=0)
    pixels = torch.randint(0, 256, (n, *updater.loss.shape), dtype=torch.uint8)
    labels = torch.arange(n) % 2
    trained = rate(lambda: updater.step(pixels, labels), n)
    net.eval()
    images = torch.rand(n, 3, recipe.size, recipe.size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return recipe.size, trained, rate(lambda: net(images), n)


def main(names: Sequence[str], n_rounds: int) -> None:
    """Print the table as CSV."""
    torch.set_num_threads(1)
    keep_memory_of_tensors()
    found: dict[str, list[tuple[int, float, float]]] = {name: [] for name in names}
    for _ in range(n_rounds):
        for name in names:
            found[name].append(rates(name))
            print(name, *found[name][-1], file=sys.stderr, flush=True)
    print("network,px,train,eval")
    for name, rows in found.items():
        _, trained, scored = (max(column) for column in zip(*rows, strict=True))
        print(f"{name},{rows[0][0]},{trained:.3g},{scored:.3g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the speed of each network as CSV.")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    given = parser.parse_args()
    main(given.networks, given.rounds)
