"""Plans: what a step's identity hangs on, where outputs lie, what --scale makes of a recipe."""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from makers.programs import HFFKIT
from makers.recipes import GOOD, changed
from makers.trees import all_files, build_corpus, change_manifest, write_image

from hffkit.errors import ArgumentError, CorpusError, HffkitError, UnknownNameError
from hffkit.pipeline import plan as plans
from hffkit.pipeline.forecast import forecast
from hffkit.pipeline.plan import Plan, plan_of
from hffkit.pipeline.recipe import recipe_of

ROOT = Path(__file__).parents[2]
OUT = Path("made")
N = {"train": 32, "val": 2, "test": 8}  # of each class: half of it is the least for a table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8x8 in two classes."""
    folder, number = tmp_path_factory.mktemp("faces"), 0
    for split, n in N.items():
        for name in ("a", "b"):
            for _ in range(n):
                number += 1
                write_image(folder / f"in/{split}/{name}/{number}.png", number, size=(8, 8))
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("a",), fake=("b",))


def planned(rows: Mapping[str, Any], data: Path, **how: Any) -> Plan:
    return plan_of(recipe_of(rows, "odd-table.toml"), {"faces": data}, OUT, **how)


def identities(rows: Mapping[str, Any], data: Path) -> dict[str, str]:
    return {each.step.name: each.identity for each in planned(rows, data).steps}


def good() -> dict[str, Any]:
    """Return a recipe with a step of every kind that needs a corpus."""
    rows = changed("steps.mixed", {"do": "mix", "src": ["Raw", "JP60"]})
    return changed("steps.few", {"do": "subset", "src": "faces", "share": 0.5}, rows)


# --- identities ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "is_hit"),
    [
        ("steps.JP60.op", "ME5", lambda name: "JP60" in name or name == "mixed"),
        ("steps.JP60.op", ["JP60", "ME5"], lambda name: "JP60" in name or name == "mixed"),
        ("steps.JP60.seed", 1, lambda name: "JP60" in name or name == "mixed"),
        ("steps.Raw.size", 40, lambda name: "Raw" in name or name == "mixed"),
        ("steps.Raw.shuffle", True, lambda name: "Raw" in name or name == "mixed"),
        ("steps.few.share", 0.25, lambda name: name == "few"),
        ("steps.mixed.src", ["JP60", "Raw"], lambda name: name == "mixed"),
        ("steps.mixed.proportion", "small", lambda name: name == "mixed"),
        ("steps.net.set.size", 40, lambda name: "net" in name or " on " in name),
        ("steps.net.task", "binary", lambda name: "net" in name or " on " in name),
        ("steps.net.recipe", "meso4", lambda name: "net" in name or " on " in name),
        ("steps.net.network", "meso4", lambda name: "net" in name or " on " in name),
        ("steps.eval.resamples", 9, lambda name: " on " in name),
        ("steps.eval.split", "val", lambda name: " on " in name),
        ("title", "Another", lambda _: False),
        ("about", "Another", lambda _: False),
        ("claims", [], lambda _: False),
        ("table.averages", {}, lambda _: False),
        ("paper", "table-x", lambda _: False),
    ],
)
def test_another_value_changes_what_depends_on_it_and_nothing_else(
    corpus: Path, place: str, value: Any, is_hit: Callable[[str], bool]
) -> None:
    before, after = identities(good(), corpus), identities(changed(place, value, good()), corpus)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == set(filter(is_hit, before))


def test_another_value_of_a_loop_leaves_the_steps_of_the_others(corpus: Path) -> None:
    before = identities(good(), corpus)
    after = identities(changed("values.seed", [1, 2], good()), corpus)
    assert len(after) == len(before)
    assert {name for name in after if before.get(name) != after[name]} == {
        name for name in after if name.endswith(", 2")
    }
    assert len(set(before.values())) == len(before)


@pytest.mark.parametrize(
    ("step", "spelled_out"),
    [
        ("Raw", {"labels": "multi", "per_split": False, "shuffle": False, "seed": 0}),
        ("Raw", {"src": ["faces"]}),
        ("JP60", {"op": ["JP60"], "seed": 0, "split": [], "class": []}),
        ("few", {"seed": 0}),
        ("mixed", {"proportion": "large", "paper_pool": False, "seed": 0}),
        ("net", {"task": "multi", "network": "AMTENnet", "data": ["{set}"]}),
        ("net", {"set": {"size": 32, "batch_size": 64, "base_lr": 1e-3, "degrade": []}}),
        ("eval", {"task": "multi", "split": "test", "seed": 0, "data": ["{test}"]}),
    ],
)
def test_a_default_that_is_spelled_out_changes_nothing(
    corpus: Path, step: str, spelled_out: dict[str, Any]
) -> None:
    rows = good()
    for name, value in spelled_out.items():
        rows = changed(f"steps.{step}.{name}", value, rows)
    assert rows != good()
    assert identities(rows, corpus) == identities(good(), corpus)


def test_what_things_are_called_and_where_they_are_written_does_not_count(corpus: Path) -> None:
    text = GOOD.replace("Raw", "as-is").replace("net {set}", "learn {set}")
    renamed = identities(tomllib.loads(text), corpus)
    assert sorted(renamed.values()) == sorted(identities(changed("title", "t"), corpus).values())
    rows = changed("steps.twin", {"do": "pack", "src": "faces", "size": 32})
    plan = planned(rows, corpus)
    assert plan.step("twin").out == plan.step("Raw").out  # done once


def test_of_a_training_recipe_its_values_count_and_not_its_file(
    corpus: Path, tmp_path: Path
) -> None:
    text = (ROOT / "recipes/train/small.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text("# another comment\n" + text, "utf-8")
    rows = changed("steps.net.recipe", str(path), good())
    before = identities(good(), corpus)
    assert identities(rows, corpus) == before
    path.write_text(text.replace("momentum = 0.95", "momentum = 0.9"), "utf-8")
    after = identities(rows, corpus)
    changes = {name for name in before if before[name] != after[name]}
    assert changes == {name for name in before if "net" in name or " on " in name}


def test_of_a_file_that_an_argument_names_the_content_counts(corpus: Path, tmp_path: Path) -> None:
    docs = (ROOT / "docs/operations.md").read_text("utf-8")
    text = docs.partition("```python\n")[2].partition("```")[0]
    rows = changed("steps.own", {"do": "degrade", "src": "faces", "op": "vig:0.5"}, good())
    found = []
    for name, edit in (("a.py", ""), ("b.py", ""), ("b.py", "# changed\n")):
        (tmp_path / name).write_text(text + edit, "utf-8")
        rows = changed("steps.own.operations", str(tmp_path / name), rows)
        found.append(identities(rows, corpus))
    assert found[0] == found[1]
    assert {name for name in found[0] if found[0][name] != found[2][name]} == {"own"}


def test_a_copy_of_the_data_is_the_data_and_other_data_change_everything(
    corpus: Path, tmp_path: Path
) -> None:
    before = identities(good(), corpus)
    copy = tmp_path / "elsewhere"
    shutil.copytree(corpus, copy)
    assert identities(good(), copy) == before
    change_manifest(copy, lambda lines: lines[0].update(group="another"))
    after = identities(good(), copy)
    assert all(before[name] != after[name] for name in before)


def test_a_tree_to_build_from_is_known_by_names_sizes_and_times(tmp_path: Path) -> None:
    body = {"do": "build", "source": "folder", "src": "faces", "real": ["a"], "fake": ["b"]}
    rows = {"title": "t", "data": {"faces": {"about": "a tree"}}, "steps": {"built": body}}
    tree, seen = tmp_path / "tree", []
    for number in range(4):
        write_image(tree / f"train/{'ab'[number % 2]}/{number}.png", number)
    shutil.copytree(tree, tmp_path / "copy")  # times are kept

    def identity(path: Path = tree) -> str:
        return identities(rows, path)["built"]

    seen.append(identity())
    assert identity() == seen[0]
    assert identity(tmp_path / "copy") == seen[0]
    os.utime(tree / "train/a/0.png", (1, 1))
    seen.append(identity())
    write_image(tree / "train/a/8.png", 8)
    seen.append(identity())
    (tree / "train/a/8.png").rename(tree / "train/b/8.png")
    seen.append(identity())
    (tree / "train/a/9.png").symlink_to("nowhere")  # an unreadable input, as `build` reports it
    seen.append(identity())
    assert len(set(seen)) == len(seen)


def test_another_format_makes_every_step_anew(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identities(good(), corpus)
    monkeypatch.setattr(plans, "FORMAT", plans.FORMAT + 1)
    after = identities(good(), corpus)
    assert all(before[name] != after[name] for name in before)


@pytest.mark.slow
def test_every_process_finds_the_same_identities(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(GOOD, "utf-8")
    words = ["run", str(tmp_path / "x.toml"), "--data", f"faces={corpus}", "--dry-run", "--json"]
    for seed in ("1", "2"):
        done = subprocess.run(
            [*HFFKIT, *words, "--out", str(tmp_path / seed), "--workers", seed],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True,
        )  # fmt: skip
        found = {row["step"]: row["identity"] for row in json.loads(done.stdout)}
        assert found == identities(tomllib.loads(GOOD), corpus)


# --- the plan --------------------------------------------------------------------------------


def test_outputs_lie_under_their_identities(corpus: Path) -> None:
    plan = planned(good(), corpus)
    endings = {"train": "", "eval": ""}
    for each in plan.steps:
        ending = endings.get(each.step.verb, ".lmdb")
        assert each.out == OUT / f"steps/{each.step.verb}-{each.identity[:12]}{ending}"
        assert len(each.identity) == 64
    evaluated = plan.step("Raw on JP60, 1")
    assert evaluated.paths == {
        "net Raw, 1": plan.step("net Raw, 1").out,
        "JP60": plan.step("JP60").out,
    }
    assert plan.step("mixed").bound()[1] == (
        str(plan.step("Raw").out),
        str(plan.step("JP60").out),
    )
    assert plan.step("few").bound()[1] == (str(corpus),)


def test_only_one_step_is_that_step_and_what_it_needs(corpus: Path) -> None:
    plan = planned(good(), corpus)

    def only(name: str) -> list[str]:
        return [each.step.name for each in plan.only(name).steps]

    assert only("Raw on JP60, 1") == ["Raw", "net Raw, 1", "JP60", "Raw on JP60, 1"]
    assert only("net JP60, 0") == ["JP60", "net JP60, 0"]
    assert only("few") == ["few"]
    with pytest.raises(UnknownNameError, match=r"No step named 'Rawr'. Did you mean 'Raw'\?"):
        plan.only("Rawr")


def test_a_plan_and_a_forecast_write_nothing(corpus: Path, tmp_path: Path) -> None:
    before = all_files(corpus)
    plan = plan_of(recipe_of(good(), "x.toml"), {"faces": corpus}, tmp_path / "out")
    forecast(plan.steps, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert all_files(corpus) == before


@pytest.mark.slow
def test_planning_does_not_load_skops() -> None:  # which takes as long as PyTorch
    code = "import sys, hffkit.pipeline.forecast; assert 'skops' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- data that are not what a recipe wants ------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        ({}, ArgumentError, "odd-table needs `data` faces=PATH: faces"),
        ({"face": "x"}, UnknownNameError, "No data named 'face'. Did you mean 'faces'?"),
        ({"faces": "absent"}, CorpusError, "absent does not exist."),
        ({"faces": "empty"}, CorpusError, "empty holds no file."),
        ({"faces": "file"}, HffkitError, "file"),
    ],
)
def test_data_that_are_not_there_are_refused_by_name(
    tmp_path: Path, data: dict[str, str], kind: type[HffkitError], told: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    recipe = recipe_of(good(), "odd-table.toml")
    with pytest.raises(kind) as error:
        plan_of(recipe, {name: tmp_path / path for name, path in data.items()}, OUT)
    assert told in str(error.value)


def test_several_corpora_are_given_as_their_folder_or_a_glob(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "set/one.lmdb")
    found = [identities(good(), path) for path in (tmp_path / "set", tmp_path / "set/*.lmdb")]
    assert found[0] == found[1] == identities(good(), corpus)


# --- scale -----------------------------------------------------------------------------------


def test_a_scale_puts_a_subset_before_everything_and_shortens_trainings(corpus: Path) -> None:
    sizes = {"size": 32, "max_iterations": 40, "val_interval": 9, "log_interval": 1}
    rows = changed("steps.net.set", {**sizes, "batch_size": 8}, good())
    whole, small = planned(rows, corpus), planned(rows, corpus, scale=0.6)
    first, *rest = small.steps
    assert first.step.verb == "subset"
    assert first.bound()[1] == (str(corpus),)
    assert first.bound()[0].share == 0.6
    assert [each.step.name for each in rest] == [each.step.name for each in whole.steps]
    assert {each.identity for each in small.steps}.isdisjoint(each.identity for each in whole.steps)
    for each, full in zip(rest, whole.steps, strict=True):
        assert ("faces" in full.step.needs) == (first.step.name in each.step.needs)
        assert "faces" not in each.step.needs
        if each.step.verb == "train":
            made = dict(each.bound()[0].overrides)
            assert made["max_iterations"] == 24
            assert (made["val_interval"], made["log_interval"]) == (5, 1)  # 5.4 and 0.6
            assert made["step_size"] == 600  # small's, not among the overrides
            assert (made["batch_size"], made["size"]) == (8, 32)


@pytest.mark.parametrize(("n", "expected"), [(40, 20), (8, 5), (3, 3)])
def test_a_training_keeps_some_iterations_at_any_scale(corpus: Path, n: int, expected: int) -> None:
    rows = changed("steps.net.set", {"size": 32, "max_iterations": n})
    request, _ = planned(rows, corpus, scale=0.5).step("net Raw, 0").bound()
    assert dict(request.overrides)["max_iterations"] == expected


def test_epochs_are_not_scaled_because_they_are_of_fewer_samples(corpus: Path) -> None:
    rows = changed("steps.net.set", {"size": 32, "epochs": 10})
    request, _ = planned(rows, corpus, scale=0.5).step("net Raw, 0").bound()
    made = dict(request.overrides)
    assert made == {"size": 32, "epochs": 10, "step_size": 500, "val_interval": 25,
                    "log_interval": 12}  # fmt: skip


def test_a_scale_of_one_is_none(corpus: Path) -> None:
    assert planned(good(), corpus, scale=1) == planned(good(), corpus)


# Shares are rounded up: 0.47 of 32 are 16, 0.46 of it 15; 0.38 of 8 are 4, 0.37 of it 3.
@pytest.mark.parametrize("scale", [0.99, 0.5, 0.47])
def test_a_scale_that_leaves_enough_is_taken(corpus: Path, scale: float) -> None:
    assert len(planned(good(), corpus, scale=scale).steps) == 17


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (
            0.46,
            r"`scale` 0.46 would leave 15 train samples of class '[ab]' of faces; a table needs at",
        ),
        (0, "`scale` must be above 0 and at most 1, got 0"),
        (-0.5, "`scale` must be above 0 and at most 1"),
        (1.01, "`scale` must be above 0 and at most 1"),
        (float("nan"), "`scale` must be above 0 and at most 1"),
    ],
)
def test_a_scale_that_leaves_too_little_is_refused(corpus: Path, scale: float, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        planned(good(), corpus, scale=scale)


def test_the_least_of_every_split_is_kept(tmp_path: Path) -> None:
    for number in range(60):
        split = "train" if number < 40 else "test"
        write_image(tmp_path / f"in/{split}/a/{number}.png", number, size=(8, 8))
    for number in range(46):
        split = "train" if number < 40 else "test"
        write_image(tmp_path / f"in/{split}/b/{number}.png", number, size=(8, 8))
    data = build_corpus("folder", tmp_path / "in", tmp_path / "x", real=("a",), fake=("b",))
    planned(good(), data, scale=0.51)
    with pytest.raises(ArgumentError, match="would leave 3 test samples of class 'b' of faces"):
        planned(good(), data, scale=0.5)


def test_a_recipe_that_builds_a_corpus_has_no_scale(tmp_path: Path) -> None:
    write_image(tmp_path / "in/train/a/0.png")
    body = {"do": "build", "source": "folder", "src": "faces", "real": ["a"]}
    rows = {"title": "t", "data": {"faces": {"about": "a tree"}}, "steps": {"built": body}}
    with pytest.raises(
        ArgumentError, match="`scale` is for corpora, but odd-table builds a corpus"
    ):
        planned(rows, tmp_path / "in", scale=0.5)


# --- time ------------------------------------------------------------------------------------


def _seconds(rows: Mapping[str, Any], corpus: Path, n_steps: int) -> float:
    """Return the time from the parsed file to the forecast."""
    begin = time.process_time()
    assert len(forecast(planned(rows, corpus).steps, OUT)) == n_steps
    return time.process_time() - begin


def test_400_steps_are_planned_in_two_seconds(corpus: Path) -> None:
    rows = {
        "title": "many",
        "data": {"faces": {"about": "faces"}},
        "values": {"q": list(range(60, 74)), "test": list(range(60, 74)), "seed": list(range(14))},
        "steps": {
            "jp {q}": {"do": "degrade", "src": "faces", "op": "jp:{q}", "size": 32},
            "net {q}, {seed}": {
                "do": "train", "data": "jp {q}", "recipe": "small", "seed": "{seed}"
            },
            "test {q}, {seed}": {"do": "eval", "runs": "net {q}, {seed}", "data": "jp {q}"},
        },
    }  # fmt: skip
    # Once in three will do: another's load is no failure.
    limit = 2 * 1.5 * (1 if sys.gettrace() is None else 3)  # coverage traces each line
    assert any(_seconds(rows, corpus, 14 + 2 * 14 * 14) < limit for _ in range(3))


def test_steps_that_share_what_they_need_are_planned_as_quickly(corpus: Path) -> None:
    steps: dict[str, Any] = {side: {"do": "pack", "src": "faces"} for side in ("a0", "b0")}
    for number in range(1, 24):
        src = [f"a{number - 1}", f"b{number - 1}"]
        for side in "ab":  # 2**23 ways lead back to the first
            how = {"proportion": "small", "seed": number}  # as many samples as before
            steps[f"{side}{number}"] = {"do": "mix", "src": src, **how}
    rows = {"title": "t", "data": {"faces": {"about": "f"}}, "steps": steps}
    begin = time.process_time()
    recipe_of(rows, "x.toml")
    assert time.process_time() - begin < 1
    assert _seconds(rows, corpus, 48) < 1
