"""Recipes, orders, feeds, run folders, and training that goes on after anything that stops it."""

import errno
import json
import math
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from makers.trainings import (
    SIZE,
    StopError,
    begin,
    fail,
    native_corpus,
    request_of,
    result_of,
    stop_at,
)
from makers.trees import change_manifest, rows

from hffkit.errors import (
    ArgumentError,
    CorpusError,
    HffkitError,
    RecipeError,
    StorageError,
    TrainingError,
    UnknownNameError,
    WeightsError,
)
from hffkit.evaluation.evaluate import EvalRequest, measure
from hffkit.media.image import resize
from hffkit.networks import devices
from hffkit.networks.devices import device_named
from hffkit.networks.spec import BGR_255, RGB_SIGNED, RGB_UNIT
from hffkit.runs.run import read_run
from hffkit.runs.tensors import read_tensors, write_tensors
from hffkit.runs.weights import read_weights
from hffkit.storage.corpus import Corpus
from hffkit.storage.staging import partial_path
from hffkit.training import session as training
from hffkit.training.data import _transform
from hffkit.training.dataset import Faces
from hffkit.training.loader import Keep, Resident, Streaming, feed_of, prepare
from hffkit.training.recipe import parse_override, read_recipe, recipe_of
from hffkit.training.sampler import Order
from hffkit.training.train import (
    TrainRequest,
    chosen_recipe,
    recipe_names,
    train,
)
from hffkit.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes/train").glob("*.toml"))
CPU = torch.device("cpu")


def items_of(path: Path) -> list[Any]:
    corpus = Corpus(path)
    return [(corpus, sample) for sample in corpus.samples()]


# --- recipes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_packaged_recipe_is_sound(path: Path) -> None:
    recipe = recipe_of(read_recipe(path), path.name)
    assert recipe_of(recipe.to_json(), "again") == recipe
    assert path.stem in recipe_names()
    request = TrainRequest(("x",), recipe=path.stem)
    assert chosen_recipe(request) == recipe


@pytest.mark.parametrize("name", ["resnet18", "vgg11-bn", "densenet121", "efficientnet-b0"])
def test_the_facial_parts_study_divides_its_rate_every_five_epochs(name: str) -> None:
    recipe = chosen_recipe(TrainRequest(("x",), network=name))
    epoch = 16_000 // 32
    rates = [recipe.rate(number * epoch) for number in range(20)]
    wanted = [1e-4] * 5 + [1e-5] * 5 + [1e-6] * 5 + [1e-7] * 5
    assert rates == pytest.approx(wanted)
    assert [recipe.rate(number * epoch - 1) for number in range(1, 21)] == pytest.approx(wanted)
    assert (recipe.network, recipe.size, recipe.batch_size) == (name, 224, 32)
    assert (recipe.max_iterations, recipe.val_interval) == (20 * epoch, epoch)


def test_a_network_without_a_recipe_takes_that_of_amtennet() -> None:
    found = chosen_recipe(TrainRequest(("x",), network="AMTEN_3"))
    assert found == replace(chosen_recipe(TrainRequest(("x",))), network="amten-3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, r"mine: unknown seed\. Known: network, size"),
        ({"gamma": None}, r"mine: missing gamma\. Every key is required"),
        ({"base_lr": "fast"}, "mine: base_lr must be float, got 'fast'"),
        ({"size": True}, "mine: size must be int, got True"),
        ({"size": 48.0}, "mine: size must be int, got 48.0"),
        ({"base_lr": True}, "mine: base_lr must be float, got True"),
        ({"solver": "sgd"}, "mine: solver must be one of caffe-sgd, adam, adamw, got 'sgd'"),
        ({"solver": ["adam"]}, "mine: solver must be one of"),
        ({"degrade": "jp-mix"}, "mine: degrade must be a list of operations"),
        ({"degrade": [1]}, "mine: degrade must be a list of operations"),
        ({"base_lr": 0.0}, "mine: base_lr must be above 0, at most 1e.30, got 0.0"),
        ({"base_lr": math.nan}, "mine: base_lr must be above 0, at most 1e.30, got nan"),
        ({"gamma": math.inf}, "mine: gamma must be from 0 to 1, got inf"),
        ({"momentum": 1.0}, "mine: momentum must be from 0 to below 1, got 1.0"),
        ({"batch_size": 0}, "mine: batch_size must be at least 1, got 0"),
        ({"max_iterations": -1}, "mine: max_iterations must be from 0 to 1e.30, got -1"),
        ({"replicas": 3}, "mine: replicas must divide batch_size, got 3 and 64"),
        ({"patience": -1}, "mine: patience must be from 0 to 1e.30, got -1"),
        ({"patience": 1.5}, "mine: patience must be int, got 1.5"),
        ({"patience": 2, "select": "last"}, "mine: patience must be 0 where select is last, got 2"),
    ],
)
def test_impossible_recipes_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    values = read_recipe(ROOT / "recipes/train/amtennet.toml") | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(RecipeError, match=message):
        recipe_of(values, "mine")


def test_a_recipe_file_of_ones_own_is_read_and_its_errors_name_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (ROOT / "recipes/train/meso4.toml").read_text()
    path.write_text(text.replace("base_lr = 0.001", "base_lr = 1"))
    assert chosen_recipe(TrainRequest(("x",), recipe=str(path))).base_lr == 1.0
    path.write_text(text + "colour = 1\n")
    with pytest.raises(RecipeError, match=r"mine\.toml: unknown colour"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    path.write_text("network =")
    with pytest.raises(RecipeError, match=r"mine\.toml: cannot be read"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"mine\.toml: cannot be read"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read"):
        chosen_recipe(TrainRequest(("x",), recipe=str(tmp_path / "absent.toml")))
    path.write_text(text.replace('"meso4"', '"Meso_4"'))
    with pytest.raises(RecipeError, match=r"write network = 'meso4'"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    with pytest.raises(UnknownNameError, match="Did you mean 'mislnet'"):
        chosen_recipe(TrainRequest(("x",), recipe="mislnt"))


def test_overrides_are_read_as_toml_would() -> None:
    assert parse_override("base_lr=1e-3") == ("base_lr", 1e-3)
    assert parse_override("size = 64") == ("size", 64)
    assert parse_override("select=last") == ("select", "last")
    assert parse_override('select="last"') == ("select", "last")
    assert parse_override("degrade=gb:3 + jp-mix") == ("degrade", ["gb:3", "jp-mix"])
    assert parse_override("degrade=") == ("degrade", [])
    with pytest.raises(ArgumentError, match="'size' must be KEY=VALUE"):
        parse_override("size")
    with pytest.raises(ArgumentError, match=r"A recipe has no 'sice'\. Known: network, size"):
        parse_override("sice=3")
    with pytest.raises(RecipeError, match=r"amtennet: size must be int, got 'big'"):
        chosen_recipe(TrainRequest(("x",), overrides=(parse_override("size=big"),)))


@pytest.mark.parametrize("changes", [{"base_lr": 1e39}, {"gamma": 1e300, "step_size": 1}])
def test_rates_that_no_float32_holds_are_refused(
    packed: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(HffkitError):
        train(request_of(packed, **changes), tmp_path / "run")


# --- orders and feeds ------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_every_epoch_is_a_permutation_and_batches_cross_its_end(
    n_samples: int, batch_size: int, seed: int
) -> None:
    order = Order(n_samples, batch_size, "shuffled", seed)
    n_batches = -(-3 * n_samples // batch_size)
    batches = [order.batch(number) for number in range(n_batches)]
    assert all(len(numbers) == len(epochs) == batch_size for numbers, epochs in batches)
    numbers = np.concatenate([numbers for numbers, _ in batches])[: 3 * n_samples]
    epochs = np.concatenate([epochs for _, epochs in batches])[: 3 * n_samples]
    assert epochs.tolist() == [epoch for epoch in range(3) for _ in range(n_samples)]
    for epoch in range(3):
        assert sorted(numbers[epochs == epoch].tolist()) == list(range(n_samples))


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    order = Order(100, 100, "shuffled", 0)
    found = [order.batch(k)[0].tolist() for k in range(3)]
    found.append(Order(100, 100, "shuffled", 1).batch(0)[0].tolist())
    assert len({tuple(numbers) for numbers in (*found, range(100))}) == 5


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(0, 30))
def test_a_batch_does_not_depend_on_what_was_asked_before(before: list[int], k: int) -> None:
    used, fresh = Order(13, 5, "shuffled", 7), Order(13, 5, "shuffled", 7)
    for number in before:
        used.batch(number)
    for one, other in zip(used.batch(k), fresh.batch(k), strict=True):
        assert np.array_equal(one, other)


def test_the_order_of_caffe_is_that_of_the_corpus_and_wraps() -> None:
    order = Order(5, 3, "caffe", 9)
    assert [order.batch(k)[0].tolist() for k in range(4)] == [
        [0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1],
    ]  # fmt: skip
    assert order.batch(3)[1].tolist() == [1, 2, 2]


def pixels_of(faces: Faces, number: int, epoch: int = 0) -> Any:
    out = np.zeros((faces.size, faces.size, 3), np.uint8)
    faces.read(number, epoch, out)
    return out


def test_faces_of_a_packed_corpus_are_its_images(packed: Path) -> None:
    items = items_of(packed)
    rgb, bgr = Faces(items, SIZE, "RGB"), Faces(items, SIZE, "BGR")
    assert len(rgb) == 39
    for number, (corpus, sample) in enumerate(items):
        image = corpus.image(sample)
        assert np.array_equal(pixels_of(rgb, number), image)
        assert np.array_equal(pixels_of(bgr, number), image[..., ::-1])


def test_faces_of_a_native_corpus_are_resized_as_pack_does(packed: Path, native: Path) -> None:
    natives, packs = items_of(native), items_of(packed)
    for colour in ("RGB", "BGR"):
        ours, theirs = Faces(natives, SIZE, colour), Faces(packs, SIZE, colour)
        assert natives[0][0].image(natives[0][1]).shape == (64, 56, 3)
        for number in range(len(natives)):
            assert np.array_equal(pixels_of(ours, number), pixels_of(theirs, number))


def test_a_corpus_packed_at_another_size_is_refused(packed: Path) -> None:
    with pytest.raises(CorpusError, match="packed at 48 px, and the network is fed with 64"):
        Faces(items_of(packed), 64, "RGB")


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", ["packed", "native"])
def test_streaming_and_resident_images_are_the_same_batches(
    name: str, n_threads: int, request: pytest.FixtureRequest
) -> None:
    items = items_of(request.getfixturevalue(name))
    faces, labels = Faces(items, SIZE, "BGR"), np.arange(len(items)) % 3
    order = Order(len(items), 16, "shuffled", 1)
    feeds = [
        feed_of(faces, labels, CPU, keep=keep, n_threads=n_threads) for keep in get_args(Keep)[1:]
    ]
    for start in (0, 4):
        pairs = zip(*(feed.batches(order, start) for feed in feeds), strict=True)
        for k, ((a, a_labels), (b, b_labels)) in enumerate(islice(pairs, 6), start):
            numbers = order.batch(k)[0]
            assert torch.equal(a, b)
            assert a_labels.tolist() == b_labels.tolist() == labels[numbers].tolist()
            wanted = np.stack([pixels_of(faces, int(number)) for number in numbers])
            assert np.array_equal(a.numpy(), wanted)
    for feed in feeds:
        found = [(pixels.clone(), truth.clone()) for pixels, truth in feed.in_order(16)]
        assert [len(truth) for _, truth in found] == [16, 16, 7]
        assert torch.cat([truth for _, truth in found]).tolist() == labels.tolist()
        everything = torch.cat([pixels for pixels, _ in found]).numpy()
        assert np.array_equal(everything[38], pixels_of(faces, 38))


def test_images_are_kept_as_asked(packed: Path) -> None:
    faces, labels = Faces(items_of(packed), SIZE, "RGB"), np.zeros(39, np.int64)
    changed = Faces(faces.items, SIZE, "RGB", lambda image, _, __: image)
    kinds = {
        (keep, one is changed): type(feed_of(one, labels, CPU, keep=keep, n_threads=1))
        for keep in ("auto", "memory", "stream")
        for one in (faces, changed)
    }
    resident = {("auto", False), ("memory", False)}
    assert {key for key, kind in kinds.items() if kind is Resident} == resident


def test_an_unreadable_image_ends_a_stream_with_its_error(packed: Path) -> None:
    def fails(*_: object) -> Any:
        raise StorageError("gone")

    faces = Faces(items_of(packed), SIZE, "RGB", fails)
    stream = Streaming(faces, np.zeros(39, np.int64), CPU, 2)
    with pytest.raises(StorageError, match="gone"):
        next(stream.batches(Order(39, 16, "caffe", 0), 0))


def test_drawn_operations_depend_on_epoch_and_seed_but_on_no_thread(native: Path) -> None:
    recipe = chosen_recipe(request_of(native, degrade=["jp-mix", "gb-mix"]))
    items, labels = items_of(native), np.zeros(39, np.int64)
    drawn: dict[tuple[int, int], Any] = {}
    for seed in (0, 1):
        faces = Faces(items, SIZE, "RGB", _transform(recipe, seed))
        for n_threads in (1, 2, 5):
            stream = Streaming(faces, labels, CPU, n_threads)
            order = Order(39, 39, "caffe", 0)
            epochs = [pixels.clone() for pixels, _ in islice(stream.batches(order, 0), 2)]
            if (seed, n_threads) == (0, 1):
                assert not torch.equal(epochs[0], epochs[1])
            for epoch, pixels in enumerate(epochs):
                assert torch.equal(drawn.setdefault((seed, epoch), pixels), pixels)
    assert not torch.equal(drawn[0, 0], drawn[1, 0])
    plain = Faces(items, SIZE, "RGB")
    assert not np.array_equal(drawn[0, 0][0].numpy(), pixels_of(plain, 0))


def test_operations_work_on_native_pixels_before_they_are_resized(native: Path) -> None:
    recipe = chosen_recipe(request_of(native, degrade=["gb:3"]))
    faces = Faces(items_of(native), SIZE, "RGB", _transform(recipe, 0))
    corpus, sample = faces.items[5]
    rows_, image = [0.25, 0.5, 0.25], corpus.image(sample).astype(np.float64)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    blurred = sum(
        a * b * padded[y : y + 64, x : x + 56]
        for y, a in enumerate(rows_)
        for x, b in enumerate(rows_)
    )
    wanted = resize(np.floor(np.asarray(blurred) + 0.5).astype(np.uint8), SIZE)
    got = pixels_of(faces, 5)
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1


def test_images_have_the_range_of_the_network() -> None:
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat(2, 4, 4, 1)
    for spec, wanted in (
        (BGR_255, [0, 51, 255]),
        (RGB_UNIT, [0, 0.2, 1]),
        (RGB_SIGNED, [-1, -0.6, 1]),
    ):
        images = prepare(levels, spec)
        assert images.shape == (2, 3, 4, 4)
        assert images.dtype == torch.float32
        assert images[0, :, 1, 2].tolist() == pytest.approx(wanted, abs=1e-6)
    assert levels.dtype == torch.uint8


# --- files of a run --------------------------------------------------------------------------


def test_equal_tensors_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, 3, 2, 2)}
    facts = {"z": 1, "iteration": 3, "best": {"y": 0.1, "x": None}}
    paths = [tmp_path / name for name in ("one", "two", "three")]
    write_tensors(paths[0], tensors, facts)
    shuffled = {name: tensors[name].clone() for name in sorted(tensors)}
    shuffled["a"] = shuffled["a"].to(memory_format=torch.channels_last)
    write_tensors(paths[1], shuffled, dict(reversed(facts.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    shuffled["b"][0, 0] = 1e-30
    write_tensors(paths[2], shuffled, facts)
    assert paths[0].read_bytes() != paths[2].read_bytes()
    found, told = read_tensors(paths[0])
    assert told == facts
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.fixture(scope="module")
def finished(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    train(request_of(packed), out)
    return out


def copy_of(run: Path, to: Path) -> Path:
    to.mkdir()
    for path in run.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.mark.parametrize("kept", [0, 4, 8, 60, 5000, -1])
def test_truncated_weights_are_refused(finished: Path, tmp_path: Path, kept: int) -> None:
    run = copy_of(finished, tmp_path / "copy")
    path = run / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"weights\.safetensors: damaged"):
        read_weights(run)


def test_other_files_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"\x80\x02pickle" * 100)
    with pytest.raises(WeightsError, match="damaged, or no safetensors file"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "absent")


def test_runs_of_other_versions_and_damaged_ones_are_refused(
    finished: Path, tmp_path: Path
) -> None:
    run = copy_of(finished, tmp_path / "copy")
    row = json.loads((run / "run.json").read_text())
    assert row["format"] == 1
    for text, message in (
        (json.dumps({**row, "format": 2}), "run format must be 1, got 2"),
        ("[]", "run format must be 1, got None"),
        ("{", "cannot be read"),
        (json.dumps({k: v for k, v in row.items() if k != "classes"}), "damaged"),
        (json.dumps({k: v for k, v in row.items() if k != "size"}), "damaged"),
        (json.dumps({**row, "more": 1}), "damaged"),
    ):
        (run / "run.json").write_text(text)
        with pytest.raises(WeightsError, match=message):
            read_run(run)
    with pytest.raises(WeightsError, match=r"no run: it holds no run\.json"):
        read_run(tmp_path)


# --- training --------------------------------------------------------------------------------


def interrupt(_: Trainer) -> None:
    raise KeyboardInterrupt


def ctrl_c(_: Trainer) -> None:
    signal.raise_signal(signal.SIGINT)


KINDS: dict[str, dict[str, Any]] = {
    "amtennet": {"network": "amtennet"},
    "meso4": {"network": "meso4", "recipe": "meso4-native", "select": "loss"},
    "mislnet": {"network": "mislnet", "select": "last"},
    "modern": {"recipe": "modern", "degrade": ["jp-mix"], "replicas": 2},
}


@pytest.fixture(scope="module")
def uninterrupted(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    found = {}
    for name, changes in KINDS.items():
        train(request_of(packed, **changes), folder / name)
        found[name] = result_of(folder / name)
    return found


@pytest.mark.parametrize("how", [fail, interrupt])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
@pytest.mark.parametrize("name", KINDS)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any], name: str, seconds: float,
    how: Callable[[Trainer], None],
) -> None:  # fmt: skip
    out, request = tmp_path / "run", request_of(packed, **KINDS[name])
    for iteration in (2, 5, 9, 11):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "_CHECKPOINT_SECONDS", seconds)
            stop_at(patch, iteration, how)
            with pytest.raises((StopError, KeyboardInterrupt)):
                train(request, out)
        saved = partial_path(out) / "run" / training.CHECKPOINT_FILE
        at = read_tensors(saved)[1]["iteration"] if saved.exists() else 0
        assert at == (iteration if seconds == 0 else iteration // 5 * 5)
    train(request, out)
    assert result_of(out) == uninterrupted[name]
    assert not partial_path(out).exists()
    assert sorted(path.name for path in out.iterdir()) == [
        "groups.json", "metrics.jsonl", "run.json", "weights.safetensors",
    ]  # fmt: skip


def test_the_first_ctrl_c_waits_for_the_step_and_saves(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["meso4"])
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 7, ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train(request, out)
    assert signal.getsignal(signal.SIGINT) is before
    saved = partial_path(out) / "run" / training.CHECKPOINT_FILE
    assert read_tensors(saved)[1]["iteration"] == 8
    train(request, out)
    assert result_of(out) == uninterrupted["meso4"]


def test_images_in_memory_and_streamed_teach_the_same(
    native: Path, packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    for data, keep in ((packed, "stream"), (packed, "memory"), (native, "stream")):
        out = tmp_path / f"{data.name}-{keep}"
        train(request_of(data, keep=keep), out)
        assert result_of(out) == uninterrupted["amtennet"]


def test_another_seed_is_another_run(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    train(request_of(packed, seed=1), tmp_path / "run")
    assert result_of(tmp_path / "run")[0] != uninterrupted["amtennet"][0]


def test_another_command_may_not_go_on_with_it(packed: Path, native: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begin(request_of(packed), out)
    for changes, message in (
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"base_lr": 1e-3}, "recipe.base_lr was 0.0001, is now 0.001"),
        ({"task": "binary"}, "task was 'multi', is now 'binary'"),
        ({"threads": 2}, "threads was 1, is now 2"),
        ({"network": "amten-3"}, "recipe.network was 'amtennet', is now 'amten-3'"),
    ):
        with pytest.raises(StorageError, match=message):
            train(request_of(packed, **changes), out)
    with pytest.raises(StorageError, match="data was"):
        train(request_of(native), out)
    train(request_of(packed), out)
    with pytest.raises(StorageError, match="already exists"):
        train(request_of(packed), out)


def test_a_damaged_checkpoint_is_refused_by_name(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = begin(request_of(packed), out)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: no whole .*damaged"):
        train(request_of(packed), out)
    tensors, facts = read_tensors(begin(request_of(packed), tmp_path / "other"))
    for wrong, told in (
        ({k: v for k, v in tensors.items() if k != "net:conv4.weight"}, facts),
        ({k: v for k, v in tensors.items() if k != "losses"}, facts),
        (tensors | {"net:conv4.weight": torch.zeros(3)}, facts),
        (tensors, {}),
    ):
        write_tensors(path, wrong, told)
        with pytest.raises(
            WeightsError, match=r"(?s)no whole checkpoint of this training: .*Delete .*anew"
        ):
            train(request_of(packed), out)
    path.write_bytes(whole)
    train(request_of(packed), out)


def test_a_checkpoint_without_the_solver_is_refused(packed: Path, tmp_path: Path) -> None:
    path = begin(request_of(packed), tmp_path / "run")
    tensors, facts = read_tensors(path)
    write_tensors(path, {k: v for k, v in tensors.items() if "solver" not in k}, facts)
    with pytest.raises(WeightsError, match="no whole checkpoint of this training"):
        train(request_of(packed), tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors.tmp", "weights.safetensors.tmp", "metrics.jsonl"]
)
def test_a_full_disk_costs_nothing_that_was_there(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any], name: str
) -> None:
    out, request = tmp_path / "run", request_of(packed, select="loss", network="meso4",
                                                recipe="meso4-native")  # fmt: skip
    path = begin(request, out)
    lines, checkpoint = path.with_name("metrics.jsonl").read_bytes(), path.read_bytes()
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
    assert path.read_bytes() == checkpoint
    assert path.with_name("metrics.jsonl").read_bytes().startswith(lines)
    assert not list(path.parent.glob("*.tmp"))
    train(request, out)
    assert result_of(out) == uninterrupted["meso4"]


def test_a_full_disk_at_the_start_costs_no_metrics(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed)
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
    assert result_of(out) == uninterrupted["amtennet"]


def test_a_finished_training_that_cannot_be_named_is_not_begun_anew(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    out, request = tmp_path / "run", request_of(packed)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 9, lambda _: out.mkdir())
        with pytest.raises(StorageError, match="Move it away and run the command again"):
            train(request, out)
    out.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 0, fail)
        train(request, out)
    assert result_of(out) == uninterrupted["amtennet"]


def test_metrics_behind_the_checkpoint_are_cut_off(packed: Path, tmp_path: Path) -> None:
    out, request = tmp_path / "run", request_of(packed, **KINDS["amtennet"])
    path = begin(request, out).with_name("metrics.jsonl")
    with path.open("ab") as file:
        file.write(b'{"iteration":8,"loss":1.0,"rate":1.0}\n{"iteration":9,"lo')
    train(request, out)
    found = rows(out / "metrics.jsonl")
    assert [(row["iteration"], "loss" in row) for row in found] == [
        (4, True), (5, False), (8, True), (10, False), (12, True), (12, False),
    ]  # fmt: skip
    assert all(row["rate"] == 1e-4 for row in found if "loss" in row)


@pytest.mark.parametrize("select", ["last", "loss", "accuracy"])
def test_the_weights_kept_are_those_that_the_recipe_selects(
    packed: Path, tmp_path: Path, select: str
) -> None:
    out = tmp_path / "run"
    _, run = train(request_of(packed, select=select, val_interval=1, base_lr=1e-3), out)
    found = [row for row in rows(out / "metrics.jsonl") if "val_loss" in row]
    assert run.result is not None
    selected = run.result["selected"]
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
        measured = measure(EvalRequest((out,), (str(packed),), "val", n_resamples=0)).measured[0]
        accuracy = measured.evaluation.frame.estimates["accuracy"].value
        assert accuracy == pytest.approx(selected["val_accuracy"])


PATIENT = {"val_interval": 2, "base_lr": 1e-2, "max_iterations": 40}  # a rate that soon overshoots


@pytest.fixture(scope="module")
def impatient(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What val says of a training that nothing ends early."""
    out = tmp_path_factory.mktemp("impatient") / "run"
    _, run = train(request_of(packed, **PATIENT, select="loss"), out)
    assert run.result is not None
    assert not run.result["stopped_early"]
    return [row for row in rows(out / "metrics.jsonl") if "val_loss" in row]


def wanted_end(found: list[dict[str, Any]], patience: int) -> int:
    """Return how many looks a training takes that ends after some without a lower loss."""
    losses = [row["val_loss"] for row in found]
    for n in range(patience + 1, len(losses) + 1):
        if min(losses[n - patience : n]) >= min(losses[: n - patience]):
            return n
    return len(losses)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_ends_a_training_that_gets_no_better(
    packed: Path, tmp_path: Path, impatient: list[dict[str, Any]], patience: int
) -> None:
    n = wanted_end(impatient, patience)
    assert patience < n < len(impatient)
    request = request_of(packed, **PATIENT, select="loss", patience=patience)
    _, run = train(request, tmp_path / "run")
    assert run.result is not None
    best = min(impatient[:n], key=lambda row: row["val_loss"])
    assert {k: run.result[k] for k in ("iterations", "stopped_early", "selected")} == {
        "iterations": 2 * n, "stopped_early": True, "selected": best,
    }  # fmt: skip
    found = [row for row in rows(tmp_path / "run/metrics.jsonl") if "val_loss" in row]
    assert found == impatient[:n]
    assert read_tensors(tmp_path / "run/weights.safetensors")[1] == best


def test_patience_is_counted_across_interruptions(
    packed: Path, tmp_path: Path, impatient: list[dict[str, Any]]
) -> None:
    last = 2 * wanted_end(impatient, 2)
    request = request_of(packed, **PATIENT, select="loss", patience=2)
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


def test_a_mean_of_losses_is_that_of_the_steps(packed: Path, tmp_path: Path) -> None:
    train(request_of(packed, log_interval=1, select="last"), tmp_path / "each")
    train(request_of(packed, log_interval=5, select="last"), tmp_path / "mean")
    each = [row["loss"] for row in rows(tmp_path / "each/metrics.jsonl")]
    mean = {row["iteration"]: row["loss"] for row in rows(tmp_path / "mean/metrics.jsonl")}
    wanted = {5: np.mean(each[:5]), 10: np.mean(each[5:10]), 12: np.mean(each[10:])}
    assert mean == pytest.approx(wanted)


def test_a_separable_set_is_learned(packed: Path, tmp_path: Path) -> None:
    request = request_of(packed, base_lr=1e-4, max_iterations=60, val_interval=20, batch_size=16)
    _, run = train(request, tmp_path / "run")
    assert run.result is not None
    assert run.result["selected"]["val_accuracy"] >= 0.9


def test_a_training_of_no_iterations_keeps_the_first_weights(packed: Path, tmp_path: Path) -> None:
    _, run = train(request_of(packed, max_iterations=0), tmp_path / "run")
    assert run.result is not None
    assert run.result["iterations"] == 0
    assert read_weights(tmp_path / "run")


def test_a_corpus_without_val_is_refused_with_advice(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"train": 3, "test": 1})
    with pytest.raises(CorpusError, match=r"no sample is val; .*--set select=last"):
        train(request_of(data), tmp_path / "run")
    train(request_of(data, select="last"), tmp_path / "other")


@pytest.mark.parametrize(
    ("wrong", "advised"),
    [
        ({"select": "accuracy"}, {"select": "last"}),
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
    train(request_of(data, **advised), tmp_path / "run")


def test_a_corpus_without_train_is_refused(tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"val": 2, "test": 2})
    with pytest.raises(CorpusError, match="no sample is train; `hffkit inspect` counts them"):
        train(request_of(data), tmp_path / "run")
    assert not partial_path(tmp_path / "run").exists()


def test_one_class_is_refused(packed: Path, tmp_path: Path) -> None:
    data = copy_of(packed, tmp_path / "data")

    def only_fake(found: list[dict[str, Any]]) -> None:
        for row in found:
            row["split"] = "train" if row["cls"] != "real" else "test"

    change_manifest(data, only_fake)
    with pytest.raises(CorpusError, match="training samples are all 'fake'"):
        train(request_of(data, task="binary"), tmp_path / "run")
    assert not partial_path(tmp_path / "run").exists()


def test_classes_that_the_network_does_not_know_are_refused(finished: Path, tmp_path: Path) -> None:
    data = native_corpus(tmp_path, {"test": 3}, ("grid", "stranger"))
    with pytest.raises(CorpusError, match=r"class 'stranger' \(real\) is none .*--task binary"):
        measure(EvalRequest((finished,), (str(data),), n_resamples=0))
    found = measure(EvalRequest((finished,), (str(data),), task="binary", n_resamples=0))
    assert len(found.measured[0].items) == 6


def test_a_loss_that_is_no_number_ends_the_training_with_advice(
    packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"The loss is nan .*metrics.*--set base_lr=1e\+29,"):
        train(request_of(packed, base_lr=1e30), tmp_path / "run")


def test_a_checkpoint_from_before_the_loss_was_lost_survives(
    packed: Path, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    def poison(trainer: Trainer) -> None:
        with torch.no_grad():
            next(trainer.net.parameters()).fill_(math.nan)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
        stop_at(patch, 6, poison)
        with pytest.raises(TrainingError, match="The loss is nan by iteration 7"):
            train(request_of(packed), out)
    path = partial_path(out) / "run" / training.CHECKPOINT_FILE
    tensors, facts = read_tensors(path)
    assert facts["iteration"] == 6
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    train(request_of(packed), out)
    assert result_of(out) == uninterrupted["amtennet"]


def test_weights_that_are_no_numbers_are_not_kept(packed: Path, tmp_path: Path) -> None:
    def poison(trainer: Trainer) -> None:
        with torch.no_grad():
            next(trainer.net.parameters()).fill_(math.nan)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 4, poison)
        with pytest.raises(TrainingError):
            train(request_of(packed), out)
    weights = partial_path(out) / "run" / "weights.safetensors"
    assert not weights.exists() or all(
        bool(value.isfinite().all()) for value in read_tensors(weights)[0].values()
    )


# --- first weights, devices, threads, the constraint -----------------------------------------


def test_training_begins_with_the_weights_of_a_run(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    request = request_of(packed, init=finished, max_iterations=0, seed=5)
    _, run = train(request, tmp_path / "run")
    assert run.made["init"]["not_taken"] == []
    assert run.made["init"]["path"] == str(finished)
    old, new = read_weights(finished), read_weights(tmp_path / "run")
    assert all(torch.equal(old[name], value) for name, value in new.items())
    file = finished / "weights.safetensors"
    train(replace(request, init=file), tmp_path / "file")
    again = read_weights(tmp_path / "file")
    assert all(torch.equal(old[name], value) for name, value in again.items())


def test_a_last_layer_with_other_outputs_is_not_taken(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    request = request_of(packed, init=finished, task="binary", max_iterations=0)
    _, run = train(request, tmp_path / "run")
    assert run.classes.names == ("fake", "real")
    assert run.made["init"]["not_taken"] == ["fc_net_2.bias", "fc_net_2.weight"]
    old, new = read_weights(finished), read_weights(tmp_path / "run")
    assert new["fc_net_2.weight"].shape == (2, 300)
    assert all(torch.equal(old[n], v) for n, v in new.items() if not n.startswith("fc_net_2."))


def test_training_begins_with_the_weights_of_caffe(
    data: Path, native: Path, tmp_path: Path
) -> None:
    from hffkit.interop.caffemodel import read_caffemodel

    file = data / "golden/caffe-amtennet/init_iter_0.caffemodel"
    request = request_of(native, init=file, task="binary", max_iterations=0, size=128)
    _, run = train(request, tmp_path / "run")
    assert run.made["init"]["not_taken"] == []
    blobs, new = read_caffemodel(file), read_weights(tmp_path / "run")
    for layer in ("conv1", "conv4", "fc_net_0", "fc_net_2"):
        assert np.array_equal(new[f"{layer}.weight"].numpy(), blobs[layer][0])
        assert np.array_equal(new[f"{layer}.bias"].numpy(), blobs[layer][1])


def test_weights_of_another_network_are_refused(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    for network in ("meso4", "amten-3", "model-base"):
        request = request_of(packed, network=network, init=finished)
        with pytest.raises(WeightsError, match=f"weights of another network than {network}"):
            train(request, tmp_path / network)
    for name, path in (("absent", tmp_path / "nowhere"), ("text", tmp_path / "notes.txt")):
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(WeightsError):
            train(request_of(packed, init=path), tmp_path / name)


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "cuda:x", "", "cpu cuda", "meta"])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="--device"):
        device_named(name)


def test_the_automatic_device_is_the_gpu_where_there_is_one() -> None:
    assert device_named("cpu").type == "cpu"
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


X86 = {"avx2": True, "avx512_bf16": False, "amx_bf16": False, "avx_ne_convert": False}


@pytest.mark.parametrize("has", [X86, {"neon": True, "bf16": False}])
def test_bf16_is_refused_where_a_processor_can_only_emulate_it(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: dict[str, bool]
) -> None:
    monkeypatch.setattr(devices, "_capabilities", lambda: has)
    with pytest.raises(
        ArgumentError, match=r"^precision must be fp32 .* 6\.4 images/s instead of 60"
    ):
        train(request_of(packed, precision="bf16"), tmp_path / "run")
    assert not list(tmp_path.iterdir())
    devices.check_bf16(torch.device("cuda"))


@pytest.mark.parametrize(
    "has", [X86 | {"amx_bf16": True}, {"bf16": True}, {"architecture": "s390x"}, {}]
)
def test_bf16_is_tried_on_all_other_processors(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool]
) -> None:
    monkeypatch.setattr(devices, "_capabilities", lambda: has)
    devices.check_bf16(torch.device("cpu"))


def test_pytorch_names_the_instructions_that_linux_names() -> None:
    found = devices._capabilities()
    if not found:
        pytest.skip("this PyTorch does not name them")
    words = Path("/proc/cpuinfo").read_text("utf-8").split()
    assert all(found[name] for name in devices._BF16 if name in words)


def test_threads_are_recorded_and_kept_when_it_goes_on(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    torch.set_num_threads(2)
    path = begin(request_of(packed, threads=None), out)
    assert read_tensors(path)[1]["threads"] == 2
    torch.set_num_threads(1)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 7, lambda _: seen.append(torch.get_num_threads()))
        train(request_of(packed, threads=None), out)
    assert seen == [2]


def test_the_threads_recorded_are_those_that_were_used(packed: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    begin(request_of(packed, threads=None), tmp_path / "run")
    torch.set_num_threads(1)
    _, run = train(request_of(packed, threads=None), tmp_path / "run")
    assert run.made["threads"] == 2


@pytest.mark.parametrize("select", ["last", "loss"])
def test_saved_weights_of_mislnet_meet_its_constraint(
    packed: Path, tmp_path: Path, select: str
) -> None:
    train(request_of(packed, network="mislnet", select=select), tmp_path / "run")
    weight = read_weights(tmp_path / "run")["convF.weight"].double()
    assert weight.shape == (3, 3, 5, 5)
    assert torch.equal(weight[..., 2, 2], torch.full((3, 3), -1.0).double())
    assert torch.allclose(weight.sum((2, 3)) + 1, torch.ones(3, 3).double(), atol=1e-5)


def test_what_made_a_run_is_in_it(packed: Path, tmp_path: Path) -> None:
    _, run = train(request_of(packed, seed=3, task="binary"), tmp_path / "run")
    corpus = Corpus(packed)
    assert read_run(tmp_path / "run") == run
    assert run.made["data"][0]["content_sha256"] == corpus.content_sha256
    assert run.made["seed"] == 3
    assert run.made["recipe"]["base_lr"] == 1e-4
    assert run.made["overrides"]["size"] == SIZE
    assert run.made["versions"]["torch"] == torch.__version__
    assert run.input == {"colour": "BGR", "low": 0, "high": 255}
