"""Runs of `hffkit spectrum`, format 1: run.json, model.skops, and the groups of a training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hffkit.errors import WeightsError
from hffkit.fields import shown
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.runs.run import (
    FORMAT,
    SPECTRUM,
    check_row,
    facts_of,
    read_row,
    reading,
    values_text,
    write_row,
)

MODEL_FILE = "model.skops"
REPEATS_FOLDER = "repeats"  # the scores of the test samples of each repeat, 00.csv and so on


@dataclass(frozen=True, slots=True)
class SpectrumRun:
    """Description of a fitted classifier: how to use it and how it was made."""

    classifier: str  # a name of the table of classifiers
    features: Mapping[str, Any]  # settings of the features: spectrum.features.FeatureSpec
    n_features: int
    made: Mapping[str, Any]  # verb, data, seed, versions, ...: JSON values
    result: Mapping[str, Any] | None = None

    @property
    def classes(self) -> ClassTable:
        """Fake and real."""
        return BINARY

    @property
    def network(self) -> str:
        """Name of the classifier, distinct from those of networks."""
        return f"spectrum/{self.classifier}"

    @property
    def summary(self) -> str:
        """Classifier and number of features, as text."""
        return f"{self.network}, {self.n_features} values of a radial spectrum"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Origin as named values, for display."""
        return [*facts_of(self.made), ("versions", values_text(self.made.get("versions")))]

    def to_json(self) -> dict[str, object]:
        """Return the run as JSON values."""
        return {"format": FORMAT, "kind": SPECTRUM, **asdict(self), "classes": BINARY.to_json()}

    def write(self, folder: Path) -> None:
        """Write run.json."""
        write_row(folder, self.to_json())


def is_spectrum_run(folder: Path) -> bool:
    """Return True if a folder holds a run of `hffkit spectrum`, whatever its state."""
    try:
        return read_row(folder).get("kind") == SPECTRUM
    except WeightsError:  # reported where it is read as a run
        return False


def read_spectrum_run(folder: Path) -> SpectrumRun:
    """Return the run of a folder for which `is_spectrum_run` holds.

    Raises
    ------
    WeightsError
        If it is damaged.
    """
    row = read_row(folder)
    with reading(folder):
        check_row(row)
        run = SpectrumRun(
            **{k: v for k, v in row.items() if k not in ("format", "kind", "classes")}
        )
        if ClassTable.from_json(row["classes"]) != BINARY:
            raise ValueError("classes are not fake and real")
        if not isinstance(row["classifier"], str) or not isinstance(row["features"], dict):
            raise ValueError(
                f"classifier is {shown(run.classifier)}, with features {shown(run.features)}"
            )
        if type(row["n_features"]) is not int or run.n_features < 1:
            raise ValueError(f"n_features is {shown(run.n_features)}")
    return run
