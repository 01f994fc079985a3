"""Trainings that go on after anything that stops them."""

import errno
import math
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.trainings import StopError, begin, fail, request_of, result_of, stop_at
from makers.trees import rows

from hffkit.errors import ArgumentError, StorageError, Terminated, TrainingError, WeightsError
from hffkit.runs.run import TrainingResult, read_run
from hffkit.runs.weights import read_tensors, read_weights
from hffkit.storage.corpus import Corpus
from hffkit.storage.staging import partial_path
from hffkit.training import loop as training
from hffkit.training.checkpoint import CHECKPOINT_FILE, read_checkpoint, write_checkpoint
from hffkit.training.loop import TrainingLoop
from hffkit.training.request import TrainRequest
from hffkit.training.train import train
from hffkit.training.updater import Updater


def interrupt(_: Updater) -> None:
    raise KeyboardInterrupt


KINDS: dict[str, dict[str, Any]] = {
    "amtennet": {"network": "amtennet"},
    "meso4": {"network": "meso4", "recipe": "meso4-native", "select": "loss"},
    "mislnet": {"network": "mislnet", "select": "last"},
    "modern": {"recipe": "modern", "degrade": ["jp-mix"], "replicas": 2},
}


@pytest.fixture(scope="module")
def uninterrupted(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return the result of a training of KINDS that nothing stops."""
    folder = tmp_path_factory.mktemp("uninterrupted")

    @cache
    def result(name: str) -> Any:
        train(request_of(packed, **KINDS[name]), folder / name)
        return result_of(folder / name)

    return result


def test_snapshots_are_the_weights_of_their_iterations(packed: Path, tmp_path: Path) -> None:
    request = request_of(packed, network="meso4", snapshots=(3, 8))
    train(request, tmp_path / "whole")
    for n in (3, 8):
        short = request_of(packed, network="meso4", max_iterations=n, select="last")
        train(short, tmp_path / f"to {n}")
        ours, wanted = (
            read_weights(path)
            for path in (tmp_path / "whole" / "snapshots" / f"{n:06d}", tmp_path / f"to {n}")
        )
        assert ours.keys() == wanted.keys()
        assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    # Stopped between the two, and again after the second, of which no checkpoint knows.
    begin(request, tmp_path / "resumed", 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 1e9)
        stop_at(patch, 9, fail)
        with pytest.raises(StopError):
            train(request, tmp_path / "resumed")
    train(request, tmp_path / "resumed")
    for name in ("000003", "000008"):
        folders = [tmp_path / run / "snapshots" / name for run in ("whole", "resumed")]
        for file in ("weights.safetensors", "groups.json", "training-samples.npy", "run.json"):
            one, other = ((folder / file).read_bytes() for folder in folders)
            assert one == other, (name, file)
    assert read_run(folders[1]).result == TrainingResult(8, None, {"iteration": 8})
    assert result_of(tmp_path / "whole") == result_of(tmp_path / "resumed")


@pytest.mark.parametrize("n", [0, 13])
def test_snapshots_outside_the_training_are_refused(packed: Path, tmp_path: Path, n: int) -> None:
    with pytest.raises(ArgumentError, match=f"`snapshots` must be .* from 1 to 12, got {n}"):
        train(request_of(packed, snapshots=(3, n)), tmp_path / "run")
    assert not partial_path(tmp_path / "run").exists()


# A checkpoint after each step, or only those of validations, which the steps behind them repeat.
@pytest.mark.parametrize(
    ("name", "seconds", "how"),
    [
        pytest.param(name, seconds, how, marks=[] if name in quick else [pytest.mark.slow])
        for seconds, how, quick in (
            (0.0, fail, {"meso4", "modern"}),
            (1e9, interrupt, {"amtennet"}),
        )
        for name in KINDS
    ],
)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any], name: str, seconds: float,
    how: Callable[[Updater], None],
) -> None:  # fmt: skip
    out, request = tmp_path / "run", request_of(packed, **KINDS[name])
    for iteration in (2, 5, 9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "_CHECKPOINT_SECONDS", seconds)
            stop_at(patch, iteration, how)
            with pytest.raises((StopError, KeyboardInterrupt)):
                train(request, out)
        saved = partial_path(out) / "parts" / CHECKPOINT_FILE
        at = read_tensors(saved)[1]["iteration"] if saved.exists() else 0
        assert at == (iteration if seconds == 0 else iteration // 5 * 5)
    train(request, out)
    assert result_of(out) == uninterrupted(name)
    assert not partial_path(out).exists()
    assert sorted(path.name for path in out.iterdir()) == [
        "groups.json", "metrics.jsonl", "run.json",
        *([] if name == "mislnet" else ["selection-samples.npy"]),  # it keeps the last weights
        "training-samples.npy", "weights.safetensors",
    ]  # fmt: skip


def test_a_training_by_epochs_is_one_by_iterations_and_resumes(
    packed: Path, tmp_path: Path
) -> None:
    by_iterations = request_of(packed, network="meso4", val_interval=3, batch_size=8)
    others = (pair for pair in by_iterations.overrides if pair[0] != "max_iterations")
    n_train = sum(splits["train"] for splits in Corpus(packed).info.counts.values())
    assert n_train == 21  # 2.6 batches of 8: an epoch is over in val_interval, 4.6 epochs in 12
    request = replace(by_iterations, overrides=(*others, ("epochs", 4.6)))
    train(by_iterations, tmp_path / "iterations")
    begin(request, tmp_path / "epochs", 7)
    _, run = train(request, tmp_path / "epochs")
    assert result_of(tmp_path / "epochs") == result_of(tmp_path / "iterations")
    assert run.made["recipe"] == read_run(tmp_path / "iterations").made["recipe"]
    assert run.made["recipe"]["max_iterations"] == 12
    assert run.made["epochs"] == 4.6


@pytest.mark.usefixtures("handlers_of_commands")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_waits_for_the_step_and_saves(
    packed: Path,
    tmp_path: Path,
    uninterrupted: Callable[[str], Any],
    number: signal.Signals,
    error: type[BaseException],
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    before = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 7, lambda _: signal.raise_signal(number))
        with pytest.raises(error):
            train(request, out)
    assert signal.getsignal(number) is before
    saved = partial_path(out) / "parts" / CHECKPOINT_FILE
    assert read_tensors(saved)[1]["iteration"] == 8
    train(request, out)
    assert result_of(out) == uninterrupted("meso4")


def test_another_command_may_not_go_on_with_it(packed: Path, native: Path, tmp_path: Path) -> None:
    out, ours = tmp_path / "run", {"network": "meso4"}
    begin(request_of(packed, **ours), out)
    for changes, message in (
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"base_lr": 1e-3}, "recipe.base_lr was 0.0001, is now 0.001"),
        ({"task": "binary"}, "task was 'multi', is now 'binary'"),
        ({"threads": 2}, "threads was 1, is now 2"),
        ({"network": "mislnet"}, "recipe.network was 'meso4', is now 'mislnet'"),
    ):
        with pytest.raises(StorageError, match=message):
            train(request_of(packed, **ours | changes), out)
    with pytest.raises(StorageError, match="another command: data differ"):
        train(request_of(native, **ours), out)
    train(request_of(packed, **ours), out)
    with pytest.raises(StorageError, match="already exists"):
        train(request_of(packed, **ours), out)


def test_a_damaged_checkpoint_is_refused_by_name(packed: Path, tmp_path: Path) -> None:
    out, request = tmp_path / "run", request_of(packed, network="meso4")
    path = begin(request, out)
    before_it(path).unlink()
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: not a whole .*damaged"):
        train(request, out)
    tensors, facts = read_checkpoint(begin(request, tmp_path / "other"))
    for wrong, told in (
        ({k: v for k, v in tensors.items() if k != "net:block4.conv.weight"}, facts),
        ({k: v for k, v in tensors.items() if k != "losses"}, facts),
        (tensors | {"net:block4.conv.weight": torch.zeros(3)}, facts),
        (tensors, {}),
    ):
        write_checkpoint(path, wrong, told)
        with pytest.raises(
            WeightsError,
            match=r"(?s)not a whole checkpoint of this training: .*Delete .* to start again",
        ):
            train(request, out)
    path.write_bytes(whole)
    train(request, out)


def before_it(path: Path) -> Path:
    """Return the path of the checkpoint before the newest one."""
    return path.with_name(f"previous-{path.name}")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "zeros": lambda path: path.write_bytes(path.read_bytes()[:-500] + bytes(500)),
    "empty": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
}
ALLOWED = {("parts/checkpoint.safetensors", "deleted"), ("run/metrics.jsonl", "longer")}
PIECES = [
    "parts/checkpoint.safetensors",
    "run/weights.safetensors",
    "run/metrics.jsonl",
    "run/snapshots/000003/weights.safetensors",
    "run/snapshots/000003/run.json",
    "run/snapshots/000003/training-samples.npy",
]


@pytest.fixture(scope="module")
def begun(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainRequest, Path]:
    """A small training with a snapshot and selected weights, stopped after half of it."""
    request = request_of(packed, network="meso4", val_interval=2, snapshots=(3,))
    path = begin(request, tmp_path_factory.mktemp("begun") / "run")
    before_it(path).unlink()
    return request, path.parents[1]


@pytest.mark.parametrize(
    ("name", "damage"), [each for each in product(PIECES, DAMAGE) if each not in ALLOWED]
)
def test_a_training_does_not_go_on_with_a_damaged_piece(
    begun: tuple[TrainRequest, Path], tmp_path: Path, name: str, damage: str
) -> None:
    request, folder = begun
    out = tmp_path / "run"
    shutil.copytree(folder, partial_path(out))
    path = partial_path(out) / name
    DAMAGE[damage](path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(
        WeightsError, match=f"(?s)^{path}: .*[Dd]elete {partial_path(out)} to start"
    ):
        train(request, out)
    assert not out.exists()
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_training_without_its_checkpoint_begins_anew(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    path = begin(request, out)
    path.unlink()
    before_it(path).unlink()
    flip(path.parents[1] / "run" / "weights.safetensors")
    train(request, out)
    assert result_of(out) == uninterrupted("meso4")


@pytest.mark.parametrize(
    ("damage", "iteration"),
    [("deleted", 6), ("flipped", 10)],  # 10: which has other weights
)
def test_a_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any], damage: str, iteration: int
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    path = begin(request, out, iteration)
    DAMAGE[damage](path)
    notices: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, iteration - 2, fail)  # it does not go further back
        train(request, out, notices.append)
    where = f"the checkpoint before it, of iteration {iteration - 1}."
    assert [text for text in notices if "damaged" in text] == (
        [f"{path} is damaged: the training goes on from {where}"] if damage == "flipped" else []
    )
    assert result_of(out) == uninterrupted("meso4")


def test_a_training_is_not_published_with_weights_that_were_damaged_meanwhile(
    packed: Path, tmp_path: Path
) -> None:
    out, request = tmp_path / "run", request_of(packed, network="meso4", select="loss")
    weights = partial_path(out) / "run/weights.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 10, lambda _: flip(weights))  # after one validation, before the last
        patch.setattr(TrainingLoop, "_rank", lambda _, row: -row["iteration"])
        with pytest.raises(WeightsError, match="not as the training wrote it"):
            train(request, out)
    assert not out.exists()


@pytest.mark.parametrize("is_before", [True, False])
def test_weights_belong_to_the_checkpoint_wherever_the_training_stops(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any], *, is_before: bool
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])

    def stopping(*arguments: Any) -> None:
        if arguments[2]["iteration"] != 10:
            write_checkpoint(*arguments)
        elif is_before:
            raise StopError
        else:
            write_checkpoint(*arguments)
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "write_checkpoint", stopping)
        with pytest.raises(StopError):
            train(request, out)
    assert (partial_path(out) / "parts/next-weights.safetensors").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)  # a checkpoint before the validation
        train(request, out)
    assert result_of(out) == uninterrupted("meso4")
    assert not partial_path(out).exists()


def test_a_checkpoint_without_the_solver_is_refused(packed: Path, tmp_path: Path) -> None:
    request = request_of(packed, **KINDS["meso4"])
    path = begin(request, tmp_path / "run")
    before_it(path).unlink()
    tensors, facts = read_checkpoint(path)
    write_checkpoint(path, {k: v for k, v in tensors.items() if "solver" not in k}, facts)
    with pytest.raises(WeightsError, match="not a whole checkpoint of this training"):
        train(request, tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors.tmp", "next-weights.safetensors.tmp", "metrics.jsonl"]
)
def test_a_full_disk_costs_nothing_that_was_there(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any], name: str
) -> None:
    out, request = tmp_path / "run", request_of(packed, select="loss", network="meso4",
                                                recipe="meso4-native")  # fmt: skip
    path = begin(request, out)
    metrics = path.parents[1] / "run" / "metrics.jsonl"
    lines, checkpoint = metrics.read_bytes(), path.read_bytes()
    fsync = os.fsync

    def full(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink().name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            train(request, out)
    assert name.removesuffix(".tmp") in str(caught.value)
    newest = path if path.exists() else before_it(path)
    assert newest.read_bytes() == checkpoint
    assert metrics.read_bytes().startswith(lines)
    assert not list(path.parents[1].rglob("*.tmp"))
    train(request, out)
    assert result_of(out) == uninterrupted("meso4")


def test_a_full_disk_at_the_start_costs_no_metrics(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    begin(request, out)
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name != "metrics.jsonl":
            return write_bytes(self, data)
        write_bytes(self, b"")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch, suppress(StorageError):
        patch.setattr(Path, "write_bytes", full)
        train(request, out)
    if not out.exists():
        train(request, out)
    assert result_of(out) == uninterrupted("meso4")


def test_a_finished_training_that_cannot_be_named_is_not_begun_anew(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 9, lambda _: out.mkdir())
        with pytest.raises(StorageError, match="Move it away and run the command again"):
            train(request, out)
    out.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 0, fail)
        train(request, out)
    assert result_of(out) == uninterrupted("meso4")


def test_metrics_behind_the_checkpoint_are_cut_off(packed: Path, tmp_path: Path) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    path = begin(request, out).parents[1] / "run" / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(b'{"iteration":8,"loss":1.0,"rate":1.0}\n{"iteration":9,"lo')
    train(request, out)
    found = rows(out / "metrics.jsonl")
    assert [(row["iteration"], "loss" in row) for row in found] == [
        (4, True), (5, False), (8, True), (10, False), (12, True), (12, False),
    ]  # fmt: skip
    assert all(row["rate"] == 1e-4 for row in found if "loss" in row)


def test_a_checkpoint_from_before_the_loss_was_lost_survives(
    packed: Path, tmp_path: Path, uninterrupted: Callable[[str], Any]
) -> None:
    def poison(updater: Updater) -> None:
        with torch.no_grad():
            next(updater.net.parameters()).fill_(math.nan)

    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
        stop_at(patch, 6, poison)
        with pytest.raises(TrainingError, match="The loss is nan at iteration 7"):
            train(request, out)
    path = partial_path(out) / "parts" / CHECKPOINT_FILE
    tensors, facts = read_tensors(path)
    assert facts["iteration"] == 6
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    train(request, out)
    assert result_of(out) == uninterrupted("meso4")


def test_threads_are_recorded_and_kept_when_it_goes_on(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    torch.set_num_threads(2)
    request = request_of(packed, threads=None, network="meso4", max_iterations=3, select="last")
    path = begin(request, out, 1)
    assert read_tensors(path)[1]["threads"] == 2
    torch.set_num_threads(1)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 2, lambda _: seen.append(torch.get_num_threads()))
        _, run = train(request, out)
    assert seen == [2]
    assert run.made["threads"] == 2
