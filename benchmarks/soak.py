"""Faults of every kind, tried many times: the table of docs/reliability.md.

    python benchmarks/soak.py --n 200 --seed 1
    python benchmarks/soak.py --list
    python benchmarks/soak.py --kind kills --kind forgeries.forged_parts --n 50

A kind of fault is a function `(scratch: Path, n: int, seed: int) -> Counter[str]` in tests/makers:
it makes `n` faults from a seed, counts their outcomes by plain words, and raises an AssertionError
for a wrong one. Every such function is found by its parameters. --kind NAME takes the functions of
a file, --kind NAME.FUNCTION one of them; without it all are run, one after the other. The table is
printed as Markdown when all are done; after a wrong outcome the exit code is 1.
"""

import argparse
import ast
import importlib
import os
import platform
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
PARAMETERS = ["scratch", "n", "seed"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: the function that makes it, and the first line of its docstring."""

    module: str
    function: str
    title: str

    @property
    def name(self) -> str:
        """The name that --kind takes."""
        return f"{self.module}.{self.function}"

    def __call__(self, scratch: Path, n: int, seed: int) -> Counter[str]:
        """Make `n` faults and count their outcomes."""
        found: Counter[str] = getattr(
            importlib.import_module(f"makers.{self.module}"), self.function
        )(scratch, n, seed)
        return found


@dataclass(frozen=True, slots=True)
class Tried:
    """The outcomes of a kind; a wrong one has an error, and no outcomes are known."""

    kind: Kind
    outcomes: Counter[str]
    error: str | None
    seconds: float

    def row(self) -> str:
        """Return the row of the table."""
        counted = ", ".join(f"{n} {text}" for text, n in self.outcomes.most_common())
        return f"| {self.kind.title} | {self.outcomes.total()} | {self.error or counted} |"


def kinds() -> Iterator[Kind]:
    """Yield the kinds of faults in tests/makers, which are not imported for that."""
    for path in sorted((TESTS / "makers").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if [argument.arg for argument in node.args.args] == PARAMETERS:
                title = (ast.get_docstring(node) or node.name).splitlines()[0].rstrip(".")
                yield Kind(path.stem, node.name, title)


def chosen(names: Sequence[str]) -> list[Kind]:
    """Return the kinds of files or functions that are named; all of them without names."""
    known = list(kinds())
    missing = set(names) - {each.name for each in known} - {each.module for each in known}
    if missing:
        sys.exit(f"no kind of fault is named {', '.join(sorted(missing))}; --list prints all")
    return [each for each in known if not names or {each.name, each.module} & set(names)]


def tried(kind: Kind, n: int, seed: int) -> Tried:
    """Try a kind of fault in a folder of its own."""
    begin = time.monotonic()
    outcomes, error = Counter[str](), None
    with tempfile.TemporaryDirectory(prefix="hffkit-soak-") as scratch:
        try:
            outcomes = kind(Path(scratch), n, seed)
        except Exception as wrong:  # noqa: BLE001 - the other kinds are tried all the same
            traceback.print_exc()
            error = f"**wrong: {' '.join(str(wrong).split())[:300] or type(wrong).__name__}**"
    return Tried(kind, outcomes, error, time.monotonic() - begin)


def processor() -> str:
    """Return the name of the processor as far as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main() -> None:
    """Parse the arguments, try the kinds and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, default=20, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", default=[], help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names of the kinds")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    wanted = chosen(options.kind)
    if options.list:
        print("\n".join(f"{each.name}: {each.title}" for each in wanted))
        return
    results = []
    for kind in wanted:
        result = tried(kind, options.n, options.seed)
        print(f"{kind.name}: {result.seconds:.0f} s", file=sys.stderr)
        results.append(result)
    command = " ".join(["python benchmarks/soak.py", *sys.argv[1:]])
    where = f"{os.cpu_count()} cores, {processor()}, CPython {platform.python_version()}"
    print(f"`{command}`, on {time.strftime('%Y-%m-%d')}, {where}.\n")
    print("| fault | tried | outcomes |\n|---|--:|---|")
    print("\n".join(result.row() for result in results))
    sys.exit(any(result.error for result in results))


if __name__ == "__main__":
    main()
