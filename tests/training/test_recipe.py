"""Recipes of trainings: the packaged ones, files, overrides, and refusals."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hffkit.errors import ArgumentError, RecipeError, UnknownNameError
from hffkit.training.recipe import parse_override, read_recipe, recipe_names, recipe_of
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.study_config import note_on

ROOT = Path(__file__).parents[2]
PAPER = ("amtennet", "model-base", "meso4", "mesoinception4", "mislnet", "xception",
         "handcrafted-res", "srm-model-base", "handcrafted-res-model-base", "amten-1")  # fmt: skip
RECIPES = sorted((ROOT / "recipes/train").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_packaged_recipe_is_sound(path: Path) -> None:
    recipe = recipe_of(read_recipe(path), path.name)
    assert recipe_of(recipe.to_json(), "again") == recipe
    assert path.stem in recipe_names()
    request = TrainRequest(("x",), recipe=path.stem)
    assert chosen_recipe(request) == recipe


@pytest.mark.parametrize("name", ["resnet18", "vgg11-bn", "densenet121", "efficientnet-b0"])
def test_the_rate_falls_as_in_the_program_of_the_facial_parts_study(name: str) -> None:
    """Its schedule, of 5 steps, is stepped after the training and after the val of an epoch."""
    recipe, per_epoch = chosen_recipe(TrainRequest(("x",), network=name)), 16_000 // 32
    falls = [epoch + 1 for epoch in range(20) for step in (1, 2) if (2 * epoch + step) % 5 == 0]
    assert falls[:4] == [3, 5, 8, 10]
    rates = [recipe.rate(iteration) for iteration in range(20 * per_epoch)]
    ours = [i / per_epoch for i in range(1, len(rates)) if rates[i] < rates[i - 1]]
    assert ours == pytest.approx(falls[: len(ours)], abs=0.5)
    assert len(ours) == 7
    assert rates[per_epoch * 4] == pytest.approx(1e-5)
    assert (recipe.network, recipe.size, recipe.batch_size) == (name, 224, 32)
    assert (recipe.max_iterations, recipe.val_interval) == (20 * per_epoch, per_epoch)


STUDY = """
network: "VGG"
seed: 42
device: 'cuda'
data:
  train: "data/train.csv"
  random_split: True # comment
input_size:
  height: 192
  width: 192
model:
  pretrained: True
optimizer:
  type: 'Adam' # Adam, Adadelta
  lr: 3e-4
  weight_decay: 1e-3
checkpoint: ""
prefix: "./log/VGG"
batch_size: 16
num_workers: 8
num_epochs: 12
print_epochs: 1
dropout_rate: 0.1
EARLY_STOPPING_EPOCH: 4
"""


def test_settings_of_the_facial_parts_study_are_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "VGG.yaml"
    path.write_text(STUDY)
    found = chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    own = chosen_recipe(TrainRequest(("x",), network="vgg11-bn"))
    assert found == replace(
        own, size=192, base_lr=3e-4, weight_decay=1e-3, batch_size=16, epochs=12.0,
        max_iterations=None, patience=4, val_interval=10**9,
    )  # fmt: skip
    assert found.for_samples(1600).n_iterations == 12 * 100
    for n in (1600, 16_000):  # so that the patience counts epochs
        assert found.for_samples(n).val_interval == n // 16
    assert note_on(path) == (
        f"{path}: give the data, with its splits, as `data`, and its seed as `seed` 42, and "
        "torchvision's weights as `init`, since it trains a pretrained network. Its other paths "
        "are not used."
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"VGG"', '"AlexNet"', "network must be one of ResNet, VGG, DenseNet, EfficientNet, got"),
        ("'Adam'", "'Adadelta'", "optimizer.type must be Adam, got 'Adadelta'"),
        ("width: 192", "width: 256", "input_size must be square, got 192 x 256"),
        ("lr: 3e-4", "lr: fast", "lr must be a number, got 'fast'"),
        ("num_epochs: 12", "", "num_epochs must be a number, got null"),
        ("seed: 42", "seeds: 42", "unknown seeds"),
        ("optimizer:", "optimizer: 3\nmodel:", "optimizer must have settings of its own"),
        ('network: "VGG"', "network: [", "cannot be read: while parsing"),
        (STUDY, "3", "must have settings such as network: ResNet"),
    ],
)
def test_wrong_settings_of_the_study_are_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "x.yaml"
    assert old in STUDY
    path.write_text(STUDY.replace(old, new))
    with pytest.raises(RecipeError, match=re.escape(f"{path}: {message}")):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))


def test_a_network_without_a_recipe_takes_that_of_amtennet() -> None:
    found = chosen_recipe(TrainRequest(("x",), network="AMTEN_3"))
    assert found == replace(chosen_recipe(TrainRequest(("x",))), network="amten-3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, r"mine: unknown seed\. Known: network, size"),
        ({"gamma": None}, r"mine: missing gamma\. Every key is required"),
        ({"base_lr": "fast"}, "mine: base_lr must be a number, got 'fast'"),
        ({"size": True}, "mine: size must be a whole number, got true"),
        ({"size": 48.0}, "mine: size must be a whole number, got 48.0"),
        ({"base_lr": True}, "mine: base_lr must be a number, got true"),
        ({"solver": "sgd"}, "mine: solver must be one of caffe-sgd, adam, adamw, got 'sgd'"),
        ({"solver": ["adam"]}, "mine: solver must be one of"),
        ({"degrade": "jp-mix"}, "mine: degrade must be a list of operations"),
        ({"degrade": [1]}, "mine: degrade must be a list of operations"),
        ({"base_lr": 0.0}, "mine: base_lr must be above 0, at most 1e.30, got 0.0"),
        ({"base_lr": math.nan}, "mine: base_lr must be above 0, at most 1e.30, got nan"),
        ({"gamma": math.inf}, "mine: gamma must be from 0 to 1, got inf"),
        ({"momentum": 1.0}, "mine: momentum must be from 0 to below 1, got 1.0"),
        ({"batch_size": 0}, "mine: batch_size must be from 1 to 1048576, got 0"),
        ({"max_iterations": -1}, "mine: max_iterations must be from 0 to 1000000000000, got -1"),
        (
            {"max_iterations": None, "epochs": -0.5},
            "mine: epochs must be from 0 to 1e9, got -0.5",
        ),
        ({"max_iterations": None, "epochs": math.inf}, "mine: epochs must be from 0 to 1e9"),
        ({"max_iterations": None, "epochs": "10"}, "mine: epochs must be a number, got '10'"),
        ({"epochs": 10}, "mine: max_iterations or epochs must give the length .*, got both"),
        ({"max_iterations": None}, "mine: max_iterations or epochs must give .*, got neither"),
        ({"replicas": 3}, "mine: replicas must divide batch_size, got 3 and 64"),
        ({"patience": -1}, "mine: patience must be from 0 to 1000000000000, got -1"),
        ({"patience": 1.5}, "mine: patience must be a whole number, got 1.5"),
        ({"patience": 2, "select": "last"}, "mine: patience must be 0 where select is last, got 2"),
    ],
)
def test_impossible_recipes_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    values = read_recipe(ROOT / "recipes/train/modern.toml") | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(RecipeError, match=message):
        recipe_of(values, "mine")


# The paper trains 10 epochs in batches of 64: HFF (75 % of 155,000), the three sets of Table XI,
# and FF++. Rates are halved every 1,000 iterations.
@pytest.mark.parametrize(
    ("n", "n_iterations", "n_halvings"),
    [(116_250, 18_164, 18), (124_000, 19_375, 19), (165_000, 25_781, 25), (372_000, 58_125, 58),
     (100_000, 15_625, 15)],
)  # fmt: skip
def test_the_papers_networks_train_ten_epochs_of_their_own_set(
    n: int, n_iterations: int, n_halvings: int
) -> None:
    for name in PAPER:
        recipe = chosen_recipe(TrainRequest(("x",), network=name)).for_samples(n)
        assert (recipe.n_iterations, recipe.val_interval) == (n_iterations, 1000)
        assert recipe.step_size == 1000
        assert recipe.rate(recipe.n_iterations - 1) == pytest.approx(1e-3 / 2**n_halvings)


def test_epochs_of_a_small_set_are_validated_after_each_and_never_nothing() -> None:
    recipe = chosen_recipe(TrainRequest(("x",)))
    small = recipe.for_samples(2250)  # 35.2 batches an epoch
    assert (small.n_iterations, small.val_interval) == (352, 36)
    assert recipe.for_samples(3).n_iterations == 1
    none = chosen_recipe(TrainRequest(("x",), overrides=(("epochs", 0),)))
    assert none.for_samples(2250).n_iterations == 0
    assert recipe.for_samples(116_250).for_samples(3).n_iterations == 18_164  # resolved once
    with pytest.raises(ValueError, match=r"10\.0 epochs have no length"):
        _ = recipe.n_iterations


@pytest.mark.parametrize("name", ["amtennet", "small"])  # by epochs, by iterations
def test_an_override_of_the_length_replaces_either_kind(name: str) -> None:
    for override in ({"epochs": 2.5}, {"max_iterations": 70}):
        recipe = chosen_recipe(TrainRequest(("x",), recipe=name, overrides=tuple(override.items())))
        lengths = {"max_iterations": recipe.max_iterations, "epochs": recipe.epochs}
        assert {key: value for key, value in lengths.items() if value is not None} == override
    both = (("epochs", 2), ("max_iterations", 70))
    with pytest.raises(RecipeError, match=f"{name}: max_iterations or epochs .* got both"):
        chosen_recipe(TrainRequest(("x",), recipe=name, overrides=both))


def test_a_recipe_file_of_ones_own_is_read_and_its_errors_name_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (ROOT / "recipes/train/meso4.toml").read_text()
    path.write_text(text.replace("base_lr = 0.001", "base_lr = 1"))
    assert chosen_recipe(TrainRequest(("x",), recipe=str(path))).base_lr == 1.0
    path.write_text(text + "colour = 1\n")
    with pytest.raises(RecipeError, match=r"mine\.toml: unknown colour"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    path.write_text("network =")
    with pytest.raises(RecipeError, match=r"mine\.toml: no TOML"):
        chosen_recipe(TrainRequest(("x",), recipe=str(path)))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"mine\.toml: must be UTF-8"):
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
    assert parse_override("degrade=sc:+50+jp:60..90") == ("degrade", ["sc:+50", "jp:60..90"])
    assert parse_override("degrade=") == ("degrade", [])
    with pytest.raises(ArgumentError, match="'size' must be KEY=VALUE"):
        parse_override("size")
    with pytest.raises(ArgumentError, match=r"A recipe has no 'sice'\. Known: network, size"):
        parse_override("sice=3")
    with pytest.raises(RecipeError, match=r"amtennet: size must be a whole number, got 'big'"):
        chosen_recipe(TrainRequest(("x",), overrides=(parse_override("size=big"),)))
