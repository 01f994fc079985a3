"""Speed and memory of `hffkit degrade` against a plain script and the bare minimum.

    python benchmarks/degrade.py --data ../shared/data/images

Sources are native corpora of real faces, JPEG files as published: 128 px (CelebA, StarGAN, DCGAN)
and 1024 px (CelebA-HQ, PGGAN). They are repeated to the required number with smooth noise, which
makes them other images, saved at quality 75. Each variant runs in processes of
its own. The variants take turns, round after round:

- packed, native: `hffkit degrade` with and without `--size 128`, two workers, from start to exit:
  read, decode, degrade, pack or encode as PNG, digests, manifest, LMDB;
- work: the bare minimum of computation, the same library calls (decode, operation, resize to 128)
  on bytes in memory, in as many processes as there are cores; timed once all of them are ready;
- lmdb: the bare minimum of writing, one LMDB writer with the packed records in memory;
- script: cv2.imread, the operation, cv2.imwrite to PNG for each file, one process.

With --memory it prints the peak memory for 1,000 and 10,000 records instead.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
import lmdb
import numpy as np
from audit import noisy
from peaks import peaks_of

from hffkit.degrade.chain import chain
from hffkit.media.image import decode, encode_jpeg
from hffkit.storage.corpus import Corpus

CLASSES = {
    128: (("real-celeba-stargan128",), ("fake-stargan128", "fake-dcgan128")),
    1024: (("real-celebahq1024",), ("fake-pggan1024",)),
}
OPS = ("me:5", "gb:5", "med:5", "gc:1.4", "jp:75", "jp2:4.0", "sc:+50", "sc:-45")
SIZE = 128
WORKERS = os.cpu_count() or 1
SLOW = ("jp2:4.0",)  # measured on fewer images


def lay_out(data: Path, root: Path, size: int, n: int, *, is_packed: bool = False) -> Path:
    """Write `n` images into class folders and build a corpus of them, once."""
    tree = root / f"{size}-{n}"
    corpus = root / f"{size}-{n}{'-packed' if is_packed else ''}.lmdb"
    if corpus.exists():
        return corpus
    real, fake = CLASSES[size]
    for name in real + fake:
        files = sorted((data / name).iterdir())
        (tree / name).mkdir(parents=True, exist_ok=True)
        for i in range(-(-n // len(real + fake))):
            file = files[i % len(files)]
            path = tree / name / f"{i:06d}{file.suffix}"
            if not path.exists():
                encoded = file.read_bytes()
                if i >= len(files):  # equal files would be told, and links would be one sample
                    encoded = encode_jpeg(noisy(decode(encoded), i), 75)
                path.write_bytes(encoded)
    words = ["hffkit", "build", "folder", "--src", tree, "--real", ",".join(real), "--out", corpus]
    words += ["--fake", ",".join(fake), "--size", SIZE if is_packed else "native"]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return corpus


def ours(corpus: Path, op: str, out: Path, *more: str) -> float:
    """Run the command line and return its seconds."""
    words = ["hffkit", "degrade", str(corpus), "--op", op, "--out", str(out / "out.lmdb"), *more]
    begin = time.perf_counter()
    subprocess.run([*words, "--workers", str(WORKERS)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def packed(corpus: Path, op: str, out: Path) -> float:
    """Degrade and pack in one command."""
    return ours(corpus, op, out, "--size", str(SIZE))


def native(corpus: Path, op: str, out: Path) -> float:
    """Degrade to PNG."""
    return ours(corpus, op, out)


def work(corpus: Path, op: str, _: Path) -> float:
    """Time the library calls alone, on bytes in memory."""
    barrier = multiprocessing.Barrier(WORKERS + 1)
    processes = [
        multiprocessing.Process(target=work_share, args=(corpus, op, i, barrier))
        for i in range(WORKERS)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    begin = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - begin
    for process in processes:
        process.join()
    return seconds


def work_share(corpus: Path, op: str, number: int, barrier: Barrier) -> None:
    """Decode, degrade and resize every WORKERS-th record."""
    cv2.setNumThreads(1)
    opened = Corpus(corpus)
    samples = list(opened.samples())[number::WORKERS]
    images = [np.frombuffer(bytes(opened.datum(sample).data), np.uint8) for sample in samples]
    step = chain(op).steps[0]
    barrier.wait()
    for encoded in images:
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        treated = step.operation.apply(image, step.value).image
        cv2.resize(treated, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    barrier.wait()


def write_lmdb(corpus: Path, _: str, out: Path) -> float:
    """Write the records of a packed corpus from memory, a thousand in a transaction."""
    with lmdb.open(str(corpus), readonly=True, lock=False) as env, env.begin() as transaction:
        rows = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
    begin = time.perf_counter()
    with lmdb.open(str(out / "bare.lmdb"), map_size=1 << 36, lock=False) as env:
        for start in range(0, len(rows), 1000):
            with env.begin(write=True) as transaction:
                for key, value in rows[start : start + 1000]:
                    transaction.put(key, value, append=True)
    return time.perf_counter() - begin


def script(corpus: Path, op: str, out: Path) -> float:
    """Time a plain script that processes the images of the corpus file by file."""
    tree = corpus.with_suffix("")
    words = [sys.executable, __file__, "--script", str(tree), "--op", op, "--out", str(out)]
    begin = time.perf_counter()
    subprocess.run(words, check=True)
    return time.perf_counter() - begin


def run_script(tree: Path, op: str, out: Path) -> None:
    """Read, degrade and write every file."""
    step = chain(op).steps[0]
    for number, path in enumerate(sorted(tree.rglob("*.jpg"))):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        cv2.imwrite(str(out / f"{number:06d}.png"), step.operation.apply(image, step.value).image)


Way = Callable[[Path, str, Path], float]
WAYS: dict[str, Way] = {
    "packed": packed,
    "native": native,
    "work": work,
    "lmdb": write_lmdb,
    "script": script,
}
# Images for each variant: enough for the start-up (a second) not to matter, few enough to end in
# hours. The paper's training sets hold 124,000 and more.
COUNTS = {
    128: {"packed": 150000, "native": 60000, "work": 24000, "lmdb": 60000, "script": 12000},
    1024: {"packed": 3000, "native": 3600, "work": 1000, "lmdb": 3000, "script": 300},
}
_SLOWER = 10  # times fewer for SLOW operations


def speed(data: Path, scratch: Path, rows: Sequence[tuple[int, str]], rounds: int) -> None:
    """Print a row for each size and operation: ms an image and ratios, medians over rounds."""
    columns = [*WAYS, "packed of bare", "packed to script", "native to script"]
    print("| px | operation |", " | ".join(columns), "|")
    print("|" + "---|" * (len(columns) + 2))
    for size, op in rows:
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, run in WAYS.items():
                n = COUNTS[size][way] // (_SLOWER if op in SLOW else 1)
                corpus = lay_out(data, scratch, size, n, is_packed=way == "lmdb")
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    seconds = run(corpus, op, Path(folder))
                taken[way].append(1000 * seconds / Corpus(corpus).n_samples)
        print("|", " | ".join([str(size), op, *cells(taken)]), "|", flush=True)


def cells(taken: dict[str, list[float]]) -> Iterator[str]:
    """Yield the median of each variant, then the median ratios over rounds."""
    for milliseconds in taken.values():
        yield f"{statistics.median(milliseconds):.3f}"
    rounds = [dict(zip(taken, row, strict=True)) for row in zip(*taken.values(), strict=True)]
    yield ratio(max(row["work"], row["lmdb"]) / row["packed"] for row in rounds)
    yield ratio(row["script"] / row["packed"] for row in rounds)
    yield ratio(row["script"] / row["native"] for row in rounds)


def ratio(values: Iterable[float]) -> str:
    """Return the median of some ratios."""
    return f"{statistics.median(values):.2f}"


def memory(data: Path, scratch: Path) -> None:
    """Print the peak memory of degrading 1,000 and 10,000 records with two workers."""
    totals = []
    for n in (1000, 10000):
        corpus = lay_out(data, scratch, 128, n)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            words = ["hffkit", "degrade", corpus, "--op", "jp-mix", "--size", SIZE]
            parent, workers, _ = peaks_of(
                [*words, "--workers", 2, "--out", Path(folder, "out.lmdb")]
            )
        totals.append(parent + sum(workers[:2]))
        print(
            f"{n:6} records: parent {parent / 1024:.0f} MB, workers "
            f"{' and '.join(f'{kb / 1024:.0f}' for kb in workers[:2])} MB",
            flush=True,
        )
    print(f"{100 * (totals[1] / totals[0] - 1):+.1f} %")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder of class folders")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-bench"))
    parser.add_argument("--ops", default=",".join(OPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="128,1024", help="sizes of the images, px")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--op", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.script:
        run_script(arguments.script, arguments.op, arguments.out)
        return
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    print(
        f"{WORKERS} cores, OpenCV {cv2.__version__}, {WORKERS} workers; ms an image\n", flush=True
    )
    if arguments.memory:
        memory(arguments.data, arguments.scratch)
    else:
        sizes = [int(size) for size in arguments.sizes.split(",")]
        ops = arguments.ops.split(",")
        speed(
            arguments.data,
            arguments.scratch,
            [(s, op) for s in sizes for op in ops],
            arguments.rounds,
        )


if __name__ == "__main__":
    main()
