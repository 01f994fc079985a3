"""Mutation testing: small faults planted in modules, and the tests that notice them.

    python benchmarks/mutants.py --module hffkit/evaluation/metrics.py --n 50 --seed 0

Each mutant is one change: another comparison or arithmetic operator, a number one larger or
smaller, a condition negated, `and` for `or`, two arguments swapped, a statement left out, a result
replaced by None. `--n` of all that are possible are drawn with `--seed`. A mutant is killed if a
test fails, or if the tests take a minute and ten times as long as they should. The change of each
mutant that survives is printed.

The tests are those of the module's room that execute the line, the fastest first, as many as take
`--seconds` of processor time together. For a line outside of functions they are those that execute
any line of the module, and as many others. Texts of errors, annotations, decorators and
`zip(strict=...)` stay.

The working tree stays as it is: its files are copied to a temporary folder, and each mutant is
tested there, in a process forked from one that has imported PyTorch and its like already. Set
HFFKIT_TEST_DATA to run the tests on real data too.
"""

import argparse
import gc
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from coverage import CoverageData
from mutations import ROOT, Mutant, mutants_of

COMMON = ["-o", "addopts=", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow", "-q"]
COMMON += ["-W", "ignore:Module already imported", "--hypothesis-seed=0"]
HEAVY = """
torch cv2 sklearn.metrics scipy.stats matplotlib.pyplot PIL.Image av lmdb joblib
hypothesis.extra.numpy xdist.plugin pytest_cov.plugin
"""


class Watch:
    """A plugin of pytest: the processor time of each test, and the first that fails."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: str | None = None
        self._start = 0.0

    def pytest_runtest_logstart(self) -> None:
        """Start the clock."""
        self._start = time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Stop the clock."""
        self.seconds[nodeid] = time.process_time() - self._start

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the first failure."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that cannot be imported as a failure."""
        if report.failed and self.failed is None:
            self.failed = f"import of {report.nodeid or 'conftest.py'}"


def run_pytest(copy: Path, arguments: Sequence[str], limit_s: float) -> dict[str, object] | None:
    """Run pytest in a forked process, and return what `Watch` saw; None after the time limit."""
    answer = copy / "answer.json"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            _child(copy, arguments, answer)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(0)  # whatever happens: the rest of this program is not the child's
    end = time.monotonic() + limit_s
    while not (done := os.waitpid(child, os.WNOHANG)[0]) and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and the worker processes that it has left
    if not done:
        os.waitpid(child, 0)
        return None
    if not answer.exists():
        return {"failed": "the process died", "seconds": {}}
    return dict(json.loads(answer.read_text("utf-8")))


def _child(copy: Path, arguments: Sequence[str], answer: Path) -> None:
    """Run pytest in this process, and write what it finds."""
    os.setpgid(0, 0)
    os.chdir(copy)
    sys.path[0] = str(copy)
    sys.path.append(str(Path(__file__).parent))  # spawned processes of tests import this module
    os.environ["PYTHONPATH"] = str(copy)
    with (copy / "log.txt").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    watch = Watch()
    code = pytest.main([*COMMON, *arguments], plugins=[watch])
    failed = watch.failed or (f"pytest ends with {code:d}" if code else None)
    answer.write_text(json.dumps({"failed": failed, "seconds": watch.seconds}), "utf-8")


@dataclass
class Coverage:
    """The tests of a room: how long each takes, and those that execute each line of modules."""

    seconds: dict[str, float]
    tests: dict[str, dict[int, set[str]]] = field(default_factory=dict)  # by module and line

    def chosen(self, mutant: Mutant, limit_s: float) -> list[str]:
        """Return the tests of a mutant."""
        lines = self.tests[mutant.module]
        if mutant.line in lines:
            return self._fastest(lines[mutant.line], limit_s)
        near = {test for tests in lines.values() for test in tests}
        far = {*self.seconds} - near
        return self._fastest(near, limit_s) + self._fastest(far, limit_s)

    def _fastest(self, tests: Set[str], limit_s: float) -> list[str]:
        """Return the fastest of some tests that take a time together, and at least one."""
        fastest = sorted(tests, key=lambda test: (self.seconds[test], test))
        ends = itertools.accumulate(self.seconds[test] for test in fastest)
        n = sum(end <= limit_s for end in ends)
        return fastest[: max(1, n)]


def measured(copy: Path, room: str, tests: Sequence[str], modules: Sequence[str]) -> Coverage:
    """Run tests once, and return which execute what."""
    arguments = [*tests, f"--cov=hffkit/{room}", "--cov-context=test", "--cov-report="]
    answer = run_pytest(copy, arguments, 3600)
    if answer is None or answer["failed"] or not isinstance(answer["seconds"], dict):
        sys.exit((copy / "log.txt").read_text("utf-8"))
    data = CoverageData(str(copy / ".coverage"))
    data.read()
    coverage = Coverage(answer["seconds"])
    for module in modules:
        contexts = data.contexts_by_lineno(str(copy / module))
        coverage.tests[module] = {
            line: found
            for line, names in contexts.items()
            if (found := {name.rpartition("|")[0] for name in names} & {*coverage.seconds})
        }
    return coverage


def tested(copy: Path, mutant: Mutant, coverage: Coverage, limit_s: float) -> str | None:
    """Return what kills a mutant, or None."""
    path = copy / mutant.module
    tests = coverage.chosen(mutant, limit_s)
    shutil.rmtree(copy / ".hypothesis", ignore_errors=True)
    _write(path, mutant.texts()[1])
    usual_s = sum(coverage.seconds[test] for test in tests)
    arguments, limit_s = ["-x", "-p", "no:cov"], 60 + 10 * usual_s
    answer = run_pytest(copy, [*arguments, *tests], limit_s)
    if "ERROR: not found" in (copy / "log.txt").read_text("utf-8", "replace"):
        # The mutant gave tests other parameters, and so other names, which is no failure.
        functions = list(dict.fromkeys(test.partition("[")[0] for test in tests))
        answer = run_pytest(copy, [*arguments, *functions], limit_s)
    _write(path, mutant.source)
    if answer is None:
        return "the time limit"
    return None if answer["failed"] is None else str(answer["failed"])


def _write(module: Path, source: str) -> None:
    """Write a module, and remove its bytecode, which Python takes for a source of equal size."""
    module.write_text(source, "utf-8")
    for cached in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
        cached.unlink()


def copied(folder: Path) -> Path:
    """Copy the files of the working tree that git knows, or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def main() -> None:
    """Draw mutants of modules, test them and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--module", nargs="+", required=True, help="files of one room")
    parser.add_argument("--n", type=int, default=50, help="number of mutants; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10, help="of the tests of a mutant")
    parser.add_argument("--tests", nargs="+", help="files or names of tests; all of the room")
    parser.add_argument("--only", nargs="+", help="names of mutants, as printed")
    options = parser.parse_args()
    modules = sorted(str((ROOT / path).relative_to(ROOT)) for path in options.module)
    (room,) = {Path(module).parent.name for module in modules}
    every = [mutant for module in modules for mutant in mutants_of(module)]
    drawn = random.Random(options.seed).sample(every, min(options.n or len(every), len(every)))
    drawn.sort(key=lambda mutant: (mutant.module, mutant.place, mutant.which))
    if options.only:
        drawn = [mutant for mutant in every if mutant.name in options.only]
    drawn = [mutant for mutant in drawn if mutant.diff()]  # `return None` by None is no change
    for name in HEAVY.split():
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice, and need not look at all this again
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder).resolve())
        coverage = measured(copy, room, options.tests or [f"tests/{room}"], modules)
        for mutant in drawn:
            killer = tested(copy, mutant, coverage, options.seconds)
            print(mutant.name, f"killed by {killer}" if killer else "survived", flush=True)
            if not killer:
                survivors.append(mutant)
                print(mutant.diff(), flush=True)
    print(f"{room}: {len(drawn) - len(survivors)} of {len(drawn)} killed, of {len(every)} possible")


if __name__ == "__main__":
    # One thread: the processes are forked, and share the machine.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    main()
