"""`hffkit train`, `eval` and `convert` as they are called: errors, help, and being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from makers.command_server import CommandServer
from makers.programs import HFFKIT, alive
from makers.trainings import native_corpus, packed_corpus, result_of, stop_at

from hffkit.cli.main import main
from hffkit.errors import TrainingError
from hffkit.networks.table import NETWORKS
from hffkit.runs.run import read_run
from hffkit.runs.weights import read_tensors
from hffkit.storage.staging import partial_path
from hffkit.training.metrics_log import MetricsLog
from hffkit.training.recipe import recipe_names

Run = Callable[..., Result]

SMALL = (
    "--device=cpu", "--threads=1", "--set=size=48", "--batch-size=4", "--set=base_lr=1e-4",
    "--set=val_interval=20", "--set=log_interval=4",
)  # fmt: skip


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_corpus(tmp_path_factory.mktemp("cli"), {"train": 6, "val": 4, "test": 3})


@pytest.fixture(scope="session")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of few iterations."""
    out = tmp_path_factory.mktemp("finished") / "run"
    made = CliRunner().invoke(main, command(corpus, out, 8)[len(HFFKIT) :])
    assert made.exit_code == 0, made.output
    return out


def command(data: Path, out: Path, n_iterations: int) -> list[str]:
    limits = f"--max-iterations={n_iterations}"
    return [*HFFKIT, "train", f"--data={data}", f"--out={out}", limits, *SMALL]


def is_one_line(result: Result) -> bool:
    """Whether nothing but one line of error, behind click's usage, was said."""
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    usage = [line for line in result.stderr.splitlines() if line.startswith(("Usage:", "Try "))]
    blank = [line for line in result.stderr.splitlines() if not line]
    n_lines = len(result.stderr.splitlines())
    return len(said) == 1 and len(said) + len(usage) + len(blank) == n_lines and not result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "size"], 2, "'size' must be KEY=VALUE"),
        (["--set", "sice=3"], 2, "A recipe has no 'sice'"),
        (["--set", "size=big"], 1, "size must be a whole number, got 'big'"),
        (["--set", "base_lr=-1"], 1, "base_lr must be above 0"),
        (["--lr", "nan"], 1, "base_lr must be above 0, at most 1e+30, got nan"),
        (["--lr", "fast"], 2, "'fast' is not a valid float"),
        (["--batch-size", "0"], 2, "0 is not in the range"),
        (["--max-iterations", "-1"], 2, "-1 is not in the range"),
        (["--precision", "fp16"], 2, "'fp16' is not one of"),
        (["--order", "random"], 2, "'random' is not one of"),
        (["--task", "tri"], 2, "'tri' is not one of"),
        (["--keep", "disk"], 2, "'disk' is not one of"),
        (["--threads", "0"], 2, "0 is not in the range"),
        (["--seed", "-1"], 2, "-1 is not in the range"),
        (["--network", "amtenet"], 1, "Did you mean 'amtennet'"),
        (["--recipe", "amtenet"], 1, "No recipe named 'amtenet'. Did you mean 'amtennet'"),
        (["--recipe", "absent.toml"], 1, "absent.toml: cannot be read"),
        (["--device", "gpu"], 2, "--device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        (["--device", "cuda:99"], 2, "--device cuda:99"),
        (["--set", "size=64"], 1, "packed at 48 px, and the network is fed with 64"),
        (["--degrade", "jpp-mix"], 1, "No operation named 'jpp'"),
        (["--degrade", "jp:200"], 2, "jp:200"),
        (["--degrade", "suite:gent"], 1, "No suite named 'gent'. Did you mean 'gend'?"),
        (["--degrade", "suite:gend:9"], 2, "suite gend has severities 1 to 5, got 9"),
        (["--degrade", "suite:own.toml"], 2, "own.toml: a run records the name of a suite"),
        (["--degrade", "suite:gend", "--degrade", "jp60"], 2, "suites and operations exclude"),
        (["--init", "absent"], 1, "absent: no such file"),
        (["--lr", "1e30"], 1, "Try base_lr = 1e+29"),
        (["stray"], 2, "unexpected extra argument"),
        (["--epochs", "3"], 2, "No such option"),
    ],
)
def test_wrong_arguments_of_train_are_one_line(
    run: Run, corpus: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    small = ["--max-iterations", "8", *SMALL]
    result = run("train", "--data", corpus, "--out", tmp_path / "run", *small, *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert is_one_line(result), result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("network", "size", "message"), [("mislnet", 32, "too small"), ("amtennet", 1, "too small")]
)
def test_sizes_that_a_network_cannot_take_are_one_line(
    run: Run, tmp_path: Path, network: str, size: int, message: str
) -> None:
    data = native_corpus(tmp_path, {"train": 1, "val": 1})
    result = run("train", "--data", data, "--network", network, "--out", tmp_path / "run",
                 "--set", f"size={size}")  # fmt: skip
    assert (result.exit_code, message in result.stderr) == (2, True)
    assert is_one_line(result), result.output


@pytest.mark.parametrize(
    ("network", "seed"), [("amtennet", 1 << 64), ("meso4", (1 << 64) // 1_000_003 + 1)]
)
def test_seeds_that_pytorch_cannot_take_are_one_line(
    run: Run, corpus: Path, tmp_path: Path, network: str, seed: int
) -> None:
    small = ["--max-iterations", "8", *SMALL, "--network", network, "--seed", str(seed)]
    result = run("train", "--data", corpus, "--out", tmp_path / "run", *small)
    assert result.exit_code == 0 or is_one_line(result)


def test_trees_that_are_no_corpora_are_one_line(run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in ("absent", tmp_path / "empty", finished):
        for arguments in (("train", "--out", tmp_path / "run"), ("eval", finished)):
            result = run(*arguments, "--data", data)
            assert result.exit_code == 1
            wanted = "no such corpus" if data == "absent" else "no corpus: the folder holds no"
            assert wanted in result.stderr
            assert is_one_line(result), result.output


def test_an_output_that_is_there_is_left_alone(run: Run, corpus: Path, finished: Path) -> None:
    before = result_of(finished)
    result = run("train", "--data", corpus, "--out", finished, "--max-iterations", "8", *SMALL)
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert is_one_line(result)
    assert result_of(finished) == before


def test_a_checkpoint_of_something_else_is_one_line(
    run: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hffkit.runs.weights import write_tensors

    arguments = ["train", "--data", corpus, "--out", tmp_path / "run", "--max-iterations", "8"]
    stop_at(monkeypatch, 3, lambda _: signal.raise_signal(signal.SIGINT))
    assert run(*arguments, *SMALL).exit_code == 130
    path = tmp_path / "run.partial/parts/checkpoint.safetensors"
    write_tensors(path, {"net:conv4.weight": torch.ones(1)}, read_tensors(path)[1])
    result = run(*arguments, *SMALL)
    assert result.exit_code == 1
    assert is_one_line(result), result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'RUN...'"),
        (["absent"], 1, "absent: no such run."),
        (["RUN", "--split", "dev"], 2, "'dev' is not one of"),
        (["RUN", "--device", "tpu"], 2, "--device must be"),
        (["RUN", "--against", "absent"], 1, "absent: no such run"),
        (["RUN", "--resamples", "-1"], 2, "-1 is not in the range"),
        (
            ["RUN", "--html", "absent/page.html", "--resamples", "0"],
            2,
            "in an existing folder",
        ),
        (
            ["RUN", "--csv", "absent/rows.csv", "--resamples", "0"],
            2,
            "in an existing folder",
        ),
    ],
)
def test_wrong_arguments_of_eval_are_one_line(
    run: Run, corpus: Path, finished: Path, arguments: list[str], code: int, message: str
) -> None:
    named = [str(finished) if part == "RUN" else part for part in arguments]
    result = run("eval", "--data", corpus, *named)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert is_one_line(result), result.output


@pytest.mark.parametrize("file", ["run.json", "weights.safetensors"])
def test_a_damaged_run_is_one_line(run: Run, corpus: Path, finished: Path, tmp_path: Path, file: str) -> None:  # fmt: skip  # noqa: E501
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in finished.iterdir():
        data = path.read_bytes()
        (copy / path.name).write_bytes(data[: len(data) // 2] if path.name == file else data)
    result = run("eval", copy, "--data", corpus)
    assert result.exit_code == 1
    assert file in result.stderr
    assert is_one_line(result), result.output


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("absent.caffemodel", [], 1, "no such file"),
        ("text.caffemodel", [], 1, "text.caffemodel"),
        ("text.txt", [], 1, "unknown format"),
        ("weights.pth", [], 1, "--network must be given for a state dict"),
        ("weights.pth", ["--network", "resnet18"], 1, "damaged, or no file of PyTorch"),
        ("text.h5", [], 1, "text.h5"),
        ("text.caffemodel", ["--network", "amtenet"], 1, "Did you mean 'amtennet'"),
    ],
)
def test_wrong_arguments_of_convert_are_one_line(
    run: Run, tmp_path: Path, name: str, arguments: list[str], code: int, message: str
) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_bytes(b"no weights at all")
    result = run("convert", tmp_path / name, "--out", tmp_path / "run", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert is_one_line(result), result.output
    assert not (tmp_path / "run").exists()
    assert run("convert", tmp_path / name).exit_code == 2


@pytest.mark.golden
def test_the_published_network_is_converted_and_measured(
    run: Run, data: Path, tmp_path: Path
) -> None:
    source = data / "golden/caffe-amtennet/snap_iter_120.caffemodel"
    out = tmp_path / "run"
    wrong = run("convert", source, "--out", out, "--fake", "a,b", "--real", "c")
    assert (wrong.exit_code, is_one_line(wrong)) == (2, True)
    assert "--fake and --real must name the 2 outputs of the file, got 3 names" in wrong.stderr
    result = run("convert", source, "--out", out, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == read_run(out).to_json()
    assert read_run(out).network == "amtennet"
    faces = native_corpus(tmp_path, {"test": 2}, ("grid", "real"))
    measured = run("eval", out, "--data", faces, "--task", "binary", "--json", "--resamples", "0")
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)["measured"][0]["network"] == "amtennet"
    again = run("convert", source, "--out", out)
    assert (again.exit_code, is_one_line(again)) == (1, True)


def test_help_and_list_name_everything(run: Run) -> None:
    shown = run("train", "--help")
    assert shown.exit_code == 0
    for option in ("--set", "--recipe", "--init", "--threads", "--degrade", "--list"):
        assert option in shown.stdout
    listed = run("train", "--list")
    assert listed.exit_code == 0
    table, _, recipes = listed.stdout.partition("\nrecipes: ")
    lines = table.splitlines()
    assert lines[0].split() == ["name", "px", "colour", "range", "filter", "parameters", "source"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:] if line}
    assert list(cells) == list(NETWORKS)
    assert cells["amtennet"][:5] == ["128", "BGR", "0..255", "opencv-linear", "2,023,050"]
    assert cells["xception"][:5] == ["299", "RGB", "-1..1", "pillow-bilinear", "20,811,050"]
    assert cells["handcrafted-res"][-1] == "(approximate)"
    assert recipes.strip().split(", ") == recipe_names()
    folder = Path(__file__).parents[2] / "recipes/train"
    assert recipe_names() == sorted(path.stem for path in folder.glob("*.toml"))


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom hffkit.cli.main import main\n"
        "for command in ([], ['train'], ['eval'], ['predict'], ['convert'], ['build'], ['pack']):\n"
        "    main([*command, '--help'], standalone_mode=False)\n"
        "    slow = {'torch', 'matplotlib', 'jinja2', 'safetensors'} & set(sys.modules)\n"
        "    assert not slow, (command, slow)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage:") == 7


def test_json_is_the_run(run: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("train", "--data", corpus, "--out", out, "--max-iterations", "4", *SMALL, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == read_run(out).to_json()
    made = read_run(out).made
    assert made["overrides"]["max_iterations"] == 4
    assert made["recipe"]["size"] == 48


def test_a_first_ctrl_c_saves_and_exits_with_130(run: Run, corpus: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / "run", ["--data", corpus, "--max-iterations", "8", *SMALL]
    assert run("train", *arguments, "--out", tmp_path / "whole").exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3, lambda _: signal.raise_signal(signal.SIGINT))
        stopped = run("train", *arguments, "--out", out)
    assert stopped.exit_code == 130
    assert "Interrupted" in stopped.stderr
    assert "run the same command again to resume" in stopped.stderr
    assert read_tensors(partial_path(out) / "parts/checkpoint.safetensors")[1]["iteration"] == 4
    result = run("eval", out, "--data", corpus)
    assert "was interrupted: run the same command again to resume" in result.stderr
    assert run("train", *arguments, "--out", out).exit_code == 0
    assert result_of(out) == result_of(tmp_path / "whole")


# --- processes that are stopped from outside -------------------------------------------------

N_ITERATIONS = 100


def _wait_for_metrics(out: Path, pid: int, more_than: int = 0) -> None:
    """Wait until the training has written more bytes of metrics."""
    path = partial_path(out) / "run/metrics.jsonl"
    while alive(pid) and (not path.exists() or path.stat().st_size <= more_than):
        time.sleep(0.005)


@pytest.mark.slow
def test_a_stopped_training_saves_and_goes_on(
    corpus: Path, tmp_path: Path, run: Run, commands: CommandServer
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    words = command(corpus, out, N_ITERATIONS)
    saved = partial_path(out) / "parts/checkpoint.safetensors"
    n_bytes, iterations = 0, [3]
    for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        pid = commands.begin(words[len(HFFKIT) :])
        _wait_for_metrics(out, pid, n_bytes)
        os.kill(pid, stop)
        ended, said = commands.end()
        assert ended == code, said
        n_bytes = (partial_path(out) / "run/metrics.jsonl").stat().st_size
        assert "Traceback" not in said
        assert "Interrupted. Finished work is kept" in said
        iterations.append(read_tensors(saved)[1]["iteration"])
        assert iterations[-1] > iterations[-2]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _wait_for_metrics(out, process.pid, n_bytes)
        process.send_signal(signal.SIGINT)
        for _ in range(4):  # a second one does not wait for the checkpoint
            time.sleep(0.2)  # while it saves, and while Python exits
            process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    # The last one may end the process itself, which shells show as the same code.
    assert process.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in errors
    assert b"Interrupted. Finished work is kept" in errors
    for each in (out, whole):
        done = run(*command(corpus, each, N_ITERATIONS)[len(HFFKIT) :])
        assert done.exit_code == 0, done.output
    assert result_of(out) == result_of(whole)


def test_without_tensorboard_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="TensorBoard is not installed"):
        MetricsLog(tmp_path, 0, 0, with_events=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_folder_of_the_compiler_stays_among_temporary_files(tmp_path: Path) -> None:
    program = (
        "import torch, hffkit.training.optimizer as o\n"
        "w = torch.zeros(1, requires_grad=True)\n"
        "groups = [{'params': [w], 'lr_mult': 1.0, 'decay_mult': 1.0}]\n"
        "o._import_compiler()\n"
        "o.CaffeSGD(groups, torch.tensor(0.1), momentum=0.9, weight_decay=0.0)\n"
    )
    kept = {name: value for name, value in os.environ.items() if "INDUCTOR" not in name}
    environment = {**kept, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_what_metrics_say(corpus: Path, tmp_path: Path, run: Run) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is an extra",
    )
    out = tmp_path / "run"
    words = ("--network", "meso4", "--max-iterations", 4, "--tensorboard", *SMALL)
    done = run("train", "--data", corpus, "--out", out, *words, "--set", "val_interval=2")
    assert done.exit_code == 0, done.output
    events = accumulator.EventAccumulator(str(out / "events"))
    events.Reload()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "val_accuracy"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["iteration"], row[name]) for row in rows if name in row]
        assert [step for step, _ in shown] == [step for step, _ in expected]
        assert [value for _, value in shown] == pytest.approx([v for _, v in expected])


def test_snapshots_are_named_by_whole_numbers(packed: Path, tmp_path: Path, run: Run) -> None:
    arguments = ("train", "--data", packed, "--set", "size=48", "--out", tmp_path / "run")
    found = run(*arguments, "--snapshot", "1,x")
    assert found.exit_code == 2
    assert "'1,x' must be whole numbers" in found.stderr
    found = run(
        *arguments,
        "--snapshot",
        "1,2",
        "--max-iterations",
        "2",
        "--device",
        "cpu",
        "--network",
        "meso4",
    )
    assert found.exit_code == 0
    names = sorted(path.name for path in (tmp_path / "run" / "snapshots").iterdir())
    assert names == ["000001", "000002"]


def test_a_log_has_a_line_for_each_validation(corpus: Path, tmp_path: Path, run: Run) -> None:
    words = ("--network", "meso4", "--max-iterations", 4, *SMALL, "--set", "val_interval=2")
    done = run("train", "--data", corpus, "--out", tmp_path / "run", *words)
    assert done.exit_code == 0, done.output
    rows = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    found = [row for row in rows if "val_loss" in row]
    lines = [line for line in done.stderr.splitlines() if line.startswith("train: ")]
    assert len(found) == len(lines) == 2
    for row, line in zip(found, lines, strict=True):
        assert line.startswith(f"train: {row['iteration']}/4 iterations, ")
        assert f"val {100 * row['val_accuracy']:.2f} %" in line
        assert f"val_loss {row['val_loss']:.4f}" in line
