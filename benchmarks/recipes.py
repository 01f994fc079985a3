"""Overhead of `hffkit run`: planning many steps, and running small ones.

    python benchmarks/recipes.py --data ../shared/data/images

Prints the time to plan a recipe of 420 steps, from the parsed file to the forecast, and the time
that the runner adds to each step, compared with direct calls of the same functions in a row.
Figures are medians over rounds in which the variants take turns.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hffkit.corpus.subset import SubsetRequest, subset
from hffkit.degrade.degrade import DegradeRequest, degrade
from hffkit.pipeline.forecast import forecast
from hffkit.pipeline.plan import plan_of
from hffkit.pipeline.recipe import recipe_of
from hffkit.pipeline.runner import run_steps
from hffkit.pipeline.verbs import How

CLASSES = ("real-celeba-stargan128", "fake-stargan128")
SEEDS = tuple(range(14))


def lay_out(data: Path, root: Path) -> Path:
    """Build a corpus of two classes of real faces."""
    tree, corpus = root / "tree", root / "data.lmdb"
    tree.mkdir()
    for name in CLASSES:
        (tree / name).symlink_to((data / name).resolve())
    words = ["hffkit", "build", "folder", "--src", tree, "--real", CLASSES[0]]
    words += ["--fake", CLASSES[1], "--out", corpus]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return corpus


def many_steps() -> Mapping[str, Any]:
    """Return a recipe of 14 corpora, 14 trainings and 392 evaluations."""
    seeds = list(SEEDS)
    return {
        "title": "many",
        "data": {"faces": {"about": "faces"}},
        "values": {"quality": list(range(60, 74)), "train": [60], "test": list(range(60, 74)),
                   "seed": seeds, "task": ["multi", "binary"]},
        "steps": {
            "jp {quality}": {"do": "degrade", "src": "faces", "op": "jp:{quality}", "size": 128},
            "net {seed}": {"do": "train", "data": "jp 60", "recipe": "small", "seed": "{seed}"},
            "{task}: net {seed} on {test}": {
                "do": "eval", "runs": "net {seed}", "data": "jp {test}", "task": "{task}",
            },
        },
    }  # fmt: skip


def planning(corpus: Path, out: Path, rounds: int) -> None:
    """Print the time to plan many steps, from the file's values to the forecast."""
    values, taken = many_steps(), []
    n_steps = 0
    for _ in range(rounds):
        begin = time.perf_counter()
        plan = plan_of(recipe_of(values, "many"), {"faces": corpus}, out)
        n_steps = len(forecast(plan.steps, out))
        taken.append(time.perf_counter() - begin)
    print(f"plan of {n_steps} steps: {statistics.median(taken):.2f} s")


def running(corpus: Path, out: Path, rounds: int) -> None:
    """Print the time that the runner adds to each step."""
    ops = ["jp:60", "me:5", "gb:5", "gc:1.4"]
    values = {
        "title": "few",
        "data": {"faces": {"about": "faces"}},
        "values": {"op": ops},
        "steps": {
            "few": {"do": "subset", "src": "faces", "share": 0.02},
            "{op}": {"do": "degrade", "src": "few", "op": "{op}", "size": 128},
        },
    }
    extra = []
    for number in range(rounds):
        begin = time.perf_counter()
        plan = plan_of(recipe_of(values, "few"), {"faces": corpus}, out / f"run-{number}")
        run_steps(plan.steps, out / f"run-{number}", How(2))
        ours = time.perf_counter() - begin
        folder = out / f"row-{number}"
        folder.mkdir()
        begin = time.perf_counter()
        few = folder / "few.lmdb"
        subset([str(corpus)], few, SubsetRequest(0.02))
        for op in ops:
            to = folder / f"{op.replace(':', '')}.lmdb"
            degrade([str(few)], to, DegradeRequest((op,), size=128), n_workers=2)
        bare = time.perf_counter() - begin
        extra.append((ours - bare) / len(plan.steps))
        print(f"recipe {ours:.2f} s, direct calls {bare:.2f} s", flush=True)
    print(f"{1000 * statistics.median(extra):+.0f} ms a step")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus = lay_out(arguments.data, root)
        planning(corpus, root / "many", arguments.rounds)
        running(corpus, root / "few", arguments.rounds)


if __name__ == "__main__":
    main()
