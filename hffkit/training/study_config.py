"""Settings files of the facial parts study, as the values of a training recipe.

The study, "Fake Face Detection: Which facial parts are CNNs looking?", reads its settings from
YAML files such as configs/ResNet.yaml.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hffkit.errors import RecipeError
from hffkit.fields import shown
from hffkit.input_files import read_text
from hffkit.json_types import JsonObject

SUFFIXES = (".yaml", ".yml")
RECIPES = {
    "ResNet": "resnet18",
    "VGG": "vgg11-bn",
    "DenseNet": "densenet121",
    "EfficientNet": "efficientnet-b0",
}  # by the study's names of networks
_MAX_BYTES = 1 << 16
_MAX_LISTS = 64
_MOST = 1e9  # of a setting
_EVERY_EPOCH = 10**9  # iterations: `TrainRecipe.for_samples` validates each epoch at the latest
# Settings that no recipe has: where files are, and what the study's training does not read.
_LEFT_OUT = [
    "seed",
    "device",
    "data",
    "model",
    "checkpoint",
    "test_checkpoint",
    "experiment",
    "prefix",
    "num_workers",
    "print_epochs",
    "dropout_rate",
]


def read_study_config(path: Path) -> JsonObject:
    """Return a settings file.

    Raises
    ------
    RecipeError
        If it cannot be read or is no YAML, or if PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise RecipeError(f'{path}: needs PyYAML. Run: pip install -e ".[yaml]"') from None
    text = read_text(path, RecipeError, _MAX_BYTES)
    try:
        if text.count("[") + text.count("{") > _MAX_LISTS:  # PyYAML needs their square in time
            raise ValueError(f"it has more than {_MAX_LISTS} lists and tables in brackets")
        events = [type(event) for event in yaml.parse(text, yaml.SafeLoader)]
        # Aliases could repeat a value without end.
        if yaml.AliasEvent in events or events.count(yaml.SequenceStartEvent) > _MAX_LISTS:
            raise ValueError(f"it has aliases, or more than {_MAX_LISTS} lists")
        if events.count(yaml.MappingStartEvent) > _MAX_LISTS:
            raise ValueError(f"it has more than {_MAX_LISTS} tables")
        rows = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(rows, dict):
        raise RecipeError(f"{path}: must have settings such as network: ResNet.")
    return rows


def recipe_name_of(rows: Mapping[str, Any], where: Path) -> str:
    """Return the name of the recipe of hffkit for the network of a settings file."""
    name = rows.get("network")
    if not isinstance(name, str) or name not in RECIPES:
        raise RecipeError(
            f"{where}: network must be one of {', '.join(RECIPES)}, got {shown(name)}."
        )
    return RECIPES[name]


def note_on(path: Path) -> str:
    """Return a remark on the settings of a file that must be given as arguments of their own."""
    rows = read_study_config(path)
    model = rows.get("model")
    notes = ["give the data, with its splits, as `data`"]
    if rows.get("seed") is not None:
        notes.append(f"its seed as `seed` {shown(rows['seed'])}")
    if isinstance(model, dict) and model.get("pretrained"):
        notes.append("torchvision's weights as `init`, since it trains a pretrained network")
    return f"{path}: {', and '.join(notes)}. Its other paths are not used."


def with_settings(recipe: JsonObject, rows: Mapping[str, Any], where: Path) -> JsonObject:
    """Return the values of a recipe with those of a settings file in their place.

    Raises
    ------
    RecipeError
        If a setting is unknown, or has a value that the study's program does not support.
    """
    size, optimizer = _table(rows, "input_size", where), _table(rows, "optimizer", where)
    known = {"network", "input_size", "optimizer", "batch_size", "num_epochs"}
    known |= {"EARLY_STOPPING_EPOCH", *_LEFT_OUT}
    unknown = [str(name) for name in rows if name not in known]
    if unknown:
        raise RecipeError(f"{where}: unknown {', '.join(unknown)}.")
    if optimizer.get("type") != "Adam":
        raise RecipeError(
            f"{where}: optimizer.type must be Adam, got {shown(optimizer.get('type'))}."
        )
    height, width = (_number(size, name, where) for name in ("height", "width"))
    if height != width:
        raise RecipeError(f"{where}: input_size must be square, got {height:g} x {width:g}.")
    values = {name: value for name, value in recipe.items() if name != "max_iterations"}
    return values | {
        "size": int(height),
        "base_lr": _number(optimizer, "lr", where),
        "weight_decay": _number(optimizer, "weight_decay", where),
        "batch_size": int(_number(rows, "batch_size", where)),
        "epochs": _number(rows, "num_epochs", where),
        "patience": int(_number(rows, "EARLY_STOPPING_EPOCH", where)),
        "val_interval": _EVERY_EPOCH,  # so that the patience counts epochs
    }


def _table(rows: Mapping[str, Any], name: str, where: Path) -> Mapping[str, Any]:
    found = rows.get(name)
    if not isinstance(found, dict):
        raise RecipeError(f"{where}: {name} must have settings of its own.")
    return found


def _number(rows: Mapping[str, Any], name: str, where: Path) -> float:
    """Return a number; YAML takes 1e-4, without a dot, for text."""
    value = rows.get(name)
    try:
        if isinstance(value, int | float | str) and abs(number := float(value)) <= _MOST:
            return number
    except (ValueError, OverflowError):
        pass
    raise RecipeError(f"{where}: {name} must be a number, got {shown(value)}.")
