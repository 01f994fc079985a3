"""Compute the table of a recipe from the scored samples of its steps."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import (
    ManifestError,
    RecipeError,
    StorageError,
    UnknownNameError,
    reading_from,
    reason_of,
)
from hffkit.evaluation.metrics import relative_error_reduction
from hffkit.evaluation.videos import mean_over_videos, score_files, vote_over_videos
from hffkit.input_files import json_of, read_bounded, read_text
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.pipeline.cells import (
    OVERALL,
    Answer,
    CellSums,
    Grid,
    Place,
    Resampled,
    SeedGrid,
    interval,
    sums_of,
)
from hffkit.pipeline.plan import Plan
from hffkit.pipeline.results import Cell, ClaimOutcome, Results
from hffkit.pipeline.spec import Claim, TableSpec, chosen_of, places_in, put
from hffkit.pipeline.verbs import EVALUATION_FILE, ROBUSTNESS_FILE, SAMPLES_FILE
from hffkit.runs.decision import DECISION_FILE, Guarantee, rounded
from hffkit.runs.scores import scored_of
from hffkit.runs.spectrum import REPEATS_FOLDER
from hffkit.storage.csv_files import read_rows
from hffkit.wording import counted


def results_of(plan: Plan) -> Results:
    """Compute the table of a plan whose steps are all done.

    Raises
    ------
    RecipeError
        If the recipe has no table.
    """
    recipe = plan.recipe
    if recipe.table is None:
        raise RecipeError(f"{recipe.name} has no table.")
    maker = {
        "accuracy": _accuracy,
        "ablation": _ablation,
        "confusion": _confusion,
        "detection": _detection,
        "robustness": _robustness,
        "guarantee": _guarantee,
    }
    rows, columns, cells, grid = maker[recipe.table.kind](plan, recipe.table, recipe.paper)
    return Results(
        title=recipe.title,
        about=recipe.about,
        corner="true / called" if recipe.table.kind == "confusion" else recipe.table.rows,
        rows=rows,
        columns=columns,
        cells=cells,
        notes=recipe.notes,
        verdicts=tuple(_verdict(claim, grid) for claim in recipe.claims),
        facts=tuple(_facts(plan)),
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "recipe", plan.recipe.name
    for name, values in plan.recipe.values.items():
        yield f"values {name}", ", ".join(map(str, values))
    yield from _tested(plan)
    for name, digest in plan.data.items():
        yield f"data {name}", digest
    for name, n in plan.unreadable.items():
        yield f"unreadable inputs of {name}", str(n)
    for planned in plan.steps:
        if planned.step.verb != "eval":
            yield f"{planned.step.verb} {planned.step.name}", planned.identity
            if planned.step.verb == "decide":
                yield f"promise of {planned.step.name}", _promise(planned.out)
            continue
        rows = [row for rows in _samples(plan, planned.step.name) for row in rows]
        n_training = sum(row.get("trained_on") == "yes" for row in rows)  # older files lack it
        if n_training:
            note = f"{n_training} of {len(rows)} samples are training samples of the run"
            yield f"training figures of {planned.step.name}", note


def _promise(path: Path) -> str:
    """Return the guarantees of a decided run in words."""
    file = path / DECISION_FILE
    with _undamaged(file):
        return "; ".join(Guarantee(**row).promise for row in _json(file)["guarantees"])


def _tested(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the numbers of samples, classes and of the largest class of each set tested on."""
    known: set[str] = set()
    for planned in (each for each in plan.steps if each.step.verb == "eval"):
        data = planned.step.arguments["data"]
        name = data if isinstance(data, str) else ", ".join(data)
        if name in known:
            continue
        known.add(name)
        samples = _samples(plan, planned.step.name)
        counts = Counter(row["class"] for rows in samples for row in rows)
        share = 100 * max(counts.values()) / counts.total()
        text = f"{counted(counts.total(), 'image')} of {counted(len(counts), 'class', 'classes')}"
        yield f"tested on {name}", f"{text}, {share:.0f} % of them of the largest"


Made = tuple[tuple[str, ...], tuple[str, ...], Mapping[Place, Cell], Resampled]


def _accuracy(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    values = plan.recipe.values
    rows, columns, steps = _places(plan, spec)
    sums = {place: _sums(plan, names) for place, names in steps.items()}
    sums |= {
        (str(row), name): _sums(
            plan, _evals(plan, spec, {spec.rows: row, str(spec.columns): each.column}), each.level
        )
        for row in values[spec.rows]
        for name, each in spec.videos.items()
    }
    grid = Grid(sums, plan.recipe.title)
    weights: dict[Place, Mapping[Place, float]] = {place: {place: 1.0} for place in sums}
    more_columns = spec.averages.get("columns", {})
    more_rows = spec.averages.get("rows", {})
    for name, of in more_columns.items():
        weights |= {(row, name): {(row, str(c)): 1 / len(of) for c in of} for row in rows}
    for name, of in more_rows.items():
        weights |= {(name, c): {(str(row), c): 1 / len(of) for row in of} for c in columns}
    cells = {place: _cell(grid, each, paper.get(place)) for place, each in weights.items()}
    return (*rows, *more_rows), (*columns, *spec.videos, *more_columns), cells, grid


def _cell(grid: Resampled, weights: Mapping[Place, float], paper: float | None) -> Cell:
    by_seed, resamples = grid.values(weights)
    low, high = interval(resamples)
    return Cell(float(by_seed.mean()), low, high, tuple(by_seed.tolist()), paper)


def _robustness(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the robust AUC, in per cent, of robustness steps."""
    rows, columns, steps = _places(plan, spec)
    found = {
        place: [robust_auc_of(plan.step(name).out / ROBUSTNESS_FILE) for name in names]
        for place, names in steps.items()
    }
    grid = SeedGrid(found, plan.recipe.title)
    return rows, columns, {p: _cell(grid, {p: 1.0}, paper.get(p)) for p in found}, grid


def _guarantee(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the share of real groups of which a file is called fake, in per cent."""
    rows, columns, steps = _places(plan, spec)
    sums = {
        place: sums_of([_false_alarms(plan, name) for name in names], _calls("fake"))
        for place, names in steps.items()
    }
    grid = Grid(sums, plan.recipe.title)
    return rows, columns, {p: _cell(grid, {p: 1.0}, paper.get(p)) for p in sums}, grid


def _places(
    plan: Plan, spec: TableSpec
) -> tuple[tuple[str, ...], tuple[str, ...], dict[Place, list[str]]]:
    """Return rows and columns, and the names of the steps of each cell."""
    values, column_name = plan.recipe.values, str(spec.columns)
    rows, columns = (tuple(map(str, values[name])) for name in (spec.rows, column_name))
    steps = {
        (str(row), str(column)): _evals(plan, spec, {spec.rows: row, column_name: column})
        for row in values[spec.rows]
        for column in values[column_name]
    }
    return rows, columns, steps


def _false_alarms(plan: Plan, name: str) -> list[Answer]:
    """Return a line for each real group of an eval step, and what its files are called."""
    path = plan.step(name).out
    (rows,) = _samples(plan, name)
    files = score_files(scored_of(rows, _classes(path)))
    with _undamaged(path / EVALUATION_FILE):
        threshold = float(_measured(path)["decision"]["threshold"])
    called_fake = rounded(files.scores) >= threshold
    found: dict[str, str] = {}
    for group, is_fake, called in zip(files.groups, files.is_fake, called_fake, strict=True):
        if not is_fake:
            found[group] = "fake" if called else found.get(group, "real")
    return [{"group": group, "predicted": called} for group, called in found.items()]


def _ablation(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute accuracy, and the relative error reduction by the reference row, (E - E_ref) / E."""
    rows = tuple(map(str, plan.recipe.values[spec.rows]))
    accuracy, reduction = "accuracy", "relative error reduction"
    sums = {
        (str(row), accuracy): _sums(plan, _evals(plan, spec, {spec.rows: row}))
        for row in plan.recipe.values[spec.rows]
    }
    grid = Grid(sums, plan.recipe.title)
    reference = (str(spec.reference), accuracy)
    cells = {place: _cell(grid, {place: 1.0}, paper.get(place)) for place in sums}
    best_seeds, best = grid.values({reference: 1.0})
    for row in rows:
        if row == spec.reference:
            continue
        seeds, resamples = grid.values({(row, accuracy): 1.0})
        if seeds.mean() == 100:  # no error to reduce
            continue
        value = 100 * relative_error_reduction(best_seeds.mean() / 100, seeds.mean() / 100)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = interval(100 * (best - resamples) / (100 - resamples))
        cells[row, reduction] = Cell(float(value), low, high, (), paper.get((row, reduction)))
    return rows, (accuracy, reduction), cells, grid


def _detection(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute accuracy, and precision and recall of the positive class.

    A precision is left out where a seed calls nothing positive.
    """
    sums: dict[Place, CellSums] = {}
    rows = tuple(map(str, plan.recipe.values[spec.rows]))
    for row in plan.recipe.values[spec.rows]:
        names = _evals(plan, spec, {spec.rows: row})
        tables = [rows for name in names for rows in _samples(plan, name)]
        label = _label_of(str(spec.positive), tables[0][0])
        sums[str(row), "accuracy"] = sums_of(tables, lambda row: row["label"] == row["predicted"])
        for name, column in (("precision", "predicted"), ("recall", "label")):
            chosen = [[line for line in lines if line[column] == label] for lines in tables]
            if all(chosen):
                found = sums_of(chosen, lambda row: row["label"] == row["predicted"])
                sums[str(row), name] = found
    grid = Grid(sums, plan.recipe.title)
    cells = {place: _cell(grid, {place: 1.0}, paper.get(place)) for place in sums}
    return rows, ("accuracy", "precision", "recall"), cells, grid


def _label_of(cls: str, answer: Answer) -> str:
    """Return the label of a class from a line of samples."""
    classes = [name.removeprefix("p_") for name in answer if name.startswith("p_")]
    if cls not in classes:
        raise RecipeError(f"table.positive: {UnknownNameError('class', cls, classes)}")
    return str(classes.index(cls))


def _confusion(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the confusion matrix in per cent of the true class, and the accuracy of all images.

    Both are means over seeds.
    """
    names = _evals(plan, spec, {})
    tables = [rows for name in names for rows in _samples(plan, name)]
    classes = [name.removeprefix("p_") for name in tables[0][0] if name.startswith("p_")]
    found = {row["class"] for row in tables[0]}
    rows = tuple(name for name in classes if name in found)
    sums = {
        (true, called): sums_of(
            [[line for line in lines if line["class"] == true] for lines in tables],
            _calls(str(label)),
        )
        for true in rows
        for label, called in enumerate(classes)
    }
    sums[OVERALL] = _sums(plan, names)
    grid = Grid(sums, plan.recipe.title)
    cells = {place: _cell(grid, {place: 1.0}, paper.get(place)) for place in sums}
    return rows, tuple(classes), cells, grid


def _calls(label: str) -> Callable[[Answer], bool]:
    return lambda row: row["predicted"] == label


def _evals(plan: Plan, spec: TableSpec, fixed: Mapping[str, Any]) -> list[str]:
    """Return the names of the eval steps of a cell, such as one for each seed."""
    template = put(spec.cell, fixed)
    return [str(put(template, each)) for each in chosen_of(places_in(template), plan.recipe.values)]


def _sums(plan: Plan, names: Sequence[str], level: str | None = None) -> CellSums:
    tables = [
        rows if level is None else _by_video(plan, name, rows, level)
        for name in names
        for rows in _samples(plan, name)
    ]
    return sums_of(tables, lambda row: row["label"] == row["predicted"])


def _by_video(plan: Plan, name: str, rows: Sequence[Answer], level: str) -> list[Answer]:
    """Return the decision about each video of scored frames."""
    path = plan.step(name).out
    if "video" not in rows[0]:
        raise StorageError(
            f"{path}: an older version wrote these scores, without the videos of frames. Delete "
            "the folder and run the recipe again."
        )
    with _undamaged(path / SAMPLES_FILE):
        scored = scored_of(rows, _classes(path))
    videos = mean_over_videos(scored) if level == "video_mean" else vote_over_videos(scored)
    if videos is None:
        raise RecipeError(f"step {name!r} has no frames of videos, so no column can be by video.")
    columns = (videos.groups, videos.labels.tolist(), videos.predicted.tolist())
    return [
        {"group": group, "label": str(label), "predicted": str(predicted)}
        for group, label, predicted in zip(*columns, strict=True)
    ]


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


def _samples(plan: Plan, name: str) -> list[list[dict[str, str]]]:
    """Return the scored samples of a step: one table of an evaluation, or one for each repeat."""
    planned = plan.step(name)
    if planned.step.verb == "eval":
        return [_read(planned.out / SAMPLES_FILE)]
    folder = planned.out / REPEATS_FOLDER
    with reading_from(folder, StorageError):
        paths = sorted(folder.iterdir())
    return [_read(path) for path in paths]


def _read(path: Path) -> list[dict[str, str]]:
    text = read_bounded(path, StorageError).decode("utf-8", "surrogateescape")
    with _undamaged(path):
        rows = read_rows(io.StringIO(text, newline=""))
        if not rows or not all({"group", "label", "predicted"} <= row.keys() for row in rows):
            raise ValueError("it has no scores, or a line without them")
        return rows


def _json(path: Path) -> Any:
    """Return the JSON of a result, in which figures that are not defined are NaN."""
    decode = json.JSONDecoder().decode
    return json_of(read_text(path, StorageError), str(path), StorageError, decode)


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Turn errors of parsing the result of a step into a StorageError that names the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error, ManifestError) as error:
        raise StorageError(
            f"{path}: damaged: {reason_of(error)}. Delete {path.parent} and run the recipe again."
        ) from None


def robust_auc_of(path: Path) -> Floats64:
    """Return the robust AUC of a robustness step, then its resamples, in per cent: (1 + R,)."""
    with _undamaged(path):
        (run,) = _json(path)["runs"]
        (suite,) = run["levels"]["frame"]["suites"]
        values = [suite["robust_auc"]["value"], *suite["resampled_robust_auc"]]
        return 100 * np.array(values, np.float64)


def _verdict(claim: Claim, grid: Resampled) -> ClaimOutcome:
    pairs = list(zip(claim.better, claim.worse, strict=True))
    found, resamples = [], []
    for better, worse in pairs:
        (a, many_a), (b, many_b) = grid.values({better: 1.0}), grid.values({worse: 1.0})
        found.append(float(a.mean() - b.mean()))
        resamples.append(many_a - many_b)
    low, high = interval(np.mean(resamples, axis=0))
    differences = tuple((a, b, d) for (a, b), d in zip(pairs, found, strict=True))
    return ClaimOutcome(claim.text, float(np.mean(found)), low, high, differences)
