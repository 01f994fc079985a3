"""What a recipe comes to on given data: each step's identity, its output, what is done already.

A step's identity is a digest of what it does, with which arguments, on what: of data their own
digests, of other steps these steps' identities. So a change reaches all that depends on it, and a
plan is made without running anything.
"""

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hffkit.corpus.subset import smallest
from hffkit.errors import ArgumentError, CorpusError, HffkitError, RecipeError, UnknownNameError
from hffkit.pipeline.recipe import Recipe, Step
from hffkit.storage.corpora import open_corpora
from hffkit.storage.corpus import CORPUS_FILE, Corpus
from hffkit.storage.staging import partial_path
from hffkit.training.train import TrainRequest, chosen_recipe

FORMAT = 1  # of what steps write; a new one makes every step anew
STEPS_FOLDER = "steps"
MIN_PER_CLASS = {"train": 16, "val": 1, "test": 4}  # samples that --scale must leave
_MIN_ITERATIONS = 5
_MIN_LIMIT = 4  # training images of a spectrum step
_SCALED = ("max_iterations", "step_size", "val_interval", "log_interval")
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Planned:
    """A step on given data."""

    step: Step
    identity: str
    out: Path
    paths: Mapping[str, Path]  # of the steps and data that it needs

    @property
    def is_done(self) -> bool:
        """Whether its output is there."""
        return self.out.exists()

    @property
    def is_begun(self) -> bool:
        """Whether it was interrupted."""
        return partial_path(self.out).exists()

    @property
    def n_unreadable(self) -> int:
        """How many inputs of a finished corpus could not be read."""
        if not (self.out / CORPUS_FILE).exists():
            return 0
        return Corpus(self.out).info.failures.get("unreadable", 0)

    def bound(self) -> tuple[Any, tuple[str, ...]]:
        """Return the request of its workflow, and `src`; see `Verb.bind`."""
        return _bound(self.step, {name: str(path) for name, path in self.paths.items()})


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, each behind those that it needs."""

    recipe: Recipe
    data: Mapping[str, str]  # digests of what was given
    steps: tuple[Planned, ...]

    def step(self, name: str) -> Planned:
        """Return the step called `name`."""
        wanted = self.recipe.step(name)
        return next(planned for planned in self.steps if planned.step is wanted)

    @property
    def unreadable(self) -> dict[str, int]:
        """How many inputs could not be read, by the names of the steps that said so."""
        return {p.step.name: p.n_unreadable for p in self.steps if p.n_unreadable}

    def only(self, name: str) -> "Plan":
        """Return the plan that does one step, and before it what it needs."""
        wanted = {self.recipe.step(name).name}
        for planned in reversed(self.steps):
            if wanted.intersection(planned.step.gives):
                wanted |= set(planned.step.needs)
        return replace(
            self, steps=tuple(p for p in self.steps if wanted.intersection(p.step.gives))
        )


def plan_of(recipe: Recipe, data: Mapping[str, Path], out: Path, *, scale: float = 1) -> Plan:
    """Return the plan of a recipe; everything that can be refused is refused here.

    Parameters
    ----------
    recipe : Recipe
    data : mapping of str to Path
        Where what the recipe wants lies: corpora, or folders to build from.
    out : Path
        The folder in which outputs of steps lie, under `steps`.
    scale : float
        Below 1, that share of each corpus, and of the iterations of each training.

    Raises
    ------
    HffkitError
        If data are missing, an argument is wrong, or a scale would leave too little.
    """
    for name in data:
        if name not in recipe.data:
            raise UnknownNameError("data", name, recipe.data)
    for name, about in recipe.data.items():
        if name not in data:
            raise ArgumentError(f"{recipe.name} needs --data {name}=PATH: {about}")
    digests = {name: _digest_of(path) for name, path in data.items()}
    if scale != 1:
        plan_of(recipe, data, out)  # what is wrong with it is wrong at any scale
        recipe = scaled(recipe, data, scale)
    known: dict[str, tuple[str, Path]] = {n: (digests[n], path) for n, path in data.items()}
    steps = []
    for step in recipe.steps:
        planned = _checked(step, known, out, recipe.where)
        known[step.name] = (planned.identity, planned.out)
        for beside, flag in step.beside.items():
            place = step.does.beside[flag](planned.out)
            known[beside] = (f"{planned.identity} {flag}", place)
        steps.append(planned)
    return Plan(recipe, digests, tuple(steps))


def _planned(step: Step, known: Mapping[str, tuple[str, Path]], out: Path) -> Planned:
    about = [FORMAT, step.verb, _identified(step, {name: known[name][0] for name in step.needs})]
    text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
    identity = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    name = f"{step.verb}-{identity[:_DIGITS]}{step.does.suffix}"
    paths = {needed: known[needed][1] for needed in step.needs}
    return Planned(step, identity, out / STEPS_FOLDER / name, paths)


def _identified(step: Step, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides a step's output: arguments that are not the defaults, inputs' digests.

    Of a training it is all values of its recipe, wherever they were written.
    """
    request, src = _bound(step, digests)
    values = {f.name: getattr(request, f.name) for f in fields(request)}
    row = {
        field.name: _content(values[field.name])
        for field in fields(request)
        if field.name not in step.does.withheld and values[field.name] != field.default
    }
    if isinstance(request, TrainRequest):
        row = {n: v for n, v in row.items() if n not in ("network", "recipe", "overrides")}
        row["recipe"] = chosen_recipe(request).to_json()
    return {"src": src, **row}


def _content(value: Any) -> Any:
    """Return a digest in place of the path of a file that is there, such as one of operations."""
    if isinstance(value, Path) and value.is_file():
        return hashlib.sha256(value.read_bytes()).hexdigest()
    return value


def _bound(step: Step, inputs: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
    """Return the request of a step, and `src`, with a text for each thing that it needs."""

    def put(value: Any) -> Any:
        return [inputs[n] for n in value] if isinstance(value, list | tuple) else inputs[value]

    verb = step.does
    arguments = {n: put(v) if n in verb.inputs else v for n, v in step.arguments.items()}
    return verb.bind(arguments, f"steps.{step.name}")


def _checked(step: Step, known: Mapping[str, tuple[str, Path]], out: Path, where: str) -> Planned:
    """Return a step planned, whose workflow would take its arguments."""
    try:
        planned = _planned(step, known, out)
        step.does.check(planned.bound()[0])
    except RecipeError as error:
        about = "" if f"steps.{step.name}" in str(error) else f"steps.{step.name}: "
        raise RecipeError(f"{where}: {about}{error}") from None
    except HffkitError as error:
        raise RecipeError(f"{where}: steps.{step.name}: {error}") from None
    return planned


def _digest_of(path: Path) -> str:
    """Return what tells data from others: of corpora their digests, of a tree its list of files."""
    if not path.exists() and not glob.has_magic(str(path)):
        raise CorpusError(f"{path}: not there.")
    if (path / CORPUS_FILE).exists() or not path.is_dir() or any(path.glob(f"*/{CORPUS_FILE}")):
        corpora = open_corpora([str(path)])
        text = " ".join(f"{c.content_sha256} {c.manifest_sha256()}" for c in corpora)
    else:
        text = "\n".join(sorted(_files(path)))
        if not text:
            raise CorpusError(f"{path}: no file lies there.")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _files(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder, name)
            about = path.stat()
            yield f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns}"


def scaled(recipe: Recipe, data: Mapping[str, Path], scale: float) -> Recipe:
    """Return the recipe with a share of each corpus, and shorter trainings.

    Raises
    ------
    ArgumentError
        If the scale is none, what is given is no corpus, or too few samples would be left.
    """
    if not 0 < scale <= 1:
        raise ArgumentError(f"--scale must be above 0 and at most 1, got {scale:g}.")
    renamed = {}
    parts = []
    for name, path in data.items():
        if any(step.verb == "build" and name in step.needs for step in recipe.steps):
            raise ArgumentError(f"--scale is for corpora, and {recipe.name} builds one of {name}.")
        _check_enough(name, path, scale)
        renamed[name] = f"{name} at {scale:g}"
        parts.append(Step(renamed[name], "subset", {"src": [name], "share": scale}))
    steps = tuple(_scaled_step(step, renamed, scale) for step in recipe.steps)
    return replace(recipe, steps=(*parts, *steps))


def _check_enough(name: str, path: Path, scale: float) -> None:
    for split, (cls, n) in smallest(open_corpora([str(path)]), scale).items():
        if n < MIN_PER_CLASS[split]:
            raise ArgumentError(
                f"--scale {scale:g} would leave {n} {split} samples of class {cls!r} of {name}, "
                f"and {MIN_PER_CLASS[split]} are the least that a table can be made of."
            )


def _scaled_step(step: Step, renamed: Mapping[str, str], scale: float) -> Step:
    def small(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [renamed.get(each, each) for each in value]
        return renamed.get(value, value)

    inputs = step.does.inputs
    arguments = {n: small(v) if n in inputs else v for n, v in step.arguments.items()}
    if step.verb == "train":
        request, _ = _bound(step, {name: name for name in step.needs})
        arguments["set"] = {**dict(request.overrides), **_shorter(request, scale)}
    if step.verb == "spectrum" and arguments.get("limit") is not None:
        arguments["limit"] = max(_MIN_LIMIT, round(arguments["limit"] * scale))
    return replace(step, arguments=arguments)


def _shorter(request: TrainRequest, scale: float) -> dict[str, int]:
    values = chosen_recipe(request).to_json()
    found = {name: max(1, round(values[name] * scale)) for name in _SCALED}
    wanted = max(found["max_iterations"], min(_MIN_ITERATIONS, values["max_iterations"]))
    return {**found, "max_iterations": wanted}
