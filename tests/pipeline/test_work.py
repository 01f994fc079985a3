"""Numbers of images that steps process, against the corpora that the steps then write."""

from pathlib import Path
from typing import Any

import pytest
from makers.recipes import changed
from makers.trees import build_corpus, write_image

from hffkit.pipeline.forecast import read_times
from hffkit.pipeline.plan import Plan, plan_of
from hffkit.pipeline.recipe import recipe_of
from hffkit.pipeline.runner import run_steps
from hffkit.pipeline.verbs import How
from hffkit.pipeline.work import Workload
from hffkit.storage.corpus import Corpus

N = {"train": {"a": 7, "b": 5}, "val": {"a": 3, "b": 2}, "test": {"a": 4, "b": 6}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8x8 in two classes."""
    folder, number = tmp_path_factory.mktemp("faces"), 0
    for split, counts in N.items():
        for name, n in counts.items():
            for _ in range(n):
                number += 1
                write_image(folder / f"in/{split}/{name}/{number}.png", number, size=(8, 8))
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("a",), fake=("b",))


def plan_with(corpus: Path, out: Path, steps: dict[str, dict[str, Any]]) -> Plan:
    rows = changed("steps.net.data", "mixed")
    for name, step in steps.items():
        rows = changed(f"steps.{name}", step, rows)
    return plan_of(recipe_of(rows, "x.toml"), {"faces": corpus}, out)


def sizes_of(plan: Plan) -> dict[str, int]:
    workload = Workload()
    return {planned.step.name: workload.of(planned).n_images for planned in plan.steps}


# Middle takes 55/124 of each class, rounded so that the sum is right: of 7 and 5 samples 5, of
# the 10 and 7 samples of train and val together 8.
@pytest.mark.parametrize(
    ("mix", "n"),
    [
        ({}, 2 * 12 + 15),
        ({"proportion": "small"}, 12 + 15),
        ({"proportion": "middle"}, 2 * 5 + 15),
        ({"proportion": "middle", "paper_pool": True}, 2 * 8 + 10),
    ],
)
def test_sizes_before_a_run_are_those_of_its_corpora(
    corpus: Path, tmp_path: Path, mix: dict[str, Any], n: int
) -> None:
    steps = {
        "mixed": {"do": "mix", "src": ["Raw", "JP60"], **mix},
        "few": {"do": "subset", "src": "mixed", "share": 0.5},
        "fakes": {"do": "degrade", "src": "few", "op": "ME5", "split": "test", "class": "b"},
    }
    plan = plan_with(corpus, tmp_path, steps)
    found = sizes_of(plan)
    assert (found["Raw"], found["JP60"], found["mixed"], found["fakes"]) == (27, 27, n, 3)
    corpora = plan.only("fakes")
    run_steps(corpora.steps, tmp_path, How(n_workers=1))
    written = {p.step.name: Corpus(p.out).n_samples for p in corpora.steps}
    few = written.pop("few"), found.pop("few")
    assert abs(few[0] - few[1]) <= 1  # it rounds up in each class; a mix is known by splits alone
    assert written == {name: found[name] for name in written}
    times = {row["step"]: row["images"] for row in read_times(tmp_path).values()}
    assert times == {**written, "few": few[0]}


def test_trainings_by_epochs_and_by_iterations_have_their_images(
    corpus: Path, tmp_path: Path
) -> None:
    mixed = {"mixed": {"do": "mix", "src": ["Raw", "JP60"], "paper_pool": True}}
    sizes = sizes_of(plan_with(corpus, tmp_path, mixed))
    assert sizes["net Raw, 0"] == 1000 * 64  # the recipe small
    assert sizes["Raw on JP60, 0"] == 10
    rows = changed("steps.net.set", {"size": 32, "batch_size": 4, "epochs": 3})
    for data, n in (("Raw", 12), ("mixed", 34)):
        rows = changed("steps.net.data", data, changed("steps.mixed", mixed["mixed"], rows))
        plan = plan_of(recipe_of(rows, "x.toml"), {"faces": corpus}, tmp_path)
        assert sizes_of(plan)["net Raw, 0"] == round(3 * n / 4) * 4
