"""Speed of radial profiles, and accuracy of spectral classifiers on real images.

    python benchmarks/spectrum.py --data ../shared/data/images --speed
    python benchmarks/spectrum.py --data ../shared/data/images --accuracy

`--speed` prints images per second at 128, 256 and 1024 px. Three variants take turns:

- notebook: one image after the other, as in the paper's notebooks: whole complex FFT, logarithm of
  the modulus, radii of all pixels computed and sorted, differences of a running sum;
- bincount: the same with bincount in place of sorting;
- hffkit.

They start from arrays of grey pixels, and from files, which all variants decode. Then it prints the
speed of whole runs of hffkit on many files (a few files, repeated), including the start of a second
process:

- with one worker, and with two;
- apart: two independent processes with one worker each, the best that two cores can do on the
  machine at that time.

`--accuracy` builds each set, raw and after JPEG of quality 60 and a mean filter of 5x5, trains the
paper's classifiers on the raw training images and on those of the same operation, and prints
test accuracies with 95 % intervals from a bootstrap over groups.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from trainings import groups_of, interval

from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.spectrum.export import plot
from hffkit.spectrum.features import FeatureSpec, Read, features_of, profiles_of
from hffkit.spectrum.profiles import Profiler, read_grey
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

SIZES = {128: "real-celeba-stargan128", 256: "real-ffhq256", 1024: "real-celebahq1024"}
N_IMAGES = {128: 1200, 256: 750, 1024: 50}
N_OF_WHOLE_RUNS = {128: 120_000, 256: 36_000, 1024: 2400}
OPERATIONS = ("jp60", "me5")


def log_power(grey: Pixels) -> Floats:
    """Return 20 ln|F| of the whole plane, DC in the middle."""
    spectrum = np.fft.fftshift(np.fft.fft2(grey)) + 1e-8
    found: Floats = 20 * np.log(np.abs(spectrum))
    return found


def radii_of(shape: tuple[int, ...]) -> Floats:
    """Return the distance of each pixel from the middle of the pixels."""
    rows, columns = np.indices(shape)
    middle = (rows.max() / 2.0, columns.max() / 2.0)
    found: Floats = np.hypot(rows - middle[0], columns - middle[1])
    return found


def notebook(grey: Pixels) -> Floats:
    """Return a profile: pixels sorted by radius, means by differences of a running sum."""
    power, radii = log_power(grey).ravel(), radii_of(grey.shape).ravel()
    order = np.argsort(radii)
    rings = radii[order].astype(int)
    ends = np.flatnonzero(rings[1:] != rings[:-1])
    sums = np.cumsum(power[order])[ends]
    found: Floats = np.diff(sums) / np.diff(ends)
    return found


def bincount(grey: Pixels) -> Floats:
    """Return a profile: sums and sizes of rings by bincount."""
    rings = radii_of(grey.shape).astype(int).ravel()
    sums = np.bincount(rings, log_power(grey).ravel())
    found: Floats = (sums / np.bincount(rings))[1:-1]
    return found


def one_by_one(profile: Callable[[Any], Floats], things: Sequence[Any]) -> int:
    """Compute profiles in a plain loop; return their number."""
    return len([profile(thing) for thing in things])


def of_arrays(greys: Sequence[Pixels]) -> int:
    """Compute profiles as hffkit does; return their number."""
    return len(features_of(greys, FeatureSpec()))


def named(paths: Iterable[Path]) -> Iterator[tuple[str, Read]]:
    """Yield names of files and their readers."""
    return ((str(path), partial(read_grey, path)) for path in paths)


def of_files(paths: Sequence[Path]) -> int:
    """Compute profiles of files as hffkit does; return their number."""
    return len(list(profiles_of(named(paths), FeatureSpec())))


def whole_run(paths: Sequence[Path], n: int, n_workers: int) -> int:
    """Compute `n` profiles as the commands do, repeating the files where there are fewer."""
    images = islice(named(cycle(paths)), n)
    return len(Profiler(FeatureSpec(), n_workers).of_images(images, n))


def imread_grey(path: Path) -> Pixels:
    """Return the grey pixels of a file, as the notebooks read them."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def speed(data: Path, rounds: int) -> None:
    """Print images per second and ratios, medians over rounds."""
    cv2.setNumThreads(1)
    keep_memory_of_tensors()  # as the commands do
    print("| px | from | notebook | bincount | hffkit | to notebook | to bincount |\n"
          "|---|---|---|---|---|---|---|")  # fmt: skip
    paths = {
        size: sorted((data / folder).iterdir())[: N_IMAGES[size]] for size, folder in SIZES.items()
    }
    for size, files in paths.items():
        greys = [imread_grey(path) for path in files]
        few = max(10, len(greys) // 10)  # for the slow variants
        apart = np.abs(features_of(greys[:3], FeatureSpec()) - [notebook(g) for g in greys[:3]])
        if apart.max() > 1e-6 or np.abs(bincount(greys[0]) - notebook(greys[0])).max() > 1e-6:
            raise SystemExit("the ways do not compute the same")
        from_arrays: dict[str, Callable[[], int]] = {
            "notebook": partial(one_by_one, notebook, greys[:few]),
            "bincount": partial(one_by_one, bincount, greys[:few]),
            "hffkit": partial(of_arrays, greys),
        }
        from_files: dict[str, Callable[[], int]] = {
            "notebook": partial(one_by_one, lambda path: notebook(imread_grey(path)), files[:few]),
            "bincount": partial(one_by_one, lambda path: bincount(read_grey(path)), files[:few]),
            "hffkit": partial(of_files, files),
        }
        for source, ways in (("arrays", from_arrays), ("files", from_files)):
            rates = in_turns({name: partial(rate_of, way) for name, way in ways.items()}, rounds)
            cells = [f"{statistics.median(found):.1f}" for found in rates.values()]
            cells += [ratio(rates, "hffkit", "notebook"), ratio(rates, "hffkit", "bincount")]
            print(f"| {size} | {source} | {' | '.join(cells)} |", flush=True)
    print("\n| px | files | 1 worker | 2 workers | apart | 2 to 1 | 2 to apart |\n"
          "|---|---|---|---|---|---|---|")  # fmt: skip
    for size, files in paths.items():
        n = N_OF_WHOLE_RUNS[size]
        rates = in_turns(
            {
                "1": partial(rate_of, partial(whole_run, files, n, 1)),
                "2": partial(rate_of, partial(whole_run, files, n, 2)),
                "apart": partial(rate_apart, partial(whole_run, files, n // 2, 1)),
            },
            rounds,
        )
        cells = [f"{statistics.median(found):.1f}" for found in rates.values()]
        cells += [ratio(rates, "2", "1"), ratio(rates, "2", "apart")]
        print(f"| {size} | {n} | {' | '.join(cells)} |", flush=True)


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the rate of each variant in each round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    return found


def ratio(rates: Mapping[str, Sequence[float]], a: str, b: str) -> str:
    """Return the median over rounds of the ratio of two variants."""
    return f"{statistics.median(x / y for x, y in zip(rates[a], rates[b], strict=True)):.2f}"


def rate_of(way: Callable[[], int], least: float = 0.5) -> float:
    """Return the images per second of a variant, over half a second at least."""
    begin, n = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < least:
        n += way()
    return n / spent


def rate_apart(way: Callable[[], int]) -> float:
    """Return the summed images per second of two processes that run at the same time."""
    fork = multiprocessing.get_context("fork")
    begin, rates = fork.Barrier(2), fork.SimpleQueue()

    def run_way() -> None:
        begin.wait()
        rates.put(rate_of(way))

    both = [fork.Process(target=run_way) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    return float(rates.get() + rates.get())


# Support vector machines take hours on undivided profiles of overlapping classes.
CLASSIFIERS = {
    "celeba": ("svm-linear", "svm-rbf", "svm-poly", "logistic", "kmeans"),
    "faces-hq": ("logistic", "kmeans"),
}
# name: real and fake folders, pattern of the group, crop
SETS: dict[str, tuple[str, str, str | None, str]] = {
    "StarGAN 128": ("real-celeba-stargan128", "fake-stargan128", r"(g\d+_r\d+)", "whole"),
    "DCGAN 128": ("real-celeba-stargan128", "fake-dcgan128", r"(g\d+_r\d+)", "whole"),
    "StyleGAN 256": ("real-ffhq256", "fake-stylegan256", None, "whole"),
    "PGGAN 1024": ("real-celebahq1024", "fake-pggan1024", None, "third"),
    "StyleGAN2 1024": ("real-celebahq1024", "fake-stylegan2-1024", None, "third"),
}


def lay_out(data: Path, scratch: Path, name: str) -> dict[str, Path]:
    """Build a set raw and after each operation, once, with half of it for testing."""
    real, fake, group, _ = SETS[name]
    folder = scratch / name.replace(" ", "-")
    tree, raw = folder / "tree", folder / "raw.lmdb"
    if not raw.exists():
        tree.mkdir(parents=True, exist_ok=True)
        for each in (real, fake):
            link = tree / each
            if not link.is_symlink():
                link.symlink_to((data / each).resolve())
        words = ["hffkit", "build", "folder", "--src", tree, "--real", real, "--fake", fake]
        words += ["--group-by", group] if group else []
        run([*words, "--split-ratio", "50/0/50", "--out", raw])
    found = {"raw": raw}
    for operation in OPERATIONS:
        found[operation] = folder / f"{operation}.lmdb"
        if not found[operation].exists():
            run(["hffkit", "degrade", raw, "--op", operation, "--out", found[operation]])
    return found


def run(words: Sequence[object]) -> None:
    """Run a command."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def accuracy(data: Path, scratch: Path, names: Sequence[str]) -> None:
    """Print test accuracies of each classifier on each set, raw and after operations."""
    print("| set | features | classifier | raw | raw on jp60 | raw on me5 | jp60 on jp60 | "
          "me5 on me5 |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name in names:
        corpora = lay_out(data, scratch, name)
        crop = SETS[name][3]
        plot([str(corpora["raw"])], scratch / f"{name}.png",
             SpectrumRequest(crop=crop), n_workers=2)  # fmt: skip
        for features, classifiers in CLASSIFIERS.items():
            for classifier in classifiers:
                runs = {}
                for operation, corpus in corpora.items():
                    out = corpus.parent / f"{operation}-{features}-{classifier}"
                    runs[operation] = out
                    if not out.exists():
                        request = SpectrumRequest(
                            data=(str(corpus),), classifier=classifier, features=features, crop=crop
                        )
                        train_spectrum(request, out, n_workers=2)
                pairs = [("raw", "raw"), *(("raw", o) for o in OPERATIONS)]
                pairs += [(operation, operation) for operation in OPERATIONS]
                cells = [tested(runs[trained], corpora[on]) for trained, on in pairs]
                print(f"| {name} | {features} | {classifier} | {' | '.join(cells)} |", flush=True)


def tested(run_folder: Path, corpus: Path) -> str:
    """Return the test accuracy with its interval."""
    request = EvalRequest((run_folder,), (str(corpus),), n_resamples=0, device="cpu")
    (found,) = evaluate(request).measured
    decisions = found.scored.decisions
    right = (decisions.predicted == decisions.labels).astype(float)
    low, high = interval(right[None], groups_of([sample for _, sample in found.data.items]))
    return f"{100 * right.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-spectrum")
    )
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores\n", flush=True)
    if arguments.speed:
        speed(arguments.data, arguments.rounds)
    if arguments.accuracy:
        accuracy(arguments.data, arguments.scratch, arguments.sets.split(","))


if __name__ == "__main__":
    main()
