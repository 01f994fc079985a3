"""Compute the table of a recipe from the scored samples of its steps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hffkit.errors import RecipeError, UnknownNameError
from hffkit.evaluation.metrics import relative_error_reduction
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
from hffkit.pipeline.step_results import (
    classes_in,
    false_alarms_of,
    promise_of,
    robust_auc_of,
    samples_of,
    videos_of,
)
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
                yield f"promise of {planned.step.name}", promise_of(planned)
            continue
        rows = [row for rows in samples_of(planned) for row in rows]
        n_training = sum(row.get("trained_on") == "yes" for row in rows)  # older files lack it
        if n_training:
            note = f"{n_training} of {len(rows)} samples are training samples of the run"
            yield f"training figures of {planned.step.name}", note


def _tested(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the numbers of samples, classes and of the largest class of each set tested on."""
    known: set[str] = set()
    for planned in (each for each in plan.steps if each.step.verb == "eval"):
        data = planned.step.arguments["data"]
        name = data if isinstance(data, str) else ", ".join(data)
        if name in known:
            continue
        known.add(name)
        samples = samples_of(planned)
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


def _cells(
    grid: Resampled, places: Iterable[Place], paper: Mapping[Place, float]
) -> dict[Place, Cell]:
    return {place: _cell(grid, {place: 1.0}, paper.get(place)) for place in places}


def _robustness(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the robust AUC, in per cent, of robustness steps."""
    rows, columns, steps = _places(plan, spec)
    found = {
        place: [robust_auc_of(plan.step(name)) for name in names] for place, names in steps.items()
    }
    grid = SeedGrid(found, plan.recipe.title)
    return rows, columns, _cells(grid, found, paper), grid


def _guarantee(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the share of real groups of which a file is called fake, in per cent."""
    rows, columns, steps = _places(plan, spec)
    sums = {
        place: sums_of([false_alarms_of(plan.step(name)) for name in names], _calls("fake"))
        for place, names in steps.items()
    }
    grid = Grid(sums, plan.recipe.title)
    return rows, columns, _cells(grid, sums, paper), grid


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
    cells = _cells(grid, sums, paper)
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
        tables = [rows for name in names for rows in samples_of(plan.step(name))]
        label = _label_of(str(spec.positive), tables[0][0])
        sums[str(row), "accuracy"] = sums_of(tables, _is_right)
        for name, column in (("precision", "predicted"), ("recall", "label")):
            chosen = [[line for line in lines if line[column] == label] for lines in tables]
            if all(chosen):
                sums[str(row), name] = sums_of(chosen, _is_right)
    grid = Grid(sums, plan.recipe.title)
    cells = _cells(grid, sums, paper)
    return rows, ("accuracy", "precision", "recall"), cells, grid


def _label_of(cls: str, answer: Answer) -> str:
    """Return the label of a class from a line of samples."""
    classes = classes_in(answer)
    if cls not in classes:
        raise RecipeError(f"table.positive: {UnknownNameError('class', cls, classes)}")
    return str(classes.index(cls))


def _is_right(answer: Answer) -> bool:
    return answer["label"] == answer["predicted"]


def _confusion(plan: Plan, spec: TableSpec, paper: Mapping[Place, float]) -> Made:
    """Compute the confusion matrix in per cent of the true class, and the accuracy of all images.

    Both are means over seeds.
    """
    names = _evals(plan, spec, {})
    tables = [rows for name in names for rows in samples_of(plan.step(name))]
    classes = classes_in(tables[0][0])
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
    cells = _cells(grid, sums, paper)
    return rows, tuple(classes), cells, grid


def _calls(label: str) -> Callable[[Answer], bool]:
    return lambda row: row["predicted"] == label


def _evals(plan: Plan, spec: TableSpec, fixed: Mapping[str, Any]) -> list[str]:
    """Return the names of the eval steps of a cell, such as one for each seed."""
    template = put(spec.cell, fixed)
    return [str(put(template, each)) for each in chosen_of(places_in(template), plan.recipe.values)]


def _sums(plan: Plan, names: Sequence[str], level: str | None = None) -> CellSums:
    tables = [
        rows if level is None else videos_of(plan.step(name), rows, level)
        for name in names
        for rows in samples_of(plan.step(name))
    ]
    return sums_of(tables, _is_right)


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
