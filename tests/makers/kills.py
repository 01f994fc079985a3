"""Processes killed at random moments, and what the same command gives afterwards."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hffkit.sources.demo_tree import fabricate
from hffkit.storage.staging import partial_path
from makers.programs import alive, descendants_of, semaphores_of, workers_of
from makers.trainings import CLASSES, SIZE, native_corpus, packed_corpus
from makers.trees import all_files, records

# Has imported what commands need, and forks for each of them, for a start takes seconds.
_SERVER = """
import os, sys, warnings
warnings.simplefilter("ignore")
import cv2, sklearn.ensemble, torch
import hffkit.audit.audit, hffkit.corpus.build, hffkit.degrade.degrade, hffkit.evaluation.evaluate
import hffkit.pipeline.runner, hffkit.robustness.robustness, hffkit.training.train
from hffkit.cli.main import main
for line in sys.stdin:
    said, *words = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        os.setsid()
        sys.stdin.close()
        for number in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        sys.argv = ["hffkit", *words]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(70)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
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
_WITH_WORKERS = ("build folder", "build ff++", "pack", "degrade", "degrade folder")
_DOCUMENTED = re.compile(r"\.hffkit-\w+\.tmp$")  # of named files: docs/reliability.md
_SECONDS = 10.0  # in which orphans end on a busy machine


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
        """Return the digests of all that must not depend on where the command was interrupted."""
        tops = [*self.outs, *self.kept()]
        return {f"{top.name}/{name}": digest for top in tops for name, digest in _digests(top)}


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


class Commands:
    """A server of commands, each in a process group of its own."""

    def __init__(self, process: "subprocess.Popen[str]", said: Path) -> None:
        """Take the server, and the file for what the commands print."""
        self._process, self._said = process, said
        self._pid = 0

    def begin(self, words: Sequence[str]) -> int:
        """Start a command and return the number of its process."""
        assert self._process.stdin is not None
        self._said.write_text("")
        self._process.stdin.write("\t".join([str(self._said), *words]) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; return its exit code and what it printed."""
        code = int(self._line())
        return code, self._said.read_text("utf-8", "replace")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def commands(scratch: Path) -> Iterator[Commands]:
    """Run a server whose temporary files are in `scratch`/tmp."""
    (scratch / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch / "tmp"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        server = Commands(process, scratch / "said")
        server.begin(["--version"])
        server.end()  # it has imported everything
        yield server
        assert process.stdin is not None
        process.stdin.close()


def cases_of(scratch: Path) -> dict[str, Case]:
    """Make small inputs; return commands by name."""
    splits = {"train": 6, "val": 4, "test": 3}
    raw = native_corpus(scratch, splits)
    packed = packed_corpus(scratch / "packed", splits)
    fabricate(scratch / "ff++", [("054", "071")])
    (scratch / "recipe.toml").write_text(_RECIPE)
    one, cpu = ["--workers", "1"], ["--device", "cpu", "--threads", "1"]
    train = ["train", "--data", packed, "--network", "meso4", "--set", f"size={SIZE}", *cpu,
             "--set", "val_interval=2", "--batch-size", 8]  # fmt: skip
    run = scratch / "net"
    out = scratch / "out"
    out.mkdir()
    made: dict[str, tuple[list[object], list[str]]] = {
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
        "audit": (["audit", raw, *one, "--html", out / "x.html"], ["x.json", "x.html"]),
        "robustness": (["robustness", run, "--data", raw, "--op", "jp:60", "--op", "gc:0.8",
                        "--resamples", 0, *one, "--device", "cpu", "--html", out / "x.html"],
                       ["x.html"]),
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
    found = {}
    for name, (words, outs) in made.items():
        to = [] if name == "robustness" else ["--out", out / outs[0]]
        beside = raw if name == "robustness" else None
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
    left = [path.name for path in (scratch / "tmp").iterdir()]
    assert not left, f"seed {seed}: left in the folder of temporary files: {left}"
    return outcomes


def _undisturbed(server: Commands, case: Case) -> tuple[float, dict[str, str]]:
    """Return how long a command takes and what it gives."""
    begin = time.monotonic()
    server.begin(case.words)
    code, said = server.end()
    assert code == 0, said
    seconds, result = time.monotonic() - begin, case.result()
    case.clear()
    return seconds, result


def _killed(
    server: Commands,
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
    left = {path.name for path in case.outs[0].parent.iterdir() if not _DOCUMENTED.match(path.name)}
    assert left == {path.name for path in case.outs}, f"left {left}"
    case.clear()
    return f"{victim} killed: the same result" if n_killed else "ended before: the same result"


def _again(server: Commands, case: Case) -> None:
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
