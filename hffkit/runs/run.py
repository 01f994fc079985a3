"""A run folder, format 1: run.json, weights.safetensors, and metrics.jsonl where it was trained."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hffkit.errors import HffkitError, WeightsError
from hffkit.manifest.classes import ClassTable
from hffkit.runs.tensors import read_tensors, write_tensors
from hffkit.storage.partial import write_durably

FORMAT = 1
RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Run:
    """What must be known to use a network's weights, and how they came about."""

    network: str  # a name of the table of networks
    size: int  # px of its images
    input: dict[str, Any]  # colour order, what levels 0 and 255 become: networks.spec.InputSpec
    classes: ClassTable  # of the outputs, numbered from 0
    made: dict[str, Any]  # verb, recipe, overrides, data, seed, versions, ...: JSON values
    result: dict[str, Any] | None = field(default=None)  # None while it is being trained

    def finished(self, result: dict[str, Any]) -> "Run":
        """Return the run with its result."""
        return replace(self, result=result)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {"format": FORMAT, **asdict(self), "classes": self.classes.to_json()}

    def write(self, folder: Path) -> None:
        """Write run.json."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        write_durably(folder / RUN_FILE, text)


def read_run(folder: Path) -> Run:
    """Return the run of a folder.

    Raises
    ------
    WeightsError
        If it is no run folder, a damaged one, or of another version.
    """
    path = folder / RUN_FILE
    try:
        row = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise WeightsError(f"{folder}: no run: it holds no {RUN_FILE}.{_hint(folder)}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from None
    version = row.get("format") if isinstance(row, dict) else None
    if version != FORMAT:
        raise WeightsError(
            f"{path}: run format must be {FORMAT}, got {version!r}. Another version of hffkit made "
            "it; use that one."
        )
    try:
        row["classes"] = ClassTable.from_json(row["classes"])
        return Run(**{name: value for name, value in row.items() if name != "format"})
    except (KeyError, TypeError, ValueError, HffkitError) as error:
        raise WeightsError(f"{path}: damaged: {error!r}.") from None


def write_weights(folder: Path, state: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a network's state dict; an older one stays until the new one is whole."""
    write_tensors(folder / WEIGHTS_FILE, state, facts)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict of a run; WeightsError if there is none, or a damaged one."""
    return read_tensors(folder / WEIGHTS_FILE)[0]


def _hint(folder: Path) -> str:
    begun = folder.with_name(folder.name + ".partial")
    if (begun / "run" / RUN_FILE).is_file():
        return f" {begun / 'run'} is being trained, or was interrupted: the same command goes on."
    return " `hffkit train` and `hffkit convert` make runs."
