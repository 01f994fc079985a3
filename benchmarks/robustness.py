"""Speed of `hffkit robustness` against storing each degraded corpus and evaluating it.

    python benchmarks/robustness.py --data mini-3.lmdb --run runs/amtennet --suite table-ix

Every variant begins without kept scores, in processes of its own from start to exit, one after
the other; --repeats takes the fastest:

- memory: `hffkit robustness` with all suites;
- stored: for each different chain `hffkit degrade --split test` and `hffkit eval` of its corpus,
  which is deleted then; with --chains N of N chains only, evenly taken and scaled up;
- operations: the operations of all chains alone, in as many processes as there are cores;
- inference: the network alone, on pixels in memory, as often as there are images and conditions.

The last two are the bare work. On a processor both need the same cores, so their sum is the least
that is possible there; with a GPU it is the slower of the two. Beside the seconds that pass are
those of the processor, of all processes, which other programs on the machine disturb less.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hffkit.degrade.chain import chain, split_chain
from hffkit.inference.detector import load_detector
from hffkit.media.image import Image
from hffkit.networks.devices import batch_threads, device_named
from hffkit.robustness.conditions import suites_of
from hffkit.storage.corpus import Corpus

WORKERS = os.cpu_count() or 1


@dataclass(frozen=True, slots=True, order=True)
class Cost:
    """Seconds that pass, and seconds of the processor."""

    wall: float
    cpu: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def times(self, factor: float) -> "Cost":
        """Return the cost of so many times the work."""
        return Cost(self.wall * factor, self.cpu * factor)

    def over(self, other: "Cost") -> str:
        """Return the ratios to another cost as text."""
        return f"{self.wall / other.wall:5.2f} ({self.cpu / other.cpu:5.2f} of the processor)"

    def __str__(self) -> str:
        return f"{self.wall:8.1f} s {self.cpu:8.1f} s of the processor"


def cost_of(work: Callable[..., object], *arguments: object) -> Cost:
    """Measure some work, with the processes that it starts and ends."""
    begin, before = time.perf_counter(), sum(os.times()[:4])
    work(*arguments)
    return Cost(time.perf_counter() - begin, sum(os.times()[:4]) - before)


def run_hffkit(*words: object) -> None:
    """Run `hffkit` with arguments, from start to exit."""
    command = [str(Path(sys.executable).with_name("hffkit")), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def in_memory(data: Path, run: Path, suites: Sequence[str], device: str) -> Cost:
    """Measure `hffkit robustness` without kept scores."""
    shutil.rmtree(data.with_name(data.name + ".robustness"), ignore_errors=True)
    words = [word for suite in suites for word in ("--suite", suite)]
    return cost_of(run_hffkit, "robustness", run, "--data", data, *words, "--device", device)


def stored(data: Path, run: Path, chains: Sequence[str], device: str) -> Cost:
    """Measure degrading, evaluating and deleting a corpus for each chain."""
    total = Cost(0.0, 0.0)
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        for name in chains:
            out = Path(folder, "stored.lmdb")
            ops = [word for step in split_chain(name) for word in ("--op", step)]
            total += cost_of(run_hffkit, "degrade", data, *ops, "--split", "test", "--out", out)
            total += cost_of(run_hffkit, "eval", run, "--data", out, "--device", device)
            shutil.rmtree(out)
    return total


def apply_all(images: Sequence[Image], names: Sequence[str]) -> None:
    """Apply every chain to every image."""
    for each in [chain(*split_chain(name)) for name in names]:
        for number, image in enumerate(images):
            each(image, seed=0, key=str(number))


def operations_alone(images: Sequence[Image], names: Sequence[str]) -> None:
    """Apply the operations in as many processes as there are cores."""
    with ProcessPoolExecutor(WORKERS) as pool:
        parts = [pool.submit(apply_all, images[i::WORKERS], names) for i in range(WORKERS)]
        for part in parts:
            part.result()


def inference_alone(
    run: Path, corpus: Corpus, images: Sequence[Image], n: int, device: str
) -> Cost:
    """Measure the network on `n` images in memory, in batches of 128."""
    where = device_named(device)
    detector = load_detector(run, where)
    fed = [detector.intake.of_image(image) for image in images[:128]]
    items = [(corpus, sample) for sample in corpus.samples() if sample.split == "test"][:128]
    with batch_threads(where) as threads:

        def score(n_batches: int) -> None:
            done = [threads.submit(detector.outputs, fed, items) for _ in range(n_batches)]
            for each in done:
                each.result()

        score(1)
        n_batches = max(1, min(n, 4000) // len(fed))
        return cost_of(score, n_batches).times(n / (n_batches * len(fed)))


def main() -> None:
    """Print the seconds of each variant, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--chains", type=int, help="time storing N chains only")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    suites = given.suite or ["table-ix"]
    names = list(
        dict.fromkeys(
            entry.chain.name for suite in suites_of(suites, ()) for entry in suite.entries
        )
    )
    corpus = Corpus(given.data)
    images = [corpus.image(sample) for sample in corpus.samples() if sample.split == "test"]
    n = len(images) * (len(names) + 1)
    print(f"{len(images)} images, {len(names)} chains, {WORKERS} cores, device {given.device}")
    rounds = range(given.repeats)
    memory = min(in_memory(given.data, given.run, suites, given.device) for _ in rounds)
    print(f"memory      {memory}  {n / memory.wall:8.0f} scores/s")
    bare = cost_of(operations_alone, images, names)
    print(f"operations  {bare}")
    network = inference_alone(given.run, corpus, images, n, given.device)
    print(f"inference   {network}")
    print(f"memory / slower of the two: {memory.over(max(bare, network))}")
    print(f"memory / their sum:         {memory.over(bare + network)}")
    some = np.array(names)[np.linspace(0, len(names) - 1, given.chains or len(names)).astype(int)]
    on_disk = min(stored(given.data, given.run, some.tolist(), given.device) for _ in rounds)
    on_disk = on_disk.times(len(names) / len(some))
    print(f"stored      {on_disk}")
    print(f"stored / memory:            {on_disk.over(memory)}")


if __name__ == "__main__":
    main()
