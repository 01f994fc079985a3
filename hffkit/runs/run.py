"""Run folders, format 1: run.json, metrics and groups of a training; for the weights see `weights`.

A run.json may come from anybody, so everything that is read is checked.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from hffkit.errors import ArgumentError, HffkitError, Replacing, WeightsError, reason_of
from hffkit.fields import shown
from hffkit.input_files import is_there, read_json, read_object
from hffkit.json_types import JsonObject
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import json_text
from hffkit.media.files import sha256_of
from hffkit.media.image import CONVERT_IMAGESET, ResizeFilter
from hffkit.networks.names import canonical_name
from hffkit.networks.spec import Colour, InputSpec
from hffkit.storage.staging import partial_path, write_bytes_durably, write_durably

FORMAT = 1
_MAX_SIZE = 4096  # px
MAX_CLASSES = 1 << 12
RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
SPECTRUM = "spectrum"  # kind of a run without a network: see hffkit.runs.spectrum
METRICS_FILE = "metrics.jsonl"
GROUPS_FILE = "groups.json"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Outcome of a training; every field is None for converted weights."""

    iterations: int | None = None
    stopped_early: bool | None = None  # by the recipe's patience
    selected: Mapping[str, float] | None = None  # iteration and validation metrics of the weights
    seconds_of_last_start: float | None = None
    val_majority_accuracy: float | None = None  # of always naming the largest class of val

    def to_json(self) -> dict[str, object]:
        """Return the fields that are not None as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Run:
    """Description of a network's weights: how to use them and how they were made."""

    network: str  # a name of the table of networks
    size: int  # px of its images
    input: InputSpec
    classes: ClassTable  # of the outputs, numbered from 0
    made: Mapping[str, Any]  # verb, recipe, overrides, data, seed, versions, ...: JSON values
    result: TrainingResult | None = None  # None during the training
    weights_sha256: str | None = None  # None during the training, and in older runs

    def done(self, result: TrainingResult, folder: Path) -> "Run":
        """Return the run with its result, and the digest of the weights that `folder` has."""
        digest = sha256_of(folder / WEIGHTS_FILE)
        return replace(self, result=result, weights_sha256=digest)

    @property
    def summary(self) -> str:
        """Network and image size, as text."""
        return f"{self.network}, {self.size} px"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Origin and outcome as named values, for display."""
        result = self.result or TrainingResult()
        return [
            *facts_of(self.made),
            ("iterations", "" if result.iterations is None else str(result.iterations)),
            ("selected", values_text(result.selected)),
            ("versions", values_text(self.made.get("versions"))),
        ]

    @property
    def high_quality(self) -> str | None:
        """Quality for which the network has a head of its own; None without such a head."""
        recipe = self.made.get("recipe", self.made)  # converted weights have none
        metric = recipe.get("metric") if isinstance(recipe, dict) else None
        return metric.get("high") if isinstance(metric, dict) else None

    def to_json(self) -> dict[str, object]:
        """Return the run as JSON values."""
        result = None if self.result is None else self.result.to_json()
        row = {**asdict(self), "classes": self.classes.to_json(), "result": result}
        return {"format": FORMAT, **row}

    def write(self, folder: Path) -> None:
        """Write run.json."""
        write_row(folder, self.to_json())


def read_run(folder: Path) -> Run:
    """Return the run of a folder.

    Raises
    ------
    WeightsError
        If it is no run folder, a damaged one, of another version, or a run without a network.
    """
    row = read_row(folder)
    if row.get("kind") == SPECTRUM:
        raise WeightsError(
            f"{folder}: a run of `hffkit spectrum` has no network. Name a run of `hffkit train` "
            "or `hffkit convert`."
        )
    with reading(folder):
        check_row(row)
        # Before the filter was recorded, all images were resized by this one.
        row["input"] = {"filter": CONVERT_IMAGESET, **row["input"]}
        _check_network(row)
        del row["format"]
        row["input"] = InputSpec(**row["input"])
        row["classes"] = ClassTable.from_json(row["classes"])
        if row["result"] is not None:
            row["result"] = TrainingResult(**row["result"])
        return Run(**row)


def _check_network(row: Mapping[str, Any]) -> None:
    if not isinstance(row["network"], str):
        raise ValueError(f"network is {shown(row['network'])}")
    canonical_name(row["network"])
    if type(row["size"]) is not int or not 1 <= row["size"] <= _MAX_SIZE:
        raise ValueError(f"size is {shown(row['size'])}")
    classes, fed = row["classes"], row["input"]
    if not 0 < len(classes) <= MAX_CLASSES:
        raise ValueError(f"it must have from 1 to {MAX_CLASSES} classes, got {len(classes)}")
    if [each["id"] for each in classes] != list(range(len(classes))):
        raise ValueError("classes are not numbered from 0")
    if any((type(each["name"]), type(each["is_fake"])) != (str, bool) for each in classes):
        raise ValueError("a class has no name, or is neither fake nor real")
    levels = (fed["low"], fed["high"])
    is_number = all(type(level) in (int, float) and math.isfinite(level) for level in levels)
    is_range = is_number and fed["low"] < fed["high"]
    is_known = fed["colour"] in get_args(Colour) and fed["filter"] in get_args(ResizeFilter)
    if not is_known or not is_range:
        raise ValueError(f"input is {shown(fed)}")


def write_row(folder: Path, row: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_durably(folder / RUN_FILE, json_text(row))


def read_row(folder: Path) -> JsonObject:
    """Return run.json as JSON values.

    Raises
    ------
    WeightsError
        If there is none, or it is no JSON object of this format.
    """
    path = folder / RUN_FILE
    if not is_there(path):
        raise WeightsError(f"{folder}: {_lack(folder)}")
    row = read_object(path, WeightsError)
    version = row.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path}: run format must be {FORMAT}, got {shown(version)}. It was made by another "
            "version of hffkit; use that one."
        )
    return row


def checked_digest(path: Path, recorded: str | None) -> str:
    """Return the SHA-256 of the weights or the model of a run.

    Raises
    ------
    WeightsError
        If it is not the `recorded` one; None is of a run that is older than such records.
    """
    digest = sha256_of(path)
    if recorded not in (None, digest):
        raise WeightsError(
            f"{path}: altered or damaged: its SHA-256 is not the one in {RUN_FILE}. Copy the run "
            "again."
        )
    return digest


def check_runs(paths: Iterable[Path]) -> None:
    """Raise WeightsError if a folder is no run, before the imports that loading it needs."""
    for path in paths:
        read_row(path)


def check_different(paths: Iterable[Path]) -> None:
    """Raise ArgumentError if two paths are of one run."""
    known: dict[Path, Path] = {}
    for path in paths:
        place = path.resolve()
        if place in known:
            also = "" if known[place] == path else f", which is {known[place]},"
            raise ArgumentError(f"{path}{also} is named twice in `runs`. Name each run once.")
        known[place] = path


def copy_run(folder: Path, to: Path) -> None:
    """Copy the files of a run durably into the folder `to`, without those of folders in it."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            write_bytes_durably(to / path.name, path.read_bytes())


def reading(folder: Path) -> Replacing:
    """Turn errors of parsing run.json into a WeightsError that names the file."""

    def replacement(error: Exception) -> WeightsError:
        return WeightsError(f"{folder / RUN_FILE}: damaged: {reason_of(error).rstrip('.')}.")

    return Replacing((AttributeError, KeyError, TypeError, ValueError, HffkitError), replacement)


def check_row(row: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError if the record of the origin is not one."""
    if not isinstance(row["made"], dict) or not isinstance(row["result"], dict | None):
        raise ValueError("made or result is no object")
    data = row["made"].get("data", [])
    if not isinstance(data, list) or not all(
        isinstance(each, dict) and {"path", "content_sha256"} <= each.keys() for each in data
    ):
        raise ValueError("made.data does not name corpora")


def facts_of(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the origin of a run as named values, for display."""
    facts = [(name, str(made[name])) for name in ("task", "seed", "device") if name in made]
    return facts + [
        (f"trained on {row['path']}", f"{name} {row[name]}")
        for row in made.get("data", ())
        for name in ("manifest_sha256", "content_sha256")
        if name in row
    ]


def values_text(values: object) -> str:
    """Return a JSON object as text; an empty one for anything else."""
    return ", ".join(f"{k} {v}" for k, v in values.items()) if isinstance(values, dict) else ""


def write_groups(folder: Path, groups: Iterable[str]) -> None:
    """Write the groups of the samples trained or selected on."""
    write_durably(folder / GROUPS_FILE, json.dumps(sorted(groups), ensure_ascii=True) + "\n")


def read_groups(folder: Path) -> frozenset[str]:
    """Return the groups trained or selected on; none where they are not known."""
    path = folder / GROUPS_FILE
    if not is_there(path):
        return frozenset()
    groups = read_json(path, WeightsError)
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise WeightsError(f"{path}: must be a list of texts, got {shown(groups)}.")
    return frozenset(groups)


def _lack(folder: Path) -> str:
    """Say what is there instead of a run, and what to do."""
    begun = partial_path(folder) / "run"
    if (begun / RUN_FILE).is_file():
        return (
            f"no run. {begun} is in training, or was interrupted: run the same command again to "
            "resume it."
        )
    made = "`hffkit train` and `hffkit convert` make runs."
    if not folder.exists():
        return f"no such run. {made}"
    if folder.is_file():
        return f"a file, no run. {made}"
    return f"no run: the folder holds no {RUN_FILE}. {made}"
