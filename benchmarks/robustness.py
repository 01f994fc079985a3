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
that is possible there; with a GPU it is the slower of the two.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from hffkit.degrade.chain import chain, split_chain
from hffkit.inference.detector import load_detector
from hffkit.media.image import Image
from hffkit.networks.devices import device_named
from hffkit.robustness.conditions import suites_of
from hffkit.storage.corpus import Corpus

WORKERS = os.cpu_count() or 1


def seconds_of(*words: object) -> float:
    """Run `hffkit` with arguments and return the seconds from start to exit."""
    begin = time.perf_counter()
    command = [str(Path(sys.executable).with_name("hffkit")), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def in_memory(data: Path, run: Path, suites: Sequence[str], device: str) -> float:
    """Time `hffkit robustness` without kept scores."""
    shutil.rmtree(data.with_name(data.name + ".robustness"), ignore_errors=True)
    words = [word for suite in suites for word in ("--suite", suite)]
    return seconds_of("robustness", run, "--data", data, *words, "--device", device)


def stored(data: Path, run: Path, chains: Sequence[str], device: str) -> float:
    """Time degrading, evaluating and deleting a corpus for each chain."""
    seconds = 0.0
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        for name in chains:
            out = Path(folder, "stored.lmdb")
            ops = [word for step in split_chain(name) for word in ("--op", step)]
            seconds += seconds_of("degrade", data, *ops, "--split", "test", "--out", out)
            seconds += seconds_of("eval", run, "--data", out, "--device", device)
            shutil.rmtree(out)
    return seconds


def apply_all(images: Sequence[Image], names: Sequence[str]) -> None:
    """Apply every chain to every image."""
    for each in [chain(*split_chain(name)) for name in names]:
        for number, image in enumerate(images):
            each(image, seed=0, key=str(number))


def operations_alone(images: Sequence[Image], names: Sequence[str]) -> float:
    """Time the operations in as many processes as there are cores."""
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(abs, range(WORKERS)))
        begin = time.perf_counter()
        parts = [pool.submit(apply_all, images[i::WORKERS], names) for i in range(WORKERS)]
        for part in parts:
            part.result()
        return time.perf_counter() - begin


def inference_alone(
    run: Path, corpus: Corpus, images: Sequence[Image], n: int, device: str
) -> float:
    """Time the network on `n` images in memory, in batches of 128."""
    detector = load_detector(run, device_named(device))
    fed = [detector.intake.of_image(image) for image in images[:128]]
    items = [(corpus, sample) for sample in corpus.samples() if sample.split == "test"][:128]
    detector.outputs(fed, items)
    begin, n_done = time.perf_counter(), 0
    while n_done < min(n, 4000):
        detector.outputs(fed, items)
        n_done += len(fed)
    return (time.perf_counter() - begin) * n / n_done


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
    print(f"memory      {memory:8.1f} s  {n / memory:8.0f} scores/s")
    some = np.array(names)[np.linspace(0, len(names) - 1, given.chains or len(names)).astype(int)]
    on_disk = min(stored(given.data, given.run, some.tolist(), given.device) for _ in rounds)
    on_disk *= len(names) / len(some)
    print(f"stored      {on_disk:8.1f} s  {on_disk / memory:8.2f} times as long")
    bare = operations_alone(images, names)
    print(f"operations  {bare:8.1f} s")
    network = inference_alone(given.run, corpus, images, n, given.device)
    print(f"inference   {network:8.1f} s")
    print(f"memory / slower of the two: {memory / max(bare, network):.2f}")
    print(f"memory / their sum:         {memory / (bare + network):.2f}")


if __name__ == "__main__":
    main()
