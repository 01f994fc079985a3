"""Measurements of finished trainings, kept in CSV files so that hours of training add up.

A row of benchmarks/measured/NAME.csv is one training: what was trained and how, its accuracy, and,
as hexadecimal bits in the order of the corpus, which test samples it classifies correctly.
groups.csv beside it holds the groups of the test samples. So tables and their bootstraps are
computed from these files alone, and only trainings without a row are done. Several processes may
share them: each trains what no other is training, and rows are appended under a lock.
"""

import csv
import fcntl
import hashlib
import io
import json
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.ensemble import RandomForestClassifier

from hffkit.execution.versions import versions
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus
from hffkit.training.recipe import parse_override
from hffkit.training.request import TrainRequest, chosen_recipe

MEASURED = Path(__file__).parent / "measured"
NO_PIXELS = "no pixels"  # a row of this name is the baseline on file size and JPEG header
N_RESAMPLES = 2000
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Key = tuple[str, str, int]  # corpus, network, seed


@dataclass(frozen=True, slots=True)
class Settings:
    """Network and recipe of a training, with changes KEY=VALUE of the recipe."""

    network: str
    recipe: str = "small"
    changes: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return the options of `hffkit train`."""
        changes = [word for change in self.changes for word in ("--set", change)]
        return ["--network", self.network, "--recipe", self.recipe, *changes]

    def values(self) -> dict[str, Any]:
        """Return the values of the recipe, as run.json has them."""
        changes = tuple(parse_override(change) for change in self.changes)
        return chosen_recipe(TrainRequest((), self.network, self.recipe, changes)).to_json()


@dataclass(frozen=True, slots=True)
class Training:
    """A training to do: its name in the table, its settings and seed, and the folder of its run."""

    network: str
    settings: Settings
    seed: int
    run: Path
    options: tuple[object, ...] = ()  # further ones of `hffkit train`


class Built:
    """A corpus for trainings and their test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content_sha256 = Corpus(path).info.content_sha256
        samples = list(Corpus(path).samples())
        self.n_train = sum(sample.split == "train" for sample in samples)
        self.test = [sample for sample in samples if sample.split == "test"]

    @property
    def name(self) -> str:
        """Name of the corpus in the rows."""
        return self.path.stem

    @cached_property
    def groups(self) -> Ints:
        """Number of each test sample's group, (N,)."""
        return groups_of(self.test)

    @cached_property
    def test_digest(self) -> str:
        """Digest of the test samples' keys and groups."""
        return short_digest([[sample.key, sample.group] for sample in self.test])


@dataclass(frozen=True, slots=True)
class Row:
    """One finished training."""

    corpus: str
    network: str
    seed: int
    n_train: int  # images
    iterations: int
    kept: int  # iteration whose weights are kept
    threads: int
    processor: str
    date: str  # on which it ended
    hffkit: str
    content_sha256: str  # of the corpus
    test: str  # digest of the test samples' keys and groups
    recipe: str  # digest of its values without the iterations
    accuracy: str  # on the test samples, in per cent
    right: str  # hexadecimal bits of the test samples
    figures: Mapping[str, str]  # further columns

    @property
    def key(self) -> Key:
        """What was trained."""
        return self.corpus, self.network, self.seed

    def is_of(self, built: Built, settings: Settings | None) -> bool:
        """Return whether the row is of this corpus and these settings, None for the baseline."""
        recipe, iterations = recipe_digest(settings.values()) if settings else ("", 0)
        wanted = (built.content_sha256, built.test_digest, recipe, iterations)
        return wanted == (self.content_sha256, self.test, self.recipe, self.iterations)


COLUMNS = tuple(Row.__annotations__)[:-1]
_NUMBERS = ("seed", "n_train", "iterations", "kept", "threads")


class Measurements:
    """A file of rows, and the file of groups beside it."""

    def __init__(self, path: Path, figures: Sequence[str] = ()) -> None:
        self.path = path
        self.figures = tuple(figures)
        self._groups_path = path.with_name("groups.csv")

    def rows(self) -> dict[Key, Row]:
        """Return the rows that are there."""
        found = {}
        for values in read(self.path):
            figures = {name: values.pop(name) for name in self.figures}
            numbers = {name: int(values.pop(name)) for name in _NUMBERS}
            row = Row(**values, **numbers, figures=figures)  # type: ignore[arg-type]
            found[row.key] = row
        return found

    def has(self, key: Key, built: Built, settings: Settings | None) -> bool:
        """Return whether a training has its row; refuse one of another corpus or recipe."""
        row = self.rows().get(key)
        if row is not None and not row.is_of(built, settings):
            raise SystemExit(
                f"{self.path}: the row of {' '.join(map(str, key))} is of another corpus or "
                "recipe. Delete it, or name another file by --measured."
            )
        return row is not None

    def add(self, row: Row, groups: Ints) -> None:
        """Append a row, and the groups of its test samples unless they are known."""
        if row.test not in {known["test"] for known in read(self._groups_path)}:
            text = " ".join(map(str, groups))
            append(self._groups_path, {"test": row.test, "groups": text})
        append(self.path, {**{name: getattr(row, name) for name in COLUMNS}, **row.figures})

    def groups(self, row: Row) -> Ints:
        """Return the number of each test sample's group, (N,)."""
        known = {each["test"]: each["groups"] for each in read(self._groups_path)}
        return np.array(known[row.test].split(), np.int64)

    def right(self, row: Row) -> Floats:
        """Return 1 for each test sample that is classified correctly and 0 for others, (N,)."""
        n = len(self.groups(row))
        bits = np.frombuffer(bytes.fromhex(row.right), np.uint8)
        return np.unpackbits(bits, count=n).astype(np.float64)


def groups_of(samples: Sequence[Sample]) -> Ints:
    """Return the number of each sample's group, (N,)."""
    names = [sample.group or sample.key for sample in samples]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return list(csv.DictReader(file))


def append(path: Path, values: Mapping[str, object]) -> None:
    """Append a row to a CSV file, which another process may do at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, list(values), lineterminator="\n")
        if not path.stat().st_size:
            writer.writeheader()
        writer.writerow(values)


@contextmanager
def locked(path: Path, *, waits: bool) -> Iterator[bool]:
    """Hold a lock file, or yield False if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def short_digest(values: object) -> str:
    """Return 16 hexadecimal digits of the digest of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def recipe_digest(values: Mapping[str, Any]) -> tuple[str, int]:
    """Return the digest of a recipe's values without the iterations, and the iterations."""
    others = {name: value for name, value in values.items() if name != "max_iterations"}
    return short_digest(others), int(values["max_iterations"])


def bits_of(right: Floats) -> str:
    """Return zeros and ones as hexadecimal bits."""
    return np.packbits(right.astype(bool)).tobytes().hex()


def run_words(words: Sequence[object]) -> int:
    """Run a command and return its exit status, passing Ctrl-C and SIGTERM on to it."""
    with subprocess.Popen([str(word) for word in words], start_new_session=True) as process:
        before = {
            each: signal.signal(each, lambda number, _: process.send_signal(number))
            for each in (signal.SIGINT, signal.SIGTERM)
        }
        status = process.wait()
    for each, handler in before.items():
        signal.signal(each, handler)
    if any(status in (-each, 128 + each) for each in before):
        raise KeyboardInterrupt
    return status


def train_missing(
    file: Measurements,
    built: Built,
    training: Training,
    figures_of: Callable[[Path], Mapping[str, str]] = lambda _: {},
) -> None:
    """Add the row of a training unless it is there; train unless its run exists.

    Do nothing if another process trains the same now.
    """
    settings, seed, run = training.settings, training.seed, training.run
    key = (built.name, training.network, seed)
    with locked(run, waits=False) as is_mine:
        if not is_mine or file.has(key, built, settings):
            return
        words = ["hffkit", "train", "--data", built.path, "--out", run, *settings.words()]
        if not run.exists() and run_words([*words, "--seed", seed, *training.options]):
            print(f"{run}: not trained; see above.", flush=True)
            return
        about = json.loads((run / "run.json").read_text("utf-8"))
        made = about["made"]
        right = right_of(run, built, made["task"])
        recipe, iterations = recipe_digest(made["recipe"])
        ended = datetime.fromtimestamp((run / "weights.safetensors").stat().st_mtime, UTC)
        row = Row(
            *key, built.n_train, iterations, int(about["result"]["selected"]["iteration"]),
            made["threads"], made["versions"]["cpu"], f"{ended:%F}", made["versions"]["hffkit"],
            made["data"][0]["content_sha256"], built.test_digest, recipe,
            f"{100 * right.mean():.4f}", bits_of(right), figures_of(run),
        )  # fmt: skip
        if made["seed"] != seed or not row.is_of(built, settings):
            raise SystemExit(f"{run}: made from another corpus, recipe or seed. Delete it.")
        file.add(row, built.groups)


def right_of(run: Path, built: Built, task: str) -> Floats:
    """Evaluate a run; return 1 for each test sample that it classifies correctly, 0 for others."""
    scores = run.with_name(f"{run.name}.csv")
    if not scores.exists():
        words = ["hffkit", "eval", run, "--data", built.path, "--task", task, "--csv", scores]
        command = [str(word) for word in [*words, "--resamples", 0]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = list(csv.DictReader(io.StringIO(scores.read_text("utf-8"))))
    if [row["key"] for row in rows] != [sample.key for sample in built.test]:
        raise SystemExit(f"{scores}: not the scores of {built.path}. Delete it.")
    return np.array([row["label"] == row["predicted"] for row in rows], np.float64)


def add_without_pixels(file: Measurements, built: Built, root: Path) -> None:
    """Add the row of the baseline on file size and JPEG header, unless it is there."""
    key = (built.name, NO_PIXELS, 0)
    with locked(built.path, waits=True):
        if file.has(key, built, None):
            return
        samples = list(Corpus(built.path).samples())
        features = np.array([header(root / sample.source) for sample in samples])
        labels = np.array([sample.cls for sample in samples])
        is_test = np.array([sample.split == "test" for sample in samples])
        is_train = np.array([sample.split == "train" for sample in samples])
        forest = RandomForestClassifier(500, random_state=0)
        forest.fit(features[is_train], labels[is_train])
        right = np.asarray(forest.predict(features[is_test]) == labels[is_test], np.float64)
        row = Row(
            *key, built.n_train, 0, 0, 1, platform.machine(), f"{datetime.now(UTC):%F}",
            versions()["hffkit"], built.content_sha256, built.test_digest, "",
            f"{100 * right.mean():.4f}", bits_of(right), {},
        )  # fmt: skip
        file.add(row, built.groups)


def header(path: Path) -> list[float]:
    """Return size in bytes, width, height, sums of the quantisation tables, other segments."""
    with Image.open(path) as image:
        tables = getattr(image, "quantization", {})
        sums = [float(sum(tables.get(i, ()))) for i in range(2)]
        layers = [float(a * 10 + b) for _, a, b, _ in getattr(image, "layer", ())][:3]
        return [
            float(path.stat().st_size),
            *map(float, image.size),
            *sums,
            *layers,
            *[0.0] * (3 - len(layers)),
            float(len(image.info)),
        ]


def interval(values: Floats, groups: Ints) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (seeds, N), drawing seeds and groups."""
    n_groups = int(groups.max()) + 1
    sums = np.array([np.bincount(groups, row, n_groups) for row in values])
    sizes = np.bincount(groups, minlength=n_groups)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(N_RESAMPLES):
        drawn = rng.integers(0, n_groups, n_groups)
        seeds = rng.integers(0, len(values), len(values))
        means.append(sums[seeds][:, drawn].sum() / len(seeds) / sizes[drawn].sum())
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def origin(rows: Sequence[Row]) -> str:
    """Return where and when rows were measured."""
    trained = [row for row in rows if row.network != NO_PIXELS]
    if not trained:
        return "No training of these networks is finished. --data starts with the first one."
    dates = sorted({row.date for row in trained})
    machines = sorted({f"{row.processor}, threads: {row.threads}" for row in trained})
    days = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
    return f"{len(trained)} trainings, {days}: {'; '.join(machines)}"
