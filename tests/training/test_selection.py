"""The weights that a training keeps, and when it ends early."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.trainings import StopError, fail, request_of, result_of, selected_of, stop_at
from makers.trees import rows

from hffkit.errors import StorageError, TrainingError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.runs.run import read_run
from hffkit.runs.weights import read_tensors, read_weights
from hffkit.storage.staging import partial_path
from hffkit.training import loop as training
from hffkit.training.train import train
from hffkit.training.updater import Updater


@pytest.mark.parametrize("select", ["last", "loss", "accuracy"])
def test_the_weights_kept_are_those_that_the_recipe_selects(
    packed: Path, tmp_path: Path, select: str
) -> None:
    out = tmp_path / "run"
    how: dict[str, Any] = {"network": "meso4", "val_interval": 1, "base_lr": 1e-3}
    _, run = train(request_of(packed, select=select, **how), out)
    found = [row for row in rows(out / "metrics.jsonl") if "val_loss" in row]
    selected = selected_of(run)
    if select == "last":
        assert selected == {"iteration": 12}
        assert not found
    else:
        assert len(found) == 12
        best = {
            "loss": lambda row: (-row["val_loss"],),
            "accuracy": lambda row: (row["val_accuracy"], -row["val_loss"]),
        }[select]
        assert selected == max(found, key=best)
    assert read_tensors(out / "weights.safetensors")[1] == selected
    assert read_run(out).result == run.result
    if select != "last":
        measured = evaluate(EvalRequest((out,), (str(packed),), "val", n_resamples=0)).measured[0]
        accuracy = measured.evaluation.frame.estimates["accuracy"].value
        assert accuracy == pytest.approx(selected["val_accuracy"])


PATIENT: dict[str, Any] = {  # val gets better once, then worse
    "network": "meso4", "select": "loss", "seed": 1, "base_lr": 3e-4, "val_interval": 2,
    "max_iterations": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def impatient(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What val says of a training that nothing ends early."""
    out = tmp_path_factory.mktemp("impatient") / "run"
    _, run = train(request_of(packed, **PATIENT), out)
    assert run.result is not None
    assert not run.result.stopped_early
    return [row for row in rows(out / "metrics.jsonl") if "val_loss" in row]


def wanted_end(found: list[dict[str, Any]], patience: int) -> int:
    """Return how many looks a training takes that ends after some without a lower loss."""
    losses = [row["val_loss"] for row in found]
    for n in range(patience + 1, len(losses) + 1):
        if min(losses[n - patience : n]) >= min(losses[: n - patience]):
            return n
    return len(losses)


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_ends_a_training_that_gets_no_better(
    packed: Path, tmp_path: Path, impatient: list[dict[str, Any]], patience: int
) -> None:
    n = wanted_end(impatient, patience)
    assert patience + 1 < n < len(impatient)
    request = request_of(packed, **PATIENT, patience=patience)
    _, run = train(request, tmp_path / "run")
    assert run.result is not None
    assert (run.result.iterations, run.result.stopped_early) == (2 * n, True)
    best = min(impatient[:n], key=lambda row: row["val_loss"])
    assert selected_of(run) == best
    found = [row for row in rows(tmp_path / "run/metrics.jsonl") if "val_loss" in row]
    assert found == impatient[:n]
    assert read_tensors(tmp_path / "run/weights.safetensors")[1] == best


def test_patience_is_counted_across_interruptions(
    packed: Path, tmp_path: Path, impatient: list[dict[str, Any]]
) -> None:
    last = 2 * wanted_end(impatient, 2)
    request = request_of(packed, **PATIENT, patience=2)
    train(request, tmp_path / "whole")
    out = tmp_path / "run"
    for iteration in range(1, last, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0 if iteration % 2 else 1e9)
            stop_at(patch, iteration, fail)
            with pytest.raises(StopError):
                train(request, out)
    with pytest.MonkeyPatch.context() as patch:  # the end is reached, and cannot be named
        stop_at(patch, last - 1, lambda _: out.mkdir())
        with pytest.raises(StorageError, match="Move it away"):
            train(request, out)
    out.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, last, fail)  # not one step more
        train(request, out)
    assert result_of(out) == result_of(tmp_path / "whole")


def test_a_training_of_no_iterations_keeps_the_first_weights(packed: Path, tmp_path: Path) -> None:
    _, run = train(request_of(packed, max_iterations=0), tmp_path / "run")
    assert run.result is not None
    assert run.result.iterations == 0
    assert read_weights(tmp_path / "run")


@pytest.mark.parametrize("select", ["last", "loss"])
def test_saved_weights_of_mislnet_meet_its_constraint(
    packed: Path, tmp_path: Path, select: str
) -> None:
    train(request_of(packed, network="mislnet", select=select, max_iterations=5), tmp_path / "run")
    weight = read_weights(tmp_path / "run")["convF.weight"].double()
    assert weight.shape == (3, 3, 5, 5)
    assert torch.equal(weight[..., 2, 2], torch.full((3, 3), -1.0).double())
    assert torch.allclose(weight.sum((2, 3)) + 1, torch.ones(3, 3).double(), atol=1e-5)


def test_weights_that_are_no_numbers_are_not_kept(packed: Path, tmp_path: Path) -> None:
    def poison(updater: Updater) -> None:
        with torch.no_grad():
            next(updater.net.parameters()).fill_(math.nan)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 4, poison)
        with pytest.raises(TrainingError):
            train(request_of(packed, network="meso4"), out)
    weights = partial_path(out) / "run" / "weights.safetensors"
    assert not weights.exists() or all(
        bool(value.isfinite().all()) for value in read_tensors(weights)[0].values()
    )
