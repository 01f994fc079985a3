"""Command lines of any kind, drawn from the tree of commands: none may end in a traceback."""

import os
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import torch
from click.testing import CliRunner, Result

from hffkit.cli.main import main
from hffkit.degrade.table import OPERATIONS
from hffkit.manifest.classes import numbered
from hffkit.networks.table import build
from hffkit.recipe_files import shipped_names
from makers import cao
from makers.runs import write_run
from makers.trees import build_corpus, write_clip, write_image
from makers.workers import lasting_workers

# Interrupted after so many seconds, as by Ctrl-C; the first import of PyTorch must not be.
LONGEST = 20.0
INTERRUPTED = 130
OWN = """
import numpy as np
from hffkit.degrade.operation import Filter
from hffkit.degrade.parameter import Choice, Rule
rule = Rule("a whole number from 0 to 9", int, lambda value: 0 <= value <= 9)
OPERATIONS = {"own": Filter("own", "x", Choice("n", rule, (1, 2)), lambda image, n: image // n)}
"""
# Files that commands expect, and others in their place.
FILES = [
    "x.lmdb", "run", "in", "face.png", "clip.mp4", "own.py", "own.toml", "steps.toml", "list.txt",
    "boxes.json", "x.lmdb/corpus.json", "run/run.json", "folder", "empty",
]  # fmt: skip
WORSE = [
    "absent", "", ".", "..", "/", "-", "--", "~", "fifo", "loop", "/dev/null", "/proc/self/mem",
    "ü\u2028\udcff", "n" * 300, "a/b/c", "x.lmdb/", "x.lmdb/corpus.json/y", "*.lmdb", "[", "a,b",
    "in=x.lmdb", "x.lmdb=", "A=x.lmdb", "run,run", " ", "\n", "\\", "'", "$HOME", "http://x/y",
    "tcp://127.0.0.1:1", "swop.json", "x.pth", "x.h5", "head.tar", "x.html", "x.caffemodel",
]  # fmt: skip
NUMBERS = ["0", "1", "2", "3", "7", "10", "64"]
WORSE_NUMBERS = [
    "-1", "-0", "1000000000", "1" + "0" * 30, "9" * 5000, "1.5", "1e3", "1e999", "nan", "inf",
    "-inf", "x", "", " 1", "٣", "0x10", "1_000", "1,2", "None", "true", "4294967296", "0.000001",
]  # fmt: skip
TEXTS = [
    *(f"{code}-mix" for code in OPERATIONS), "jp:60", "jp60", "me:3", "gb:3+jp:70", "jp:65..100",
    "gb:1..999999999", "me:3..1000000001", "jp:100..1", "jp:", ":", "jp:1e999", "gb:" + "9" * 5000,
    "own:1", "own-mix", "jp", "sc:-99999", "+", "rs:0", "no:1e300", "swop", "table-ix",
    "table-ix:1", "table-ix:99", "gend:9" + "9" * 30, "own.toml:1", "a", "b", "a,b", "real", "fake",
    "train", "0", "0,1,2", "80/10/10", "1/0/0", "0/2", "2/1", "0/" + "9" * 30, "native", "64",
    "9" * 30, "9" * 5000, "a=b", "batch_size=1", "batch_size=1000000000", "size=" + "9" * 5000,
    "max_iterations=1", "base_lr=nan", "base_lr=1e-3", "degrade=jp-mix", "seed=x", "=", "a==b",
    "size=" + "[" * 2000, "metric.threshold=5", "meso4", "mml", "xception", "amtennet", "cpu",
    "cuda:99", "cuda:x", "(", "(?P<x>", "[0-9]+", "all", "paper", "cao", "every:3", "every:0",
    "5/9", "9/5", "all/" + "9" * 40, "key", "\u202e", "\udcff", "", "-", "--x", "x" * 5000,
]  # fmt: skip
_TOO_LONG = "interrupted, because it took long"


def command_lines(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Draw command lines: each is carried out, or refused with a message and without traceback."""
    lay_files(scratch)
    leaves = list(leaves_of(main))
    outcomes = Counter[str]()
    with in_folder(scratch), lasting_workers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(n):
            rng = np.random.default_rng([seed, number])
            names, command = leaves[int(rng.integers(len(leaves)))]
            line = [*names, *line_of(names, command, rng, number)]
            done: list[Result] = []
            with time_limit():
                done.append(CliRunner().invoke(main, line))
            try:
                outcomes[outcome(done[0]) if done else _TOO_LONG] += 1
            except AssertionError as error:
                shown = [word if len(word) < 80 else f"{word[:80]}…" for word in line]
                raise AssertionError(f"number {number} of seed {seed}: {shown}: {error}") from error
            tidy(scratch)
    return outcomes


def outcome(done: Result) -> str:
    """Return how a command ended; AssertionError if it should not end so."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError(f"{type(done.exception).__name__}: {done.exception}")
    if done.exit_code == INTERRUPTED:
        return _TOO_LONG
    text = done.stderr.strip()
    if "Traceback (most recent" in done.output:
        raise AssertionError(f"a traceback is printed: {done.output[-2000:]}")
    if done.exit_code in (1, 2):
        last = next((line for line in text.splitlines() if line.startswith("Error: ")), "")
        # `verify` and `audit` print what they find, and exit with 1.
        if not (last or (done.exit_code == 1 and done.stdout.strip())):
            raise AssertionError(f"no error is printed, but {text[:500]!r}")
        if len(last) > 8000:
            raise AssertionError(f"an error of {len(last)} characters: {last[:500]!r}")
        return "refused, with a message"
    if done.exit_code not in (0, 3):
        raise AssertionError(f"exit code {done.exit_code}: {text[-500:]!r}")
    return "carried out"


def leaves_of(group: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands with their names."""
    if isinstance(group, click.Group):
        for name, child in group.commands.items():
            yield from leaves_of(child, *names, name)
    else:
        yield names, group


def line_of(
    names: Sequence[str], command: click.Command, rng: np.random.Generator, number: int
) -> list[str]:
    """Draw a line that works, with further options or a wrong word, or any arguments at all."""
    base = BASES.get(" ".join(names))
    if base is None or rng.random() < 0.35:
        # The demo takes minutes, but not there.
        last = ["--out", "x.lmdb/demo"] if names == ("demo",) else []
        return [*arguments(command, rng, number), *last]
    words = base.replace("OUT", f"out{number}").split()
    options = [param for param in command.params if isinstance(param, click.Option)]
    for _ in range(int(rng.choice([0, 1, 1, 2, 3]))):
        option = options[int(rng.integers(len(options)))]
        words += given(option, rng, float(rng.choice([0.97, 0.4])), number)
    if rng.random() < 0.2:
        words[int(rng.integers(len(words)))] = anything(rng)
    return words


def arguments(command: click.Command, rng: np.random.Generator, number: int) -> list[str]:
    """Draw the arguments of a command: mostly some that it takes, but a few of another kind."""
    care = float(rng.choice([0.97, 0.85, 0.4]))
    words: list[list[str]] = []
    for param in command.params:
        wanted = param.required and rng.random() < 0.5 + care / 2
        if not (wanted or rng.random() < 0.15):
            continue
        for _ in range(2 if rng.random() < 0.05 else 1):
            words.append(given(param, rng, care, number))
    if rng.random() < 0.05:
        words.append([str(rng.choice(["--swop", "-x", "--swop=1", "extra", "--", "--help"]))])
    order = rng.permutation(len(words)) if rng.random() < 0.5 else range(len(words))
    return [word for place in order for word in words[place]]


def given(param: click.Parameter, rng: np.random.Generator, care: float, number: int) -> list[str]:
    """Return the words that give a parameter a value."""
    if isinstance(param, click.Option) and param.is_flag:
        return [str(rng.choice([*param.opts, *param.secondary_opts]))]
    value = drawn(param, rng, care, number)
    if isinstance(param, click.Argument):
        return [value]
    name = str(rng.choice(param.opts))
    if rng.random() < 0.02:
        return [name]  # without its value
    return [f"{name}={value}"] if rng.random() < 0.5 else [name, value]


def drawn(param: click.Parameter, rng: np.random.Generator, care: float, number: int) -> str:
    """Draw a value for a parameter: a good one for its type, or anything."""
    if rng.random() > care:
        return anything(rng)
    good = {**GOOD, "out": [f"out{number}"], "csv": [f"t{number}.csv"], "html": [f"p{number}.html"]}
    pool: Sequence[str]
    if param.name in good:
        pool = good[param.name]
    elif isinstance(param.type, click.Choice):
        pool = [str(choice) for choice in param.type.choices]
    elif isinstance(param.type, click.types.IntParamType | click.types.FloatParamType):
        pool = NUMBERS
    elif isinstance(param.type, click.Path):
        pool = FILES
    else:
        pool = TEXTS
    return str(pool[int(rng.integers(len(pool)))])


def anything(rng: np.random.Generator) -> str:
    """Draw a word of any kind."""
    pool = [*FILES, *WORSE, *NUMBERS, *WORSE_NUMBERS, *TEXTS]
    return pool[int(rng.integers(len(pool)))]


BASES = {
    "train": "--data x.lmdb --out OUT --network meso4 --set size=32 --max-iterations 1"
    " --batch-size 2 --device cpu --threads 1",
    "eval": "run --data x.lmdb --device cpu --resamples 5",
    "decide": "run --data x.lmdb --fpr 0.9 --conformal",
    "predict": "run in --whole",
    "explain": "run face.png --whole --steps 2 --out OUT",
    "robustness": "run --data x.lmdb --op jp:60 --resamples 5",
    "spectrum train": "--data x.lmdb --out OUT",
    "spectrum features": "x.lmdb --out OUT.npz",
    "spectrum plot": "x.lmdb --out OUT.png",
    "inspect": "x.lmdb",
    "audit": "x.lmdb",
    "verify": "x.lmdb",
    "degrade": "x.lmdb --op jp:60 --out OUT --workers 1",
    "pack": "x.lmdb --size 32 --out OUT --workers 1",
    "equalize": "x.lmdb --size 16 --out OUT --workers 1",
    "subset": "x.lmdb --share 0.5 --out OUT",
    "merge": "x.lmdb --out OUT",
    "build folder": "--src in --real a --fake b --out OUT --workers 1",
    "build list": "--src in --list list.txt --real 1 --fake 0 --out OUT --workers 1",
    "run": "steps.toml --data a=x.lmdb --out OUT",
    "convert": "good.pth --network meso4 --out OUT",
    "mix": "x.lmdb x.lmdb --proportion large --out OUT",
}
GOOD: Mapping[str, Sequence[str]] = {
    "workers": ["1"], "data": ["x.lmdb"], "corpus": ["x.lmdb"], "corpora": ["x.lmdb"],
    "run": ["run"], "against": ["x.lmdb", "run"], "src": ["in", "x.lmdb"], "path": ["x.lmdb"],
    "paths": ["in", "face.png", "x.lmdb"], "resamples": ["0", "5"], "n_resamples": ["0", "5"],
    "max_iterations": ["0", "1"], "recipe": ["own.toml", "meso4"], "operations": ["own.py"],
    "real": ["a"], "fake": ["b"], "list_file": ["list.txt"], "boxes": ["boxes.json"],
    "network": ["meso4", "amtennet"], "scheduler": ["fifo", "absent"],
    "runs": ["run"], "val": ["x.lmdb"], "init": ["run", "x.pth"], "masks": ["x.lmdb"],
    "device": ["cpu"], "suites": shipped_names("suites"), "suite": ["gend:1", "table-ix:2"],
    "recipes": ["steps.toml"], "overrides": ["batch_size=2"], "target": ["in", "x.lmdb"],
    "sources": ["run/weights.safetensors", "good.pth", "head.tar", "tail.tar"],
    "source": ["in", "x.lmdb"],
    "ops": ["jp:60", "jp-mix", "own:1"], "drop": ["list.txt"], "detect_on": ["a"],
    "split_ratio": ["60/20/20"], "share": ["0.5"], "size": ["native", "32"], "degrade": ["jp-mix"],
}  # fmt: skip


def lay_files(scratch: Path) -> None:
    """Write a small corpus, a run, images and files of settings."""
    for number in range(12):
        write_image(scratch / f"in/{'ab'[number % 2]}/{number:04}.png", number, size=(40, 32))
    build_corpus(
        "folder",
        scratch / "in",
        scratch / "x.lmdb",
        split_ratio="4/4/4",
        real=("a",),
        fake=("b",),
    )
    write_run(scratch / "run", numbered(("b",), ("a",)), size=32)
    write_image(scratch / "face.png", 5)
    write_clip(scratch / "clip.mp4", n_frames=3)
    (scratch / "folder").mkdir()
    (scratch / "empty").touch()
    (scratch / "own.py").write_text(OWN)
    (scratch / "own.toml").write_text("title = 'x'\n")
    (scratch / "steps.toml").write_text(
        "title = 'x'\n[data]\na = { about = 'a corpus' }\n"
        "[steps.b]\ndo = 'degrade'\nsrc = 'a'\nop = ['jp:60']\n"
    )
    (scratch / "list.txt").write_text("a/0000.png 0\nb/0001.png 1\n")
    (scratch / "boxes.json").write_text('{"a": {"0": [0, 0, 9]}}')
    torch.save(build("meso4", 2).state_dict(), scratch / "good.pth")
    cao.save(scratch / "head.tar", cao.block("block1", (4, 4), first=0))
    cao.save(scratch / "tail.tar", cao.block("block12", (4, 4)))
    for name in ("x.pth", "x.h5", "x.caffemodel", "swop.json"):
        (scratch / name).write_bytes(b"swop")
    os.mkfifo(scratch / "fifo")
    (scratch / "loop").symlink_to("loop")
    KEPT[scratch] = {path.name for path in scratch.iterdir()}


KEPT: dict[Path, set[str]] = {}


def tidy(scratch: Path) -> None:
    """Remove what a command wrote."""
    for path in scratch.iterdir():
        if path.name in KEPT[scratch]:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def time_limit() -> Iterator[None]:
    """Interrupt a command that takes long, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    except KeyboardInterrupt:  # after the command, in click's own code
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
