"""What a training learns, refuses, and writes down."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.trainings import SIZE, native_corpus, request_of, result_of, selected_of
from makers.trees import change_manifest, rows

from hffkit.errors import ArgumentError, CorpusError, HffkitError, TrainingError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.media.files import sha256_of
from hffkit.networks import hardware
from hffkit.networks.spec import BGR_255
from hffkit.runs.run import read_run
from hffkit.storage.corpus import Corpus
from hffkit.storage.staging import partial_path
from hffkit.training.labelled import recipe_input
from hffkit.training.recipe import recipe_names
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.train import train


@pytest.mark.parametrize("changes", [{"base_lr": 1e39}, {"gamma": 1e300, "step_size": 1}])
def test_rates_that_no_float32_holds_are_refused(
    packed: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(HffkitError):
        train(request_of(packed, **changes), tmp_path / "run")


def test_images_in_memory_and_streamed_teach_the_same(
    native: Path, packed: Path, tmp_path: Path
) -> None:
    results = []
    for data, keep in ((packed, "memory"), (packed, "stream"), (native, "stream")):
        out = tmp_path / f"{data.name}-{keep}"
        train(request_of(data, network="meso4", keep=keep), out)
        results.append(result_of(out))
    assert results[0] == results[1] == results[2]


def test_another_seed_is_another_run(packed: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        request = request_of(packed, network="meso4", max_iterations=1, seed=seed)
        train(request, tmp_path / str(seed))
    assert result_of(tmp_path / "0")[0] != result_of(tmp_path / "1")[0]


def test_a_mean_of_losses_is_that_of_the_steps(packed: Path, tmp_path: Path) -> None:
    for name, interval in (("each", 1), ("mean", 5)):
        how = {"network": "meso4", "log_interval": interval, "select": "last"}
        train(request_of(packed, **how), tmp_path / name)
    each = [row["loss"] for row in rows(tmp_path / "each/metrics.jsonl")]
    mean = {row["iteration"]: row["loss"] for row in rows(tmp_path / "mean/metrics.jsonl")}
    wanted = {5: np.mean(each[:5]), 10: np.mean(each[5:10]), 12: np.mean(each[10:])}
    assert mean == pytest.approx(wanted)


def test_a_separable_set_is_learned(packed: Path, tmp_path: Path) -> None:
    request = request_of(packed, base_lr=2e-4, max_iterations=32, val_interval=16, batch_size=8)
    _, run = train(request, tmp_path / "run")
    assert selected_of(run)["val_accuracy"] >= 0.9
    counts = Counter(s.cls for s in Corpus(packed).samples() if s.split == "val")
    assert run.result is not None
    assert run.result.val_majority_accuracy == max(counts.values()) / counts.total()


def test_a_corpus_without_val_is_refused_with_advice(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"train": 3, "test": 1})
    with pytest.raises(CorpusError, match=r"no sample in split val; .* set select = last"):
        train(request_of(data), tmp_path / "run")
    train(request_of(data, select="last", max_iterations=1), tmp_path / "other")


@pytest.mark.parametrize(
    ("wrong", "advised"),
    [
        ({"select": "last", "degrade": ["jp-mixx"]}, {"select": "last", "degrade": ["jp-mix"]}),
        ({"select": "last", "size": 2}, {"select": "last", "size": 48}),
        ({"patience": 3}, {"select": "last", "patience": 0}),
    ],
)
def test_what_a_refusal_advises_can_be_done(
    tmp_path: Path, wrong: dict[str, Any], advised: dict[str, Any]
) -> None:
    data = native_corpus(tmp_path, {"train": 3, "test": 1})
    with pytest.raises(HffkitError):
        train(request_of(data, **wrong), tmp_path / "run")
    train(request_of(data, **advised, max_iterations=1), tmp_path / "run")


def test_a_corpus_without_train_is_refused(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"val": 2, "test": 2})
    with pytest.raises(CorpusError, match="no sample in split train; `hffkit inspect` counts them"):
        train(request_of(data), tmp_path / "run")
    assert not partial_path(tmp_path / "run").exists()


def test_one_class_is_refused(packed: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(packed, tmp_path / "data"))

    def only_fake(found: list[dict[str, Any]]) -> None:
        for row in found:
            row["split"] = "train" if row["cls"] != "real" else "test"

    change_manifest(data, only_fake)
    with pytest.raises(CorpusError, match="train samples are all 'fake'"):
        train(request_of(data, task="binary"), tmp_path / "run")
    assert not partial_path(tmp_path / "run").exists()


def test_validation_of_one_class_is_refused_and_missing_classes_are_told(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"train": 4, "val": 3})

    def without(split: str, *classes: str) -> Callable[[list[dict[str, Any]]], None]:
        def change(found: list[dict[str, Any]]) -> None:
            for row in found:
                if row["split"] == split and row["cls"] in classes:
                    row["split"] = "test"

        return change

    change_manifest(data, without("train", "grid"))
    notices: list[str] = []
    train(request_of(data, max_iterations=1), tmp_path / "run", notices.append)
    assert notices == ["train: no sample of grid"]
    change_manifest(data, without("val", "tint"))
    train(request_of(data, max_iterations=1), tmp_path / "run2", notices.append)
    assert notices[1:] == ["train: no sample of grid", "val: no sample of tint"]
    change_manifest(data, without("val", "grid"))
    message = "val samples are all 'real', so the best weights .* select = last"
    with pytest.raises(CorpusError, match=message):
        train(request_of(data), tmp_path / "run3")
    last = (("select", "last"),)
    request = request_of(data, max_iterations=1)
    train(replace(request, overrides=request.overrides + last), tmp_path / "run4")


def test_classes_that_the_network_does_not_know_are_refused(finished: Path, tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"test": 3}, ("grid", "stranger"))
    request = EvalRequest((finished,), (str(data),), n_resamples=0, allow_overlap=True)
    with pytest.raises(CorpusError, match=r"class 'stranger' \(real\) is none .*Set `task` to"):
        evaluate(EvalRequest((finished,), (str(data),), n_resamples=0, allow_overlap=True))
    request = EvalRequest(
        (finished,), (str(data),), task="binary", n_resamples=0, allow_overlap=True
    )
    found = evaluate(request)
    assert len(found.measured[0].data.items) == 6


def test_a_loss_that_is_no_number_ends_the_training_with_advice(
    packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"The loss is nan .*metrics.*Try base_lr = 1e\+29,"):
        train(request_of(packed, base_lr=1e30), tmp_path / "run")


def test_what_made_a_run_is_in_it(packed: Path, tmp_path: Path) -> None:
    _, run = train(request_of(packed, seed=3, task="binary", max_iterations=1), tmp_path / "run")
    corpus = Corpus(packed)
    assert read_run(tmp_path / "run") == run
    assert run.weights_sha256 == sha256_of(tmp_path / "run/weights.safetensors")
    assert run.made["data"][0]["content_sha256"] == corpus.content_sha256
    assert run.made["seed"] == 3
    assert run.made["recipe"]["base_lr"] == 1e-4
    assert run.made["overrides"]["size"] == SIZE
    assert run.made["versions"]["torch"] == torch.__version__
    assert run.input == BGR_255


def test_a_run_records_the_filter_that_resized_its_images(
    packed: Path, native: Path, tmp_path: Path
) -> None:
    values = {"filter": "pillow-bilinear", "max_iterations": 2}
    _, run = train(request_of(native, **values), tmp_path / "native")
    assert run.input == replace(BGR_255, filter="pillow-bilinear")
    row = json.loads((tmp_path / "native" / "run.json").read_text())
    assert row["input"] == {"colour": "BGR", "low": 0, "high": 255, "filter": "pillow-bilinear"}
    # Packed images were resized by convert_imageset's filter, whatever the recipe says.
    _, run = train(request_of(packed, **values), tmp_path / "packed")
    assert run.input == BGR_255


def test_the_filter_changes_what_a_network_trains_on(native: Path, tmp_path: Path) -> None:
    losses = {}
    for how in ("original", "opencv-linear", "pillow-bilinear"):
        out = tmp_path / how
        train(request_of(native, size=32, filter=how, max_iterations=2), out)
        losses[how] = (out / "metrics.jsonl").read_text()
    assert losses["original"] == losses["opencv-linear"] != losses["pillow-bilinear"]


def test_recipes_of_the_guo_paper_keep_the_filter_of_caffe() -> None:
    filters = {
        name: recipe_input(chosen_recipe(TrainRequest((), recipe=name))).filter
        for name in recipe_names()
    }
    bilinear, nearest = {"xception-native", "mml", "mml-small"}, {"meso4-native"}
    assert {name for name, how in filters.items() if how == "pillow-bilinear"} == bilinear
    nearest |= {"mesoinception4-native"}
    assert {name for name, how in filters.items() if how == "pillow-nearest"} == nearest


def test_bf16_is_refused_where_a_processor_can_only_emulate_it(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_instructions", lambda: frozenset({"avx2", "avx512f"}))
    with pytest.raises(
        ArgumentError, match=r"^`precision` must be fp32 .* 6\.4 images/s instead of 60"
    ):
        train(request_of(packed, device="cpu", precision="bf16"), tmp_path / "run")
    assert not list(tmp_path.iterdir())
