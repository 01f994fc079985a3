"""A run of `hffkit spectrum`, format 1: run.json, model.skops, and the groups learned from."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hffkit.errors import HffkitError, WeightsError
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.runs.run import FORMAT, RUN_FILE, SPECTRUM, is_data
from hffkit.storage.staging import write_durably

MODEL_FILE = "model.skops"


@dataclass(frozen=True, slots=True)
class SpectrumRun:
    """What must be known to use a fitted classifier, and how it came about."""

    classifier: str  # a name of the table of classifiers
    features: dict[str, Any]  # how images become features: spectrum.features.FeatureSpec
    n_features: int
    made: dict[str, Any]  # verb, data, seed, versions, ...: JSON values
    result: dict[str, Any] | None = field(default=None)  # None while it is being fitted

    @property
    def classes(self) -> ClassTable:
        """What it tells apart: fake and real."""
        return BINARY

    @property
    def network(self) -> str:
        """The name of what judges, beside those of networks."""
        return f"spectrum/{self.classifier}"

    @property
    def summary(self) -> str:
        """What judges, and what it is fed with, in a few words."""
        return f"{self.network}, {self.n_features} values of a radial spectrum"

    def finished(self, result: dict[str, Any]) -> "SpectrumRun":
        """Return the run with its result."""
        return replace(self, result=result)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {"format": FORMAT, "kind": SPECTRUM, **asdict(self), "classes": BINARY.to_json()}

    def write(self, folder: Path) -> None:
        """Write run.json."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        write_durably(folder / RUN_FILE, text)


def is_spectrum_run(folder: Path) -> bool:
    """Tell whether a folder's run.json says that it is a run of `hffkit spectrum`."""
    try:
        row = json.loads((folder / RUN_FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # whoever reads it as a run says what is wrong
        return False
    return isinstance(row, dict) and row.get("kind") == SPECTRUM


def read_spectrum_run(folder: Path) -> SpectrumRun:
    """Return the run of a folder for which `is_spectrum_run` holds.

    Raises
    ------
    WeightsError
        If it is a damaged one, or of another version.
    """
    path = folder / RUN_FILE
    row = json.loads(path.read_text("utf-8"))
    if row.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: run format must be {FORMAT}, got {row.get('format')!r}. Another version of "
            "hffkit made it; use that one."
        )
    try:
        classes = ClassTable.from_json(row["classes"])
        fields = {k: v for k, v in row.items() if k not in ("format", "kind", "classes")}
        run = SpectrumRun(**fields)
    except (AttributeError, KeyError, TypeError, ValueError, HffkitError) as error:
        raise WeightsError(f"{path}: damaged: {error!r}.") from None
    wrong = next(_damage(row, classes), None)
    if wrong is not None:
        raise WeightsError(f"{path}: damaged: {wrong}.")
    return run


def _damage(row: dict[str, Any], classes: ClassTable) -> Iterator[str]:
    """Yield what no run can have: the file may be anybody's."""
    if classes != BINARY:
        yield "classes are not fake and real"
    if not isinstance(row["classifier"], str):
        yield f"classifier is {row['classifier']!r}"
    if type(row["n_features"]) is not int or row["n_features"] < 1:
        yield f"n_features is {row['n_features']!r}"
    if not isinstance(row["features"], dict):
        yield f"features is {row['features']!r}"
    if not isinstance(row["made"], dict) or not isinstance(row["result"], dict | None):
        yield "made or result is no object"
    elif not is_data(row["made"].get("data", [])):
        yield "made.data does not name corpora"


def model_sha256(folder: Path) -> str:
    """Return the SHA-256 of a run's model, which must be there."""
    with (folder / MODEL_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
