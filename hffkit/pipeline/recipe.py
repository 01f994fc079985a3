"""Recipe files: data, steps and a table.

A step whose name contains {x} is repeated for each of the values called x, and {x} in its
arguments is replaced by the value. A recipe that `extends` another one contains only the
differences.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from typing import Any

from hffkit.errors import RecipeError, UnknownNameError
from hffkit.fields import shown
from hffkit.pipeline.given import name_of, recipe_names, recipe_rows
from hffkit.pipeline.spec import (
    Claim,
    TableSpec,
    Values,
    check_claims,
    check_keys,
    check_table,
    chosen_of,
    claims_of,
    known_places,
    places_in,
    put,
    table_of,
    table_spec,
    text_of,
    values_of,
)
from hffkit.pipeline.verbs import VERBS, Verb
from hffkit.reports.text_table import Table

_KEYS = ("title", "about", "extends", "paper", "data", "values", "steps", "table", "claims")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a verb and its arguments."""

    name: str
    verb: str  # a name of VERBS
    arguments: Mapping[str, Any]  # of the file, with the values filled in

    @property
    def does(self) -> Verb:
        """The row of the verb."""
        return VERBS[self.verb]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps and data that it reads."""
        return tuple(name for argument in self.does.inputs for name in self.named(argument))

    @property
    def is_test(self) -> bool:
        """True if it scores test samples: an evaluation, or spectra with repeats."""
        asked = (self.arguments.get(name) for name in ("repeats", "paper_split", "curve"))
        return self.verb == "eval" or (self.verb == "spectrum" and any(asked))

    def is_cell_of(self, kind: str, steps: Mapping[str, "Step"]) -> bool:
        """Return True if a table of a kind can show the step's result.

        `steps` are all steps, by the names of their outputs.
        """
        if kind == "guarantee":
            runs = [steps[name].verb for name in self.named("runs") if name in steps]
            return self.verb == "eval" and runs == ["decide"]
        return self.verb == "robustness" if kind == "robustness" else self.is_test

    @property
    def beside(self) -> dict[str, str]:
        """Its second outputs: the name of each, and the flag that requests it."""
        flags = [flag for flag in self.does.beside if self.arguments.get(flag) is True]
        return {f"{self.name}-{flag}": flag for flag in flags}

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of all its outputs."""
        return (self.name, *self.beside)

    def named(self, argument: str) -> list[str]:
        """Return the names in an argument."""
        value = self.arguments.get(argument, [])
        return list(value) if isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe file, parsed and checked."""

    name: str
    where: str  # the file, or the name of a recipe of hffkit
    title: str
    about: str
    data: Mapping[str, str]  # descriptions of the data to give, by name
    values: Values
    steps: tuple[Step, ...]  # each after those that it needs
    table: TableSpec | None
    claims: tuple[Claim, ...]
    paper: Mapping[tuple[str, str], float]  # the published figures, per cent, by row and column
    notes: Mapping[str, Sequence[tuple[str, str]]]  # on published figures, and their places

    def step(self, name: str) -> Step:
        """Return the step called `name`."""
        for step in self.steps:
            if step.name == name:
                return step
        raise UnknownNameError("step", name, [step.name for step in self.steps])


def recipes_table() -> Table:
    """Return the names and titles of the recipes that come with hffkit."""
    rows = tuple((name, read_recipe(name).title) for name in recipe_names())
    return Table((), rows, left=(0, 1))


def read_recipe(name: str) -> Recipe:
    """Read a recipe from a file, or one of hffkit by its name.

    Raises
    ------
    RecipeError
        If it cannot be read, or contains unknown, missing, invalid or circular parts.
    """
    return recipe_of(recipe_rows(name), name)


def recipe_of(rows: Mapping[str, Any], where: str) -> Recipe:
    """Build the recipe of a parsed file; see `read_recipe` for the errors."""
    check_keys(rows, _KEYS, where)
    steps_of = table_of(rows, "steps", where)
    if not steps_of:
        raise RecipeError(f"{where}: no [steps.NAME]. A recipe needs at least one step.")
    data = {
        name: _about(value, f"{where}: data.{name}")
        for name, value in table_of(rows, "data", where).items()
    }
    values = {
        name: values_of(value, f"{where}: values.{name}")
        for name, value in table_of(rows, "values", where).items()
    }
    steps: dict[str, Step] = {}
    for template, body in steps_of.items():
        for step in _steps(template, body, values, f"{where}: steps.{template}"):
            steps |= _named(step, {**data, **steps}, where)
    _check_needs(steps, data, where)
    table = table_spec(rows.get("table"), values, f"{where}: table")
    claims = claims_of(rows.get("claims", []), f"{where}: claims")
    if table is not None:
        of_kind = {s.name: s.is_cell_of(table.kind, steps) for s in steps.values()}
        check_table(table, values, of_kind, f"{where}: table")
    check_claims(claims, table, values, f"{where}: claims")
    paper = _paper(rows.get("paper"), where)
    read = {name for step in steps.values() for name in step.needs}
    return Recipe(
        name=name_of(where),
        where=where,
        title=text_of(rows, "title", where),
        about=str(rows.get("about", "")).strip(),
        data={name: about for name, about in data.items() if name in read},
        values=values,
        steps=_sorted(steps, where),
        table=table,
        claims=claims,
        paper={place: float(row["percent"]) for place, row in paper.items()},
        notes=_notes(paper),
    )


def _about(value: Any, where: str) -> str:
    if isinstance(value, dict):
        check_keys(value, ("about",), where)
    return text_of(value, "about", where)


def _steps(template: str, body: Any, values: Values, where: str) -> Iterator[Step]:
    if not isinstance(body, dict) or "do" not in body:
        raise RecipeError(f"{where}: do is missing: one of {', '.join(VERBS)}.")
    verb = body["do"]
    if not isinstance(verb, str) or verb not in VERBS:
        raise RecipeError(f"{where}: {UnknownNameError('verb', str(verb), VERBS)}")
    given = {name: value for name, value in body.items() if name != "do"}
    arguments = VERBS[verb].spelled_out(given, where)
    places = known_places(template, values, where)
    for stray in set(places_in(repr(arguments))) - set(places):
        raise RecipeError(f"{where}: {{{stray}}} is not in the step's name.")
    for chosen in chosen_of(places, values):
        yield Step(str(put(template, chosen)), verb, put(arguments, chosen))


def _named(step: Step, taken: Collection[str], where: str) -> dict[str, Step]:
    """Return a step by the names of all its outputs, none of which may be `taken`."""
    for name in step.gives:
        if name in taken:
            raise RecipeError(f"{where}: the name {name!r} is used twice.")
    return dict.fromkeys(step.gives, step)


def _check_needs(steps: Mapping[str, Step], data: Mapping[str, str], where: str) -> None:
    for step in steps.values():
        for argument, kind in step.does.inputs.items():
            for name in step.named(argument):
                at = f"{where}: steps.{step.name}.{argument}"
                if not isinstance(name, str):
                    raise RecipeError(f"{at} must name steps or data, got {name!r}.")
                if name not in steps and name not in data:
                    unknown = UnknownNameError("step or data", name, [*data, *steps])
                    raise RecipeError(f"{at}: {unknown}")
                if name in steps and steps[name].does.makes != kind:
                    made = steps[name].does.makes
                    raise RecipeError(f"{at} must be a {kind}, and {name!r} makes a {made}.")


def _sorted(steps: Mapping[str, Step], where: str) -> tuple[Step, ...]:
    """Return the steps in the order of the file, but each after those that it needs."""
    graph = {
        step.name: [steps[name].name for name in step.needs if name in steps]
        for step in steps.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " <- ".join(error.args[1])
        raise RecipeError(f"{where}: steps need each other: {circle}.") from None
    order: dict[str, Step] = {}
    waiting = list(graph)[::-1]
    while waiting:
        name = waiting[-1]
        needed = [n for n in graph[name] if n not in order]
        if needed:
            waiting.extend(reversed(needed))
        else:
            order[name] = steps[name]
            waiting.pop()
    return tuple(order.values())


def _paper(name: Any, where: str) -> dict[tuple[str, str], dict[str, str]]:
    """Read the rows with a figure of a file of manifests/paper; none if no file is named."""
    if not name:
        return {}
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9-]+", name):
        raise RecipeError(f"{where}: paper must name a file of manifests/paper, got {shown(name)}.")
    file = resources.files("hffkit.manifests") / "paper" / f"{name}.csv"
    try:
        text = file.read_text("utf-8")
    except OSError:
        raise RecipeError(f"{where}: paper: there is no manifests/paper/{name}.csv.") from None
    rows = csv.DictReader(io.StringIO(text))
    return {(row["row"], row["column"]): row for row in rows if row["percent"]}


def _notes(paper: Mapping[tuple[str, str], Mapping[str, str]]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for place, row in paper.items():
        if row["note"]:
            found.setdefault(row["note"], []).append(place)
    return found
