"""`hffkit run`: whole recipes on real images, done once, killed, changed, and printed."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from makers.command_server import CommandServer
from makers.programs import HFFKIT, alive, dying_at
from makers.recipes import GOOD, write
from makers.trainings import lay_faces, native_corpus, result_of
from makers.trees import all_files, change_records, records, write_image

from hffkit.cli.main import main

ROOT = Path(__file__).parents[2]
HOW = ("--workers", "1", "--threads", "1", "--device", "cpu")
TINY = (
    "size = 32, batch_size = 8, max_iterations = 3, val_interval = 2, log_interval = 1, "
    'select = "accuracy"'
)
RECIPE = GOOD.replace("set = { size = 32 }", f"set = {{ {TINY} }}")
PAPER = 'paper = "table-x"\n' + RECIPE  # whose rows and columns hold Raw and JP60
FEW = f"""
title = "One cell"
data.faces.about = "faces"
values = {{ set = ["Raw"], seed = [0] }}
table = {{ cell = "{{set}}, {{seed}}, judged", rows = "set", columns = "seed" }}

[steps]
Raw = {{ do = "pack", src = "faces", size = 32 }}

[steps."net {{seed}}"]
do = "train"
data = "Raw"
recipe = "small"
set = {{ {TINY} }}
seed = "{{seed}}"

[steps."{{set}}, {{seed}}, judged"]
do = "eval"
runs = "net {{seed}}"
data = "{{set}}"
resamples = 0
"""
TABLES = ("table.md", "table.csv", "table.html")


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return native_corpus(tmp_path_factory.mktemp("faces"), {"train": 6, "val": 4, "test": 3})


@pytest.fixture(scope="session")
def done(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, float]:
    """A finished run, what it said, and how long it took."""
    folder = tmp_path_factory.mktemp("done")
    begin = time.monotonic()
    result = hffkit("run", write(folder / "tiny.toml", PAPER), "--out", folder / "out", data=faces)
    assert result.exit_code == 0, result.output
    return folder / "out", result, time.monotonic() - begin


def hffkit(*words: object, data: Path | None = None) -> Result:
    given = [*HOW, f"--data=faces={data}"] if data else []
    return CliRunner().invoke(main, [*map(str, words), *given], catch_exceptions=False)


def steps_told(result: Result) -> list[str]:
    """Return the names of the steps that were done."""
    return re.findall(r"^\[\d+/\d+\] (.*)$", result.stderr, re.MULTILINE)


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in TABLES]


def times_of(out: Path) -> dict[str, int]:
    """Return when each file below was written last."""
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def cells_of(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        return {(row.pop("row"), row.pop("column")): row for row in csv.DictReader(file)}


def step_outputs(out: Path, recipe: Path, data: Path) -> dict[str, Path]:
    told = hffkit("run", recipe, "--out", out, "--dry-run", "--json", data=data)
    return {row["step"]: Path(row["out"]) for row in json.loads(told.stdout)}


# --- what comes out --------------------------------------------------------------------------


def _accuracy(folder: Path) -> float:
    """Return the share of right answers by the counts of an evaluation's confusion."""
    (measured,) = json.loads((folder / "evaluation.json").read_text("utf-8"))["measured"]
    counts = measured["levels"]["frame"]["confusion"]["counts"]
    return float(sum(row[i] for i, row in enumerate(counts)) / sum(map(sum, counts)))


def test_a_cell_is_the_mean_of_the_evaluations_beside_the_papers_figure(
    done: tuple[Path, Result, float], faces: Path
) -> None:
    out, result, _ = done
    assert result.stdout == (out / "table.md").read_text("utf-8") + "\n"
    outputs = step_outputs(out, out.parent / "tiny.toml", faces)
    paper = {
        ("Raw", "Raw"): 98.52, ("Raw", "JP60"): 76.41, ("Raw", "Average"): 81.54,
        ("JP60", "Raw"): 90.19, ("JP60", "JP60"): 91.02, ("JP60", "Average"): 76.53,
    }  # fmt: skip
    cells = cells_of(out)
    assert cells.keys() == paper.keys()
    for (row, column), cell in cells.items():
        seeds = []
        for seed in (0, 1):
            names = ("Raw", "JP60") if column == "Average" else (column,)
            accuracies = [_accuracy(outputs[f"{row} on {name}, {seed}"]) for name in names]
            seeds.append(100 * sum(accuracies) / len(accuracies))
        assert [float(value) for value in cell["seeds"].split(";")] == pytest.approx(seeds)
        mean = sum(seeds) / 2
        assert float(cell["measured"]) == pytest.approx(mean, abs=1e-4)
        assert float(cell["low"]) <= mean <= float(cell["high"])
        assert float(cell["paper"]) == paper[row, column]
        assert float(cell["difference"]) == pytest.approx(mean - paper[row, column], abs=1e-4)
        shown = f"{mean:.2f} [{float(cell['low']):.1f}, {float(cell['high']):.1f}]"
        assert shown in result.stdout
        assert f"({paper[row, column]:.2f}, {mean - paper[row, column]:+.2f})" in result.stdout


def test_the_table_names_where_it_is_from(done: tuple[Path, Result, float], faces: Path) -> None:
    out, result, _ = done
    told = hffkit("run", out.parent / "tiny.toml", "--out", out, "--dry-run", "--json", data=faces)
    for row in json.loads(told.stdout):
        is_named = f"{row['verb']} {row['step']}: `{row['identity']}`" in result.stdout
        assert is_named == (row["verb"] != "eval")
    assert str(out) not in result.stdout
    assert len(json.loads((out / "times.json").read_text("utf-8"))) == 14


def tags_of(path: Path, name: str = r"\w+") -> list[tuple[str, dict[str, str]]]:
    """Return the tags of a page, each with its attributes."""
    found = re.findall(rf"<({name})\b([^>]*)>", path.read_text("utf-8"))
    return [(tag, dict(re.findall(r'([\w-]+)="([^"]*)"', rest))) for tag, rest in found]


def test_the_page_loads_nothing_and_has_a_heat_map_of_each_kind(
    done: tuple[Path, Result, float],
) -> None:
    path = done[0] / "table.html"
    (policy,) = [m["content"] for _, m in tags_of(path, "meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert {tag for tag, _ in tags_of(path)}.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video", "source"}
    )
    images = [image for _, image in tags_of(path, "img")]
    assert len({image["src"] for image in images}) == len(images) == 2  # measured, the paper's
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert all(image["alt"] for image in images)
    for _, values in tags_of(path):
        assert values.keys().isdisjoint({"srcset", "style", "href", "action", "onload"})
    styles = path.read_text("utf-8").partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles


def test_a_page_without_the_papers_figures_has_one_heat_map_and_escapes_its_text(
    faces: Path, tmp_path: Path
) -> None:
    text = FEW.replace("One cell", "<script>&amp; one")
    result = hffkit("run", write(tmp_path / "x.toml", text), "--out", tmp_path / "o", data=faces)
    assert result.exit_code == 0, result.output
    wanted = "tested on Raw: `9 images of 3 classes, 33 % of them of the largest`"  # of `faces`
    assert wanted in result.stdout
    path = tmp_path / "o/table.html"
    assert (len(tags_of(path, "img")), tags_of(path, "script")) == (1, [])
    assert "&lt;script&gt;&amp;amp; " in path.read_text("utf-8")
    assert cells_of(tmp_path / "o")["Raw", "0"]["paper"] == ""


# --- done once -------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_prints_the_same(
    done: tuple[Path, Result, float], faces: Path
) -> None:
    out, first, _ = done
    before, old = times_of(out), tables(out)
    again = hffkit("run", out.parent / "tiny.toml", "--out", out, data=faces)
    assert (again.exit_code, again.stdout, steps_told(again)) == (0, first.stdout, [])
    assert tables(out) == old
    after = times_of(out)
    assert after.keys() == before.keys()
    changed = {Path(name).name for name in before if after[name] != before[name]}
    assert changed <= {*TABLES, "lock"}


@pytest.mark.slow
def test_another_folder_process_and_number_of_workers_give_the_same_bytes(
    few: Path, faces: Path, tmp_path: Path
) -> None:
    words = ["run", str(few.parent / "few.toml"), f"--data=faces={faces}", "--out", "here"]
    made = subprocess.run(
        [*HFFKIT, *words, *HOW[2:], "--workers", "2"], cwd=tmp_path, check=True, capture_output=True
    )
    assert made.stdout == (few / "table.md").read_bytes() + b"\n"
    assert tables(tmp_path / "here") == tables(few)


def test_another_value_does_anew_what_depends_on_it_and_nothing_else(
    done: tuple[Path, Result, float], faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    before = times_of(out / "steps")
    other = write(tmp_path / "tiny.toml", PAPER.replace('op = "JP60"', 'op = "ME5"'))
    result = hffkit("run", other, "--out", out, data=faces)
    assert result.exit_code == 0, result.output
    assert steps_told(result) == [
        "JP60", "Raw on JP60, 0", "Raw on JP60, 1", "net JP60, 0", "JP60 on Raw, 0", "net JP60, 1",
        "JP60 on Raw, 1", "JP60 on JP60, 0", "JP60 on JP60, 1",
    ]  # fmt: skip
    after = times_of(out / "steps")
    assert {name: after[name] for name in before} == before
    assert tables(out)[1] != tables(done[0])[1]
    back = hffkit("run", done[0].parent / "tiny.toml", "--out", out, data=faces)
    assert steps_told(back) == []
    assert tables(out) == tables(done[0])


def test_a_step_costs_little_beside_its_work(done: tuple[Path, Result, float]) -> None:
    times = json.loads((done[0] / "times.json").read_text("utf-8"))
    spent = sum(row["seconds"] for row in times.values())
    assert (done[2] - spent) / len(times) < 3  # with the imports of the first ones


# --- stopped ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def few(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the smallest recipe: a corpus, a network, a cell."""
    folder = tmp_path_factory.mktemp("few")
    result = hffkit("run", write(folder / "few.toml", FEW), "--out", folder / "o", data=faces)
    assert result.exit_code == 0, result.output
    return folder / "o"


STEPS = ["Raw", "net 0", "Raw, 0, judged"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "left"),
    [
        (("times.json.tmp", 1), ["net 0", "Raw, 0, judged"]),  # done, its time not noted
        (("metrics.jsonl", 1), ["net 0", "Raw, 0, judged"]),
        (("samples.csv.tmp", 1), ["Raw, 0, judged"]),
        (("journal.jsonl", 1), STEPS),
        (("run.json.tmp", 2), ["net 0", "Raw, 0, judged"]),
        (("evaluation.json.tmp", 1), ["Raw, 0, judged"]),
        (("times.json.tmp", 3), []),
        (("table.csv.tmp", 1), []),
    ],
    ids=lambda death: "-".join(map(str, death)),
)
def test_a_run_that_was_killed_goes_on_and_gives_the_same_table(
    few: Path,
    faces: Path,
    tmp_path: Path,
    commands: CommandServer,
    death: tuple[str, int],
    left: list[str],
) -> None:
    command = ["run", str(few.parent / "few.toml"), "--out", str(tmp_path / "o"), *HOW]
    code, said = commands.run([*command, f"--data=faces={faces}"], dying_at(*death))
    assert code == -signal.SIGKILL, said
    result = hffkit(*command, data=faces)
    assert (result.exit_code, steps_told(result)) == (0, left)
    assert tables(tmp_path / "o") == tables(few)
    assert not list(tmp_path.rglob("*.partial"))


def begun(commands: CommandServer, words: list[str]) -> int:
    """Start a run, wait until it is at its first step, and return the number of its process."""
    pid = commands.begin(words)
    while alive(pid) and "[1/3] Raw" not in commands.said():
        time.sleep(0.005)
    return pid


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    few: Path, faces: Path, tmp_path: Path, commands: CommandServer
) -> None:
    command = ["run", str(few.parent / "few.toml"), "--out", str(tmp_path / "o"), *HOW]
    os.kill(begun(commands, [*command, f"--data=faces={faces}"]), signal.SIGINT)
    code, said = commands.end()
    assert code == 130, said
    assert said.startswith("[1/3] Raw")
    assert "run the same command again to resume" in said
    assert hffkit(*command, data=faces).exit_code == 0
    assert tables(tmp_path / "o") == tables(few)


@pytest.mark.slow
def test_two_at_once_in_one_folder_are_refused(
    few: Path, faces: Path, tmp_path: Path, commands: CommandServer
) -> None:
    command = ["run", str(few.parent / "few.toml"), "--out", str(tmp_path / "o"), *HOW]
    pid = begun(commands, [*command, f"--data=faces={faces}"])
    os.kill(pid, signal.SIGSTOP)  # at work for as long as we like
    try:
        before = all_files(tmp_path)
        other = hffkit(*command, data=faces)
        after = all_files(tmp_path)
    finally:
        os.kill(pid, signal.SIGKILL)
        code, _ = commands.end()
    assert (other.exit_code, other.stdout, after == before) == (1, "", True)
    assert other.stderr == (
        f"Error: {tmp_path}/o: another hffkit is at work there. Wait, or choose another --out.\n"
    )
    assert code == -signal.SIGKILL
    assert steps_told(hffkit(*command, data=faces)) == STEPS  # whoever dies leaves no lock


# --- failed ----------------------------------------------------------------------------------


def test_a_step_that_fails_is_named_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"train": 6, "test": 3})  # nothing to select weights on
    recipe = write(tmp_path / "x.toml", FEW)
    words = ("run", recipe, "--out", tmp_path / "o")
    result = hffkit(*words, data=data)
    assert (result.exit_code, result.stdout) == (1, "")
    (error,) = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert error.startswith("Error: step 'net 0': ")
    assert "set select = last" in error
    assert steps_told(result) == ["Raw", "net 0"]
    assert not any((tmp_path / "o" / name).exists() for name in TABLES)
    kept = all_files(tmp_path / "o/steps")
    assert kept
    write(tmp_path / "x.toml", FEW.replace('select = "accuracy"', 'select = "last"'))
    again = hffkit(*words, data=data)
    assert again.exit_code == 0, again.output
    assert steps_told(again) == ["net 0", "Raw, 0, judged"]
    assert {name: all_files(tmp_path / "o/steps")[name] for name in kept} == kept


def test_images_that_cannot_be_read_are_told_with_exit_code_3(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"train": 6, "val": 4, "test": 3})
    key = next(key for key, _ in records(data) if b"test/" in key)
    change_records(data, lambda transaction: transaction.put(key, b"no Datum"))
    recipe = write(tmp_path / "x.toml", FEW)
    for _ in range(2):  # again when there is nothing left to do
        result = hffkit("run", recipe, "--out", tmp_path / "o", data=data)
        assert result.exit_code == 3
        assert "Raw: 1 input could not be read" in result.stderr
    assert "Traceback" not in result.output


def test_a_step_that_builds_prints_the_notes_of_its_source(tmp_path: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"in/{'ab'[number % 2]}/{number}.png", number)
    (tmp_path / "in/a/notes.txt").touch()
    text = """title = "t"
[data.faces]
about = "a tree"
[steps.built]
do = "build"
source = "folder"
src = "faces"
real = ["a"]
fake = ["b"]
"""
    recipe = write(tmp_path / "x.toml", text)
    result = hffkit("run", recipe, "--out", tmp_path / "o", data=tmp_path / "in")
    assert result.exit_code == 0, result.output
    assert "note: not read: 1 file neither image nor video (1 .txt): a/notes.txt." in result.stderr
    shutil.copy(tmp_path / "in/a/0.png", tmp_path / "in/b/copy.png")
    for _ in range(2):
        result = hffkit("run", recipe, "--out", tmp_path / "p", data=tmp_path / "in")
        assert result.exit_code == 3
        assert "1 file or image is in two classes or splits" in result.stderr


# --- the command -----------------------------------------------------------------------------


def test_only_one_step_prints_where_it_is_and_makes_no_table(faces: Path, tmp_path: Path) -> None:
    words = ("run", write(tmp_path / "x.toml", RECIPE), "--out", tmp_path / "o")
    result = hffkit(*words, "--only", "net JP60, 1", data=faces)
    assert (result.exit_code, steps_told(result)) == (0, ["JP60", "net JP60, 1"])
    outputs = step_outputs(tmp_path / "o", tmp_path / "x.toml", faces)
    lines = [f"{name}: {outputs[name]}" for name in ("JP60", "net JP60, 1")]
    assert result.stdout.splitlines() == lines
    assert {path.name for path in (tmp_path / "o/steps").iterdir()} == {
        outputs[name].name for name in ("JP60", "net JP60, 1")
    }
    assert not (tmp_path / "o/table.md").exists()
    told = hffkit(*words, "--only", "net JP60, 1", "--json", data=faces)
    assert json.loads(told.stdout) == {n: str(outputs[n]) for n in ("JP60", "net JP60, 1")}
    wrong = hffkit(*words, "--only", "net JP60, 2", data=faces)
    assert (wrong.exit_code, "Did you mean 'net JP60, " in wrong.stderr) == (1, True)


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    done: tuple[Path, Result, float], faces: Path, tmp_path: Path
) -> None:
    recipe = done[0].parent / "tiny.toml"
    fresh = hffkit("run", recipe, "--out", tmp_path / "o", "--dry-run", data=faces)
    assert fresh.exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert [line.split()[0] for line in fresh.stdout.splitlines()[:-1]] == ["to"] * 14
    assert fresh.stdout.splitlines()[-1].startswith("14 of 14 steps to do, about ")
    finished = hffkit("run", recipe, "--out", done[0], "--dry-run", "--json", data=faces)
    rows = json.loads(finished.stdout)
    assert [(row["state"], row["seconds"]) for row in rows] == [("done", 0.0)] * 14
    assert {Path(row["out"]) for row in rows} == set((done[0] / "steps").iterdir())


def test_several_recipes_share_their_steps_and_print_every_table(
    done: tuple[Path, Result, float], faces: Path, tmp_path: Path
) -> None:
    shutil.copytree(done[0], tmp_path / "out")
    tiny = write(tmp_path / "tiny.toml", PAPER)
    text = 'extends = "tiny.toml"\ntitle = "Seed by seed"\nvalues.seed = [1]\n'
    words = ("run", tiny, write(tmp_path / "second.toml", text), "--out", tmp_path / "out")
    told = hffkit(*words, data=faces)
    assert steps_told(told) == []  # all were done for the first
    tables = [(tmp_path / "out" / f"{name}.md").read_text() for name in ("tiny", "second")]
    assert told.stdout == "\n".join(tables) + "\n"
    assert tables[0] == done[1].stdout.removesuffix("\n")
    assert "# Seed by seed" in tables[1]
    ahead = json.loads(hffkit(*words, "--dry-run", "--json", data=faces).stdout)
    assert len({row["out"] for row in ahead}) == len(ahead) == 14
    rows = json.loads(hffkit(*words, "--json", data=faces).stdout)
    assert [row["title"] for row in rows] == ["What JPEG does", "Seed by seed"]


def test_json_is_the_table(done: tuple[Path, Result, float], faces: Path) -> None:
    told = hffkit("run", done[0].parent / "tiny.toml", "--out", done[0], "--json", data=faces)
    rows = json.loads(told.stdout)
    cells = cells_of(done[0])
    assert rows["title"] == "What JPEG does"
    for row in rows["cells"]:
        cell = cells[row["row"], row["column"]]
        assert row["measured"] == pytest.approx(float(cell["measured"]), abs=1e-4)
        assert row["paper"] == float(cell["paper"])
    assert len(rows["cells"]) == len(cells)


def test_the_list_names_every_recipe_of_the_folder() -> None:
    lines = hffkit("run", "--list").stdout.splitlines()
    paths = sorted((ROOT / "recipes/tables").glob("*.toml"), key=lambda path: path.stem)
    assert [line.split()[0] for line in lines] == [path.stem for path in paths]
    for line, path in zip(lines, paths, strict=True):
        assert f'title = "{line.split(maxsplit=1)[1]}"' in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "Name a recipe"),
        (["table-x", "table-x"], 2, "Two recipes have the same name"),
        (["table-x", "table-xi", "--only", "Raw"], 2, "--only is for one recipe"),
        (["table-vii", "table-x", "--data", "hfg=."], 1, "No data named 'hfg'. Did you mean 'hff'"),
        (["tabel-x"], 1, "No recipe named 'tabel-x'. Did you mean 'table-x'?"),
        (["absent.toml"], 1, "absent.toml: cannot be read"),
        (["mini-x"], 2, "mini-x needs --data hff=PATH: "),
        (["mini-x", "--data", "hff"], 2, "must be NAME="),
        (["mini-x", "--data", "hff=absent"], 1, "absent does not exist."),
        (["mini-x", "--data", "hf=."], 1, "No data named 'hf'. Did you mean 'hff'?"),
        (["mini-x", "--scale", "big"], 2, "'big' is not a valid float"),
        (["mini-x", "--workers", "0"], 2, "0 is not in the range"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = hffkit("run", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recipe = write(tmp_path / "x.toml", FEW)
    for out in (tmp_path / "file", tmp_path / "file/below", Path("/proc/none")):
        result = hffkit("run", recipe, "--out", out, data=faces)
        assert (result.exit_code, f"Error: {out}: cannot be written: " in result.stderr) == (
            1,
            True,
        )


def test_the_folder_is_named_after_the_recipe_and_a_scale_works_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = native_corpus(tmp_path, {"train": 20, "val": 3, "test": 5}).resolve()
    monkeypatch.chdir(tmp_path)
    result = hffkit("run", write(tmp_path / "few.toml", FEW), "--scale", 0.8, data=data)
    assert result.exit_code == 0, result.output
    assert steps_told(result)[0] == "faces at 0.8"
    (samples,) = (tmp_path / "runs/few/steps").glob("eval-*/samples.csv")
    assert len(samples.read_text("utf-8").splitlines()) == 1 + 3 * 4
    told = hffkit("run", "few.toml", "--scale", 0.75, data=data)
    assert (told.exit_code, "would leave 15 train samples" in told.stderr) == (2, True)


# --- the same as by hand ---------------------------------------------------------------------

BY_HAND = """
title = "Corpora and a network"
data.tree.about = "a tree"

[steps]
built = { do = "build", source = "folder", src = "tree", real = "real", fake = ["grid", "tint"] }
few = { do = "subset", src = "built", share = 0.7 }
raw = { do = "pack", src = "few", size = 32 }
jp = { do = "degrade", src = "few", op = ["jp-mix", "gb:3"], size = 32 }
fair = { do = "equalize", src = "few", quality = 80 }
mixed = { do = "mix", src = ["raw", "jp"] }
net = { do = "train", data = "mixed", recipe = "small", set = { TINY } }
judged = { do = "eval", runs = "net", data = "jp", resamples = 0 }
"""


def test_each_step_writes_what_its_command_writes(tmp_path: Path) -> None:
    tree = lay_faces(tmp_path / "tree", {"train": 6, "val": 3, "test": 2})
    recipe = write(tmp_path / "x.toml", BY_HAND.replace("TINY", TINY))
    result = hffkit("run", recipe, "--out", tmp_path / "o", *HOW, "--data", f"tree={tree}")
    assert result.exit_code == 0, result.output
    made = dict(line.split(": ") for line in result.stdout.splitlines())
    assert list(made) == ["built", "few", "raw", "jp", "fair", "mixed", "net", "judged"]
    hand = tmp_path / "hand"
    hand.mkdir()
    sets = " ".join(f"--set {part.replace(' ', '')}" for part in TINY.split(", "))
    for line in (
        f"build folder --src {tree} --real real --fake grid,tint --out built --workers 1",
        "subset built --share 0.7 --out few",
        "pack few --size 32 --out raw --workers 1",
        "degrade few --op jp-mix --op gb:3 --size 32 --out jp --workers 1",
        "equalize few --quality 80 --out fair --workers 1",
        "mix raw jp --out mixed",
        f"train --data mixed --recipe small {sets} --out net --device cpu --threads 1",
        "eval net --data jp --device cpu --resamples 0 --csv judged.csv",
    ):
        with contextlib.chdir(hand):
            by_hand = hffkit(*line.split())
        assert by_hand.exit_code == 0, by_hand.output
    for name in ("built", "few", "raw", "jp", "fair", "mixed"):
        assert all_files(Path(made[name])) == all_files(hand / name), name
    assert result_of(Path(made["net"])) == result_of(hand / "net")
    samples = Path(made["judged"], "samples.csv").read_bytes()
    assert samples == (hand / "judged.csv").read_bytes()


def test_the_script_of_the_documentation_gives_the_accuracies_of_the_recipe(
    faces: Path, tmp_path: Path
) -> None:
    text = (ROOT / "recipes/train/small.toml").read_text("utf-8")
    for part in TINY.split(", "):
        text = re.sub(rf"^{part.partition(' =')[0]} = .*$", part, text, flags=re.MULTILINE)
    small = write(tmp_path / "tiny.toml", text)
    docs = (ROOT / "docs/recipes.md").read_text("utf-8")
    recipe, script = (docs.partition(f"```{kind}\n")[2].partition("```")[0]
                      for kind in ("toml", "python"))  # fmt: skip

    def adapted(code: str, changes: Sequence[tuple[str, str]]) -> str:
        for old, new in changes:
            assert old in code
            code = code.replace(old, new)
        return code

    recipe = adapted(recipe, [('"small"', f'"{small}"'), ("size = 128", "size = 32"),
                              ("seed = [0, 1, 2]", "seed = [0]"), ("hff", "faces"),
                              ('do = "eval"', 'do = "eval"\nresamples = 0')])  # fmt: skip
    recipe = recipe.replace('src = "faces"\n\n', 'src = "faces"\nsize = 32\n\n', 1)
    script = adapted(script, [('"small"', repr(small)), ("size=128", "size=32"),
                              ("n_workers=2", "n_workers=1"), ('"mini-3.lmdb"', repr(str(faces))),
                              ("(str(other),)", "(str(other),), n_resamples=0"),
                              ('"runs/script"', repr(str(tmp_path / "script")))])  # fmt: skip
    written = write(tmp_path / "docs.toml", recipe)
    words = ("--out", tmp_path / "o", "--workers", 1, "--data", f"faces={faces}")
    result = hffkit("run", written, *words)
    assert result.exit_code == 0, result.output
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(script, "docs/recipes.md", "exec"), {})
    found: dict[tuple[str, str], Any] = {}
    for line in said.getvalue().splitlines():
        trained, tested, accuracy, *_ = line.split()
        found[trained, tested] = float(accuracy)
    names = {"Raw": "raw", "JP60": "jp60"}
    cells = {(names[a], names[b]): float(c["measured"]) for (a, b), c in
             cells_of(tmp_path / "o").items()}  # fmt: skip
    assert cells == pytest.approx({place: 100 * value for place, value in found.items()}, abs=1e-4)
    assert len(found) == 4
