"""Speed of `hffkit train` against a plain PyTorch loop, and its memory.

    python benchmarks/train.py --data ../shared/data/images

Images are real faces of 128 px (StarGAN's CelebA crops, StarGAN, DCGAN), packed for hffkit and as
PNG files for the plain loop: a DataLoader over the files with 2 workers, torch.optim.SGD, AMTENnet
with contiguous NCHW tensors in float32. Each variant runs in a process of its own. The variants
take turns, round after round; a few steps pass before the clock starts. hffkit's steps are those of
`hffkit train`: the same loader, updater and memory settings (`fp32-fresh-memory` omits the latter).
`feeding` is the share of a step spent waiting for a batch.

With --memory it prints the peak memory of `hffkit train`, resident and streaming, for several
sizes of corpora. On a machine with CUDA it also runs the paper's whole schedule, 18,170 iterations
of 64 images, on 116,250 random images of the right size, and compares it with the plain loop and
with the time that the memory traffic of its layers, one by one, would take.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peaks import peaks_of
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.media.image import decode, encode_png, read_bytes
from hffkit.networks.spec import BGR_255
from hffkit.networks.table import build
from hffkit.storage.corpus import Corpus
from hffkit.training.dataset import FaceDataset
from hffkit.training.loader import Loader, MemoryLoader, make_loader
from hffkit.training.recipe import TrainRecipe
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.sampler import BatchSampler
from hffkit.training.updater import Updater, captured_step

CLASSES = ("real-celeba-stargan128", "fake-stargan128", "fake-dcgan128")
BATCH = 64
N_PAPER, N_ITERATIONS = 116_250, 18_170
WARM_UP = 3


def lay_out(data: Path, root: Path, n: int) -> tuple[Path, Path]:
    """Write `n` PNG files and a packed corpus of them, once; return both."""
    tree, corpus = root / f"png-{n}", root / f"{n}.lmdb"
    if corpus.exists():
        return tree, corpus
    for name in CLASSES:
        files = sorted((data / name).iterdir())
        (tree / name).mkdir(parents=True, exist_ok=True)
        for i in range(-(-n // len(CLASSES))):
            picture = encode_png(decode(read_bytes(files[i % len(files)])))
            (tree / name / f"{i:06d}.png").write_bytes(picture)
    words = ["hffkit", "build", "folder", "--src", tree, "--real", CLASSES[0], "--size", "128"]
    words += ["--fake", ",".join(CLASSES[1:]), "--out", corpus]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return tree, corpus


class Pngs(Dataset[tuple[Tensor, int]]):
    """PNG files as a plain Dataset, (3, 128, 128) float32."""

    def __init__(self, tree: Path) -> None:
        """List the files."""
        self._paths = sorted(tree.rglob("*.png"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        path = self._paths[place]
        image = decode(read_bytes(path))[..., ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels.float(), CLASSES.index(path.parent.name)


def plain(tree: Path, n_steps: int) -> dict[str, float]:
    """Train with a plain loop and return images per second."""
    torch.manual_seed(0)
    net = build("amtennet", len(CLASSES))
    solver = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.95, weight_decay=0.005)
    loader = DataLoader(Pngs(tree), BATCH, shuffle=True, num_workers=2, drop_last=True)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    source, begin = batches(), 0.0
    for i in range(n_steps + WARM_UP):
        if i == WARM_UP:
            begin = time.perf_counter()
        images, labels = next(source)
        solver.zero_grad()
        functional.cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
        solver.step()
    return {"images": BATCH * n_steps / (time.perf_counter() - begin)}


def ours(
    corpus_path: Path, n_steps: int, precision: str, *, keeps_memory: bool = True
) -> dict[str, float]:
    """Train as `hffkit train` does; return images per second and the share of feeding."""
    if keeps_memory:
        keep_memory_of_tensors()
    recipe = paper_recipe(precision)
    corpus = Corpus(corpus_path)
    items = [(corpus, sample) for sample in corpus.samples()]
    names = sorted({sample.cls for _, sample in items})
    labels = np.array([names.index(sample.cls) for _, sample in items], np.int64)
    device = torch.device("cpu")
    n_threads = torch.get_num_threads()
    faces = FaceDataset(items, 128, BGR_255)
    loader: Loader = make_loader(faces, labels, device, keep="auto", n_threads=n_threads)
    torch.manual_seed(0)
    updater = Updater(build("amtennet", len(names)), recipe, BGR_255, device, seed=0)
    batches = loader.batches(BatchSampler(len(faces), BATCH, "shuffled", 0), 0)
    begin = waited = 0.0
    for i in range(n_steps + WARM_UP):
        if i == WARM_UP:
            begin, waited = time.perf_counter(), 0.0
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        updater.step(*batch)
    seconds = time.perf_counter() - begin
    return {"images": BATCH * n_steps / seconds, "feeding": waited / seconds}


def paper_recipe(precision: str) -> TrainRecipe:
    """Return the recipe of AMTENnet's authors."""
    return chosen_recipe(TrainRequest((), overrides=(("precision", precision),)))


WAYS: dict[str, Callable[[Path, Path, int], dict[str, float]]] = {
    "plain": lambda tree, _, n: plain(tree, n),
    "fp32": lambda _, corpus, n: ours(corpus, n, "fp32"),
    "fp32-fresh-memory": lambda _, corpus, n: ours(corpus, n, "fp32", keeps_memory=False),
    "bf16": lambda _, corpus, n: ours(corpus, n, "bf16"),
}


def speed(tree: Path, corpus: Path, n_steps: int, rounds: int) -> None:
    """Print the images per second of each variant and ratios, medians over rounds."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            words = [sys.executable, __file__, "--way", way, "--tree", tree, "--corpus", corpus]
            done = subprocess.run(
                [str(word) for word in [*words, "--steps", n_steps]],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found[way].append(json.loads(done.stdout))
            print(f"round {number} {way}: {found[way][-1]}", flush=True)
    print("\n| way | images/s | to plain | feeding |\n|---|---|---|---|")
    for way, rows in found.items():
        ratios = [
            row["images"] / base["images"] for row, base in zip(rows, found["plain"], strict=True)
        ]
        feeding = [row["feeding"] for row in rows if "feeding" in row]
        print(
            f"| {way} | {statistics.median(row['images'] for row in rows):.1f} "
            f"| {statistics.median(ratios):.2f} "
            f"| {f'{100 * statistics.median(feeding):.1f} %' if feeding else ''} |"
        )


def memory(data: Path, scratch: Path) -> None:
    """Print the peak memory of a few iterations, resident and streaming."""
    for n in (1200, 12000):
        _, corpus = lay_out(data, scratch, n)
        packed_mb = Corpus(corpus).n_samples * 3 * 128**2 / 1e6
        for keep in ("memory", "stream"):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                words = ["hffkit", "train", "--data", corpus, "--max-iterations", 12]
                words += ["--set", "select=last", "--keep", keep, "--out", Path(folder, "run")]
                parent = peaks_of(words).parent
            print(
                f"{n:6} images, packed {packed_mb:.0f} MB, {keep}: peak {parent / 1024:.0f} MB",
                flush=True,
            )


def schedule() -> None:
    """Time the paper's whole schedule on the GPU, a plain loop, and the memory traffic alone."""
    device = torch.device("cuda")
    print(f"\n{torch.cuda.get_device_name()}, {N_ITERATIONS} iterations of {BATCH}")
    for precision in ("fp32", "bf16"):
        recipe = paper_recipe(precision)
        updater = Updater(build("amtennet", 2), recipe, BGR_255, device, seed=0)
        loader = random_images(device)
        begin = time.perf_counter()
        step = captured_step(updater, print)
        batches = loader.batches(BatchSampler(N_PAPER, BATCH, "shuffled", 0), 0)
        for _ in range(N_ITERATIONS):
            step(*next(batches))
        torch.cuda.synchronize()
        print(f"hffkit {precision}: {time.perf_counter() - begin:.1f} s", flush=True)
        del loader, batches, step, updater
    n_steps = 500
    net = build("amtennet", 2).to(device)
    solver = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.95, weight_decay=0.005)
    images = torch.randint(0, 256, (BATCH, 3, 128, 128), dtype=torch.uint8)
    labels = torch.randint(0, 2, (BATCH,))
    for i in range(n_steps + 20):
        if i == 20:
            torch.cuda.synchronize()
            begin = time.perf_counter()
        solver.zero_grad()
        loss = functional.cross_entropy(net(images.to(device).float()), labels.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        solver.step()
    torch.cuda.synchronize()
    each = (time.perf_counter() - begin) / n_steps
    print(f"plain loop, images from memory: {each * N_ITERATIONS:.1f} s")
    traffic, rate = bytes_of_a_step(net, device), bandwidth(device)
    print(
        f"unfused memory traffic alone: {traffic / 1e9:.2f} GB of float32 a step at "
        f"{rate / 1e12:.2f} TB/s: {traffic / rate * N_ITERATIONS:.1f} s"
    )


def random_images(device: torch.device) -> Loader:
    """Return the paper's number of random images in the memory of the device."""
    shape = (N_PAPER, 128, 128, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    return MemoryLoader(pixels, torch.randint(0, 2, (N_PAPER,), device=device))


def bytes_of_a_step(net: nn.Module, device: torch.device) -> int:
    """Compute the minimum of bytes that the layers of a step read and write in float32.

    In the forward pass a layer reads its input and writes its output. In the backward pass it reads
    its input and the gradient of its output, and writes the gradient of its input.
    """
    total = 0

    def count(_: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        nonlocal total
        n_in = sum(x.numel() for x in inputs)
        total += 4 * (3 * n_in + 2 * output.numel())

    handles = [
        layer.register_forward_hook(count) for layer in net.modules() if not list(layer.children())
    ]
    with torch.no_grad():
        net(torch.zeros(BATCH, 3, 128, 128, device=device))
    for handle in handles:
        handle.remove()
    return total


def bandwidth(device: torch.device) -> float:
    """Measure the bytes per second, read and written, of copying a gigabyte."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return 2 * source.numel() / statistics.median(times)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder of class folders")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-train"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--schedule", action="store_true", help="only the schedule, on a GPU")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(WAYS[arguments.way](arguments.tree, arguments.corpus, arguments.steps)))
        return
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, batches of {BATCH}\n", flush=True)
    if arguments.memory:
        memory(arguments.data, arguments.scratch)
        return
    if arguments.schedule:
        schedule()
        return
    tree, corpus = lay_out(arguments.data, arguments.scratch, 1200)
    speed(tree, corpus, arguments.steps, arguments.rounds)


if __name__ == "__main__":
    main()
