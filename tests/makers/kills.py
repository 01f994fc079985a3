"""Processes killed at random moments, and what the same command gives afterwards."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hffkit.storage.staging import partial_path
from makers.command_server import MODULES, CommandServer, command_server
from makers.programs import alive, descendants_of, semaphores_of, workers_of
from makers.trainings import CLASSES, SIZE, native_corpus, packed_corpus
from makers.trees import all_files, records, write_families

_RECIPE = f"""
title = "One cell"
data.faces.about = "faces"
values = {{ set = ["Raw"], seed = [0] }}
table = {{ cell = "{{set}}, {{seed}}, judged", rows = "set", columns = "seed" }}
[steps]
Raw = {{ do = "pack", src = "faces", size = {SIZE} }}
[steps."net {{seed}}"]
do = "train"
data = "Raw"
set = {{ network = "meso4", size = {SIZE}, batch_size = 8, max_iterations = 4, val_interval = 2 }}
seed = "{{seed}}"
[steps."{{set}}, {{seed}}, judged"]
do = "eval"
runs = "net {{seed}}"
data = "{{set}}"
"""
_WITH_WORKERS = (
    "build folder", "build ff++", "pack", "degrade", "degrade folder", "equalize", "predict",
)  # fmt: skip
_DOCUMENTED = re.compile(r"\.hffkit-\w+\.tmp$|hffkit-temporary-")  # in docs/reliability.md
_SECONDS = 60.0  # in which orphans end on a busy machine


@dataclass(frozen=True, slots=True)
class Case:
    """A command, the names of its outputs, and the folder of data beside which it keeps files."""

    words: Sequence[str]
    outs: Sequence[Path]
    beside: Path | None = None
    has_workers: bool = True

    def clear(self) -> None:
        """Remove all that the command made."""
        for path in [*self.outs, *map(partial_path, self.outs), *self.kept()]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def kept(self) -> list[Path]:
        """Return what the command keeps beside its data."""
        return [] if self.beside is None else list(self.beside.parent.glob(f"{self.beside.name}.*"))

    def result(self) -> dict[str, str]:
        """Return the digests of all that must not depend on where the command was interrupted.

        These are all files in the folder of the outputs: what a command left there is a difference.
        """
        made = (top for top in self.outs[0].parent.iterdir() if not _DOCUMENTED.match(top.name))
        tops = [*made, *self.kept()]
        files = {f"{top.name}/{name}": digest for top in tops for name, digest in _digests(top)}
        return {top.name: "" for top in tops} | files  # some may be empty folders


def _digests(top: Path) -> Iterator[tuple[str, str]]:
    files = {"": top.read_bytes()} if top.is_file() else all_files(top)
    for name, data in files.items():
        last = Path(name).name
        if last == "data.mdb":  # of pages, whose places depend on its transactions
            data = repr(records((top / name).parent)).encode()
        elif last == "run.json":
            row = json.loads(data)
            row["result"].pop("seconds_of_last_start", None)
            data = json.dumps(row).encode()
        elif last in {"times.json", "lock"}:
            data = b""
        yield name, hashlib.sha256(data).hexdigest()


@contextmanager
def commands(scratch: Path) -> Iterator[CommandServer]:
    """Run a server whose temporary files are in `scratch`/tmp."""
    (scratch / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch / "tmp"), "OMP_NUM_THREADS": "1"}
    with command_server(scratch / "said", MODULES, environment) as server:
        server.begin(["--version"])
        server.end()  # it has imported everything
        yield server


def cases_of(scratch: Path) -> dict[str, Case]:
    """Make small inputs; return commands by name."""
    splits = {"train": 6, "val": 4, "test": 3}
    raw = native_corpus(scratch, splits)
    two = native_corpus(scratch, splits, CLASSES[1:], "two")  # each pair of classes takes seconds
    packed = packed_corpus(scratch / "packed", splits)
    write_families(scratch / "ff++")
    (scratch / "recipe.toml").write_text(_RECIPE)
    one, cpu = ["--workers", "1"], ["--device", "cpu", "--threads", "1"]
    train = ["train", "--data", packed, "--network", "meso4", "--set", f"size={SIZE}", *cpu,
             "--set", "val_interval=2", "--batch-size", 8]  # fmt: skip
    run, decided = scratch / "net", scratch / "decided"
    out = scratch / "out"
    out.mkdir()
    made: dict[str, tuple[list[object], list[str | Path]]] = {
        "build folder": (["build", "folder", "--src", scratch / "in-raw", "--fake",
                          ",".join(CLASSES[:2]), "--real", CLASSES[2], *one], ["x.lmdb"]),
        "build ff++": (["build", "ff++", "--src", scratch / "ff++", "--quality", "c23",
                        "--frames", "2/1", *one], ["x.lmdb"]),
        "pack": (["pack", raw, "--size", 32, *one], ["x.lmdb"]),
        "degrade": (["degrade", raw, "--op", "jp2-mix", "--seed", 0, *one], ["x.lmdb"]),
        "degrade folder": (["degrade", scratch / "in-raw", "--op", "jp:60", *one], ["x"]),
        "mix": (["mix", raw, scratch / "jp", "--proportion", "large", "--seed", 0], ["x.lmdb"]),
        "merge": (["merge", scratch / "half0", scratch / "half1"], ["x.lmdb"]),
        "train": ([*train, "--max-iterations", 6, "--snapshot", 3], ["x"]),
        "run": (["run", scratch / "recipe.toml", f"--data=faces={raw}", *one, *cpu], ["x"]),
        "audit": (["audit", two, *one, "--html", out / "x.html"], ["x.json", "x.html"]),
        "robustness": (["robustness", run, "--data", raw, "--op", "jp:60", "--op", "gc:0.8",
                        "--resamples", 0, *one, "--device", "cpu", "--html", out / "x.html"],
                       ["x.html"]),
        "decide": (["decide", decided, "--data", raw, "--fpr", 0.9, "--conformal",
                    "--device", "cpu"], [decided / "decision.json"]),
        "equalize": (["equalize", raw, "--size", 32, *one], ["x.lmdb"]),
        "explain": (["explain", run, raw, "--limit", 2, "--steps", 2, "--device", "cpu"], ["x"]),
        "spectrum features": (["spectrum", "features", raw, *one], ["x.npz"]),
        "predict": (["predict", run, scratch / "in-raw/test", "--whole", "--device", "cpu",
                     "--html", out / "x.html", "--csv", out / "x.csv"], ["x.html", "x.csv"]),
    }  # fmt: skip
    jp: list[object] = ["degrade", raw, "--op", "jp:60", *one, "--out", scratch / "jp"]
    net: list[object] = [*train, "--max-iterations", 2, "--out", run]
    halves: list[list[object]] = [
        ["build", "folder", "--src", scratch / "in-raw", "--fake", ",".join(CLASSES[:2]),
         "--real", CLASSES[2], "--shard", f"{i}/2", *one, "--out", scratch / f"half{i}"]
        for i in (0, 1)
    ]  # fmt: skip
    from click.testing import CliRunner

    from hffkit.cli.main import main

    for words in (jp, net, *halves):
        done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
    shutil.copytree(run, decided)
    found = {}
    for name, (words, outs) in made.items():
        to = [] if name in ("decide", "robustness", "predict") else ["--out", out / outs[0]]
        beside = raw if name in ("robustness", "spectrum features") else None
        has_workers = name in _WITH_WORKERS
        places = [out / each for each in outs]
        found[name] = Case([*map(str, [*words, *to])], places, beside, has_workers)
    return found


def _worker(pid: int, rng: random.Random) -> list[int]:
    """Return a worker of a command, as soon as it has one."""
    while alive(pid):
        if found := workers_of(pid):
            return [rng.choice(found)]
        time.sleep(0.01)
    return []


VICTIMS: dict[str, Callable[[int, random.Random], list[int]]] = {
    "command": lambda pid, _: [pid],
    "worker": _worker,
    "command and all its processes": lambda pid, _: [pid, *descendants_of(pid)],
}


def killed_processes(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Kill a command, a worker or all processes of a command at a random moment."""
    rng = random.Random(seed)
    outcomes = Counter[str]()
    cases = cases_of(scratch)
    chosen = [list(cases)[i % len(cases)] for i in range(n)]
    with commands(scratch) as server:
        whole = {name: _undisturbed(server, cases[name]) for name in dict.fromkeys(chosen)}
        for number, name in enumerate(chosen):
            victims = [each for each in VICTIMS if each != "worker" or cases[name].has_workers]
            victim = rng.choice(victims)
            try:
                outcomes[_killed(server, cases[name], whole[name], victim, rng)] += 1
            except AssertionError as error:
                where = f"hffkit {' '.join(cases[name].words)}"
                raise AssertionError(
                    f"seed {seed}, try {number}, {victim} killed: {where}: {error}"
                ) from error
    names = (path.name for path in (scratch / "tmp").iterdir())
    left = [name for name in names if not _DOCUMENTED.match(name)]
    assert not left, f"seed {seed}: left in the folder of temporary files: {left}"
    return outcomes


def _undisturbed(server: CommandServer, case: Case) -> tuple[float, dict[str, str]]:
    """Return how long a command takes and what it gives."""
    begin = time.monotonic()
    server.begin(case.words)
    code, said = server.end()
    assert code == 0, said
    seconds, result = time.monotonic() - begin, case.result()
    case.clear()
    return seconds, result


def _killed(
    server: CommandServer,
    case: Case,
    whole: tuple[float, dict[str, str]],
    victim: str,
    rng: random.Random,
) -> str:
    """Run a command whose victim is killed, and run it again until it is done; name the outcome."""
    seconds, result = whole
    pid = server.begin(case.words)
    time.sleep(rng.uniform(0, seconds))
    others = descendants_of(pid)
    n_killed = sum(_kill(each) for each in VICTIMS[victim](pid, rng))
    code, said = server.end()
    if victim == "worker":
        assert code == 0, said
    else:
        assert code in (0, -signal.SIGKILL), said
        _await_the_end_of(pid, others, with_semaphores=victim == "command")
        n_killed *= code != 0
        _again(server, case)
    found = case.result()
    changed = {name for name in result.keys() | found.keys() if result.get(name) != found.get(name)}
    assert not changed, f"other than undisturbed: {sorted(changed)}"
    case.clear()
    return f"{victim} killed: the same result" if n_killed else "ended before: the same result"


def _again(server: CommandServer, case: Case) -> None:
    """Run a command that was killed; one that was about to end has its output already."""
    is_there = case.outs[0].exists()
    server.begin(case.words)
    code, said = server.end()
    assert code == 0 or (is_there and "already exists" in said), said


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _await_the_end_of(pid: int, others: Sequence[int], *, with_semaphores: bool) -> None:
    deadline = time.monotonic() + _SECONDS
    while any(map(alive, others)) or (with_semaphores and list(semaphores_of(pid))):
        assert time.monotonic() < deadline, f"{others} go on, or their semaphores stay"
        time.sleep(0.02)
