"""Results of finished steps, as tables are computed from them."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import (
    ManifestError,
    MetricError,
    RecipeError,
    Replacing,
    StorageError,
    reading_from,
    reason_of,
)
from hffkit.evaluation.videos import mean_over_videos, score_files, vote_over_videos
from hffkit.input_files import json_of, read_bounded, read_text
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.pipeline.cells import Answer
from hffkit.pipeline.plan import Planned
from hffkit.pipeline.verbs import EVALUATION_FILE, ROBUSTNESS_FILE, SAMPLES_FILE
from hffkit.runs.decision import DECISION_FILE, Guarantee, rounded
from hffkit.runs.scores import scored_of
from hffkit.runs.spectrum import REPEATS_FOLDER
from hffkit.storage.csv_files import read_rows

_COLUMNS = {"group", "label", "class", "predicted"}  # of samples, in the scores of any version
_ERRORS = (  # of values that no version writes
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError, csv.Error, ManifestError,
    MetricError,
)  # fmt: skip


def samples_of(planned: Planned) -> list[list[dict[str, str]]]:
    """Return the scored samples of a step: one table of an evaluation, or one for each repeat."""
    if planned.step.verb == "eval":
        return [_read(planned.out / SAMPLES_FILE)]
    folder = planned.out / REPEATS_FOLDER
    with reading_from(folder, StorageError):
        paths = sorted(folder.iterdir())
    return [_read(path) for path in paths]


def classes_in(answer: Answer) -> list[str]:
    """Return the classes of a line of samples, in the order of their labels."""
    return [name.removeprefix("p_") for name in answer if name.startswith("p_")]


def videos_of(planned: Planned, rows: Sequence[Answer], level: str) -> list[Answer]:
    """Return the decision about each video of scored frames."""
    path = planned.out
    if "video" not in rows[0]:
        raise StorageError(
            f"{path}: an older version wrote these scores, without the videos of frames. Delete "
            "the folder and run the recipe again."
        )
    with _undamaged(path / SAMPLES_FILE):
        scored = scored_of(rows, _classes(path))
        videos = mean_over_videos(scored) if level == "video_mean" else vote_over_videos(scored)
    if videos is None:
        raise RecipeError(
            f"step {planned.step.name!r} has no frames of videos, so no column can be by video."
        )
    columns = (videos.groups, videos.labels.tolist(), videos.predicted.tolist())
    return [
        {"group": group, "label": str(label), "predicted": str(predicted)}
        for group, label, predicted in zip(*columns, strict=True)
    ]


def false_alarms_of(planned: Planned) -> list[Answer]:
    """Return a line for each real group of an eval step, and what its files are called."""
    path = planned.out
    (rows,) = samples_of(planned)
    with _undamaged(path / SAMPLES_FILE):
        files = score_files(scored_of(rows, _classes(path)))
    with _undamaged(path / EVALUATION_FILE):
        threshold = float(_measured(path)["decision"]["threshold"])
    called_fake = rounded(files.scores) >= threshold
    found: dict[str, str] = {}
    for group, is_fake, called in zip(files.groups, files.is_fake, called_fake, strict=True):
        if not is_fake:
            found[group] = "fake" if called else found.get(group, "real")
    return [{"group": group, "predicted": called} for group, called in found.items()]


def promise_of(planned: Planned) -> str:
    """Return the guarantees of a decided run in words."""
    file = planned.out / DECISION_FILE
    with _undamaged(file):
        return "; ".join(Guarantee(**row).promise for row in _json(file)["guarantees"])


def robust_auc_of(planned: Planned) -> Floats64:
    """Return the robust AUC of a robustness step, then its resamples, in per cent: (1 + R,)."""
    path = planned.out / ROBUSTNESS_FILE
    with _undamaged(path):
        (run,) = _json(path)["runs"]
        (suite,) = run["levels"]["frame"]["suites"]
        values = [suite["robust_auc"]["value"], *suite["resampled_robust_auc"]]
        return 100 * np.array(values, np.float64)


def _classes(path: Path) -> ClassTable:
    """Return the classes that the scores of a step are of."""
    if not (path / EVALUATION_FILE).exists():
        return BINARY  # spectra
    with _undamaged(path / EVALUATION_FILE):
        return ClassTable.from_json(_measured(path)["classes"])


def _measured(path: Path) -> Any:
    """Return the measurement of an eval step, JSON values."""
    file = path / EVALUATION_FILE
    with _undamaged(file):
        (measured,) = _json(file)["measured"]
        return measured


def _read(path: Path) -> list[dict[str, str]]:
    text = read_bounded(path, StorageError).decode("utf-8", "surrogateescape")
    with _undamaged(path):
        rows = read_rows(io.StringIO(text, newline=""))
        if not rows or not all(row.keys() >= _COLUMNS for row in rows):
            raise ValueError("it has no scores, or a line without them")
        return rows


def _json(path: Path) -> Any:
    """Return the JSON of a result, in which figures that are not defined are NaN."""
    decode = json.JSONDecoder().decode
    return json_of(read_text(path, StorageError), str(path), StorageError, decode)


def _undamaged(path: Path) -> Replacing:
    """Turn errors of parsing the result of a step into a StorageError that names the file."""
    advice = f"Delete {path.parent} and run the recipe again."
    return Replacing(
        _ERRORS, lambda error: StorageError(f"{path}: damaged: {reason_of(error)}. {advice}")
    )
