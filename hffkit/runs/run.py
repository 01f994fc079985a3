"""A run folder, format 1: run.json, metrics and groups of a training. Its weights: `weights`."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hffkit.errors import HffkitError, WeightsError
from hffkit.manifest.classes import ClassTable
from hffkit.storage.staging import write_durably

FORMAT = 1
_MAX_SIZE = 4096  # px
RUN_FILE = "run.json"
SPECTRUM = "spectrum"  # the kind of a run that holds no network: see hffkit.runs.spectrum
METRICS_FILE = "metrics.jsonl"
GROUPS_FILE = "groups.json"


@dataclass(frozen=True, slots=True)
class Run:
    """What must be known to use a network's weights, and how they came about."""

    network: str  # a name of the table of networks
    size: int  # px of its images
    input: dict[str, Any]  # colour order, what levels 0 and 255 become: networks.spec.InputSpec
    classes: ClassTable  # of the outputs, numbered from 0
    made: dict[str, Any]  # verb, recipe, overrides, data, seed, versions, ...: JSON values
    result: dict[str, Any] | None = field(default=None)  # None while it is being trained

    @property
    def summary(self) -> str:
        """What judges, and what it is fed with, in a few words."""
        return f"{self.network}, {self.size} px"

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
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from None
    version = row.get("format") if isinstance(row, dict) else None
    if isinstance(row, dict) and row.get("kind") == SPECTRUM:
        raise WeightsError(
            f"{folder}: a run of `hffkit spectrum`, which holds no network: `eval` and `predict` "
            "take it, trainings and conversions do not."
        )
    if version != FORMAT:
        raise WeightsError(
            f"{path}: run format must be {FORMAT}, got {version!r}. Another version of hffkit made "
            "it; use that one."
        )
    try:
        classes = ClassTable.from_json(row["classes"])
        run = Run(**{**{k: v for k, v in row.items() if k != "format"}, "classes": classes})
    except (AttributeError, KeyError, TypeError, ValueError, HffkitError) as error:
        raise WeightsError(f"{path}: damaged: {error!r}.") from None
    wrong = next(_damage(row), None)
    if wrong is not None:
        raise WeightsError(f"{path}: damaged: {wrong}.")
    return run


def _damage(row: dict[str, Any]) -> Iterator[str]:
    """Yield what no run can have: the file may be anybody's."""
    if not isinstance(row["network"], str):
        yield f"network is {row['network']!r}"
    if type(row["size"]) is not int or not 1 <= row["size"] <= _MAX_SIZE:
        yield f"size is {row['size']!r}"
    if not isinstance(row["made"], dict) or not isinstance(row["result"], dict | None):
        yield "made or result is no object"
    elif not is_data(row["made"].get("data", [])):
        yield "made.data does not name corpora"
    classes = row["classes"]
    if not classes or [each["id"] for each in classes] != list(range(len(classes))):
        yield "classes are not numbered from 0"
    kinds = [(type(each["name"]), type(each["is_fake"])) for each in classes]
    if any(kind != (str, bool) for kind in kinds):
        yield "a class has no name, or is neither fake nor real"
    yield from _input_damage(row["input"])


def _input_damage(fed: Any) -> Iterator[str]:
    if not isinstance(fed, dict) or fed.keys() != {"colour", "low", "high"}:
        yield f"input is {fed!r}"
        return
    levels = (fed["low"], fed["high"])
    is_number = all(type(level) in (int, float) and math.isfinite(level) for level in levels)
    if fed["colour"] not in ("RGB", "BGR") or not is_number:
        yield f"input is {fed!r}"


def is_data(value: Any) -> bool:
    """Tell whether this is a list of corpora, each with its path and digest."""
    return isinstance(value, list) and all(
        isinstance(each, dict) and {"path", "content_sha256"} <= each.keys() for each in value
    )


def write_groups(folder: Path, groups: Iterable[str]) -> None:
    """Write which groups of samples were learned from or selected on."""
    write_durably(folder / GROUPS_FILE, json.dumps(sorted(groups), ensure_ascii=True) + "\n")


def read_groups(folder: Path) -> frozenset[str]:
    """Return the groups that were learned from or selected on; none where that is not known."""
    try:
        return frozenset(map(str, json.loads((folder / GROUPS_FILE).read_text("utf-8"))))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{folder / GROUPS_FILE}: cannot be read: {error}") from None


def _hint(folder: Path) -> str:
    begun = folder.with_name(folder.name + ".partial")
    if (begun / "run" / RUN_FILE).is_file():
        return f" {begun / 'run'} is being trained, or was interrupted: the same command goes on."
    return " `hffkit train` and `hffkit convert` make runs."
