"""Runs of `hffkit spectrum`, format 1: run.json, model.skops, and the groups of a training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hffkit.errors import WeightsError
from hffkit.fields import Fields, shown
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
class RepeatedAccuracy:
    """Accuracy over repeated splits, for one number of training samples."""

    n_train: int  # the smallest over the repeats, if all samples were used
    mean: float
    spread: float  # standard deviation
    accuracies: tuple[float, ...]  # of each repeat, in [0, 1]


@dataclass(frozen=True, slots=True)
class Repeats:
    """Repeated splits into training and test samples, and the accuracies over them."""

    protocol: str  # "grouped" or "random"
    n_repeats: int
    n_samples: int
    rows: tuple[RepeatedAccuracy, ...]


@dataclass(frozen=True, slots=True)
class SpectrumResult:
    """Outcome of a training."""

    n_train: int
    train_accuracy: float
    val_accuracy: float | None = None
    val_majority_accuracy: float | None = None  # of always naming the larger class
    repeats: Repeats | None = None


@dataclass(frozen=True, slots=True)
class SpectrumRun:
    """Description of a fitted classifier: how to use it and how it was made."""

    classifier: str  # a name of the table of classifiers
    features: Mapping[str, Any]  # settings of the features: spectrum.features.FeatureSpec
    n_features: int
    made: Mapping[str, Any]  # verb, data, seed, versions, ...: JSON values
    result: SpectrumResult
    model_sha256: str | None = None  # None in older runs

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
            **{k: v for k, v in row.items() if k not in ("format", "kind", "classes", "result")},
            result=_result_of(Fields.of(row["result"], "result", WeightsError)),
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


def _result_of(found: Fields) -> SpectrumResult:
    val = found.optional("val_accuracy", float)
    repeats = None if found.optional("repeats", dict) is None else found.inner("repeats")
    return SpectrumResult(
        found.whole("n_train"),
        found.number("train_accuracy"),
        val,
        found.optional("val_majority_accuracy", float),
        None if repeats is None else _repeats_of(repeats),
    )


def _repeats_of(found: Fields) -> Repeats:
    rows = [
        RepeatedAccuracy(
            row.whole("n_train"),
            row.number("mean"),
            row.number("spread"),
            tuple(row.take("accuracies", list)),
        )
        for row in found.rows("rows")
    ]
    return Repeats(
        found.take("protocol", str),
        found.whole("n_repeats"),
        found.whole("n_samples"),
        tuple(rows),
    )
