"""Plans: the steps of a recipe on given data, with their identities and outputs.

The identity of a step is a digest of its verb, its arguments and its inputs: digests of data,
identities of other steps. So a change reaches every step that depends on it, and a plan needs no
run of anything.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hffkit.corpus.subset import smallest
from hffkit.errors import ArgumentError, CorpusError, HffkitError, RecipeError
from hffkit.json_types import JsonObject
from hffkit.manifest.failures import n_fatal
from hffkit.media.files import sha256_of
from hffkit.pipeline.given import check_complete, check_data, check_names
from hffkit.pipeline.recipe import Recipe, Step
from hffkit.storage.corpora import check_corpora, is_dataset, open_corpora
from hffkit.storage.corpus import CORPUS_FILE, Corpus
from hffkit.storage.staging import partial_path
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.wording import counted

FORMAT = 1  # of outputs; a new format repeats every step
STEPS_FOLDER = "steps"
MIN_PER_CLASS = {"train": 16, "val": 1, "test": 4}  # samples that `scale` must leave
_MIN_ITERATIONS = 5
_MIN_LIMIT = 4  # training samples of a spectrum step
_MIN_DRAWN = 20  # samples of a spectrum step with `samples`
_SCALED = ("step_size", "val_interval", "log_interval")
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
        """True if the output exists."""
        return self.out.exists()

    @property
    def is_begun(self) -> bool:
        """True if an interrupted output exists."""
        return partial_path(self.out).exists()

    @property
    def n_unreadable(self) -> int:
        """Number of inputs of a finished corpus that could not be read."""
        if not (self.out / CORPUS_FILE).exists():
            return 0
        return n_fatal(Corpus(self.out).info.failures)

    def bound(self) -> tuple[Any, tuple[str, ...]]:
        """Return the request of its command, and `src`; see `Verb.bind`."""
        return _bound(self.step, {name: str(path) for name, path in self.paths.items()})


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, each after those that it needs."""

    recipe: Recipe
    data: Mapping[str, str]  # digests of the given data
    steps: tuple[Planned, ...]

    def step(self, name: str) -> Planned:
        """Return the step called `name`."""
        wanted = self.recipe.step(name)
        return next(planned for planned in self.steps if planned.step is wanted)

    @property
    def unreadable(self) -> dict[str, int]:
        """Number of inputs that could not be read, by the step that reported them."""
        return {p.step.name: p.n_unreadable for p in self.steps if p.n_unreadable}

    def only(self, name: str) -> "Plan":
        """Return the plan of one step and of those that it needs."""
        wanted = {self.recipe.step(name).name}
        for planned in reversed(self.steps):
            if wanted.intersection(planned.step.gives):
                wanted |= set(planned.step.needs)
        return replace(
            self, steps=tuple(p for p in self.steps if wanted.intersection(p.step.gives))
        )


def plan_of(recipe: Recipe, data: Mapping[str, Path], out: Path, *, scale: float = 1) -> Plan:
    """Plan a recipe, and reject everything that can be rejected before it runs.

    Parameters
    ----------
    data : mapping of str to Path
        Paths of the data that the recipe needs: corpora, or folders to build from.
    out : Path
        The folder whose subfolder `steps` holds the outputs.
    scale : float
        A value below 1 reduces each corpus and the iterations of each training to that share.

    Raises
    ------
    HffkitError
        If data are missing, an argument is wrong, or a scale would leave too few samples.
    """
    check_names(data, recipe.data)
    check_complete(recipe.name, recipe.data, data)
    digests = {name: _digest_of(path) for name, path in data.items()}
    if scale != 1:
        plan_of(recipe, data, out)  # an error of the whole is reported as such
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
    _check_corpora(recipe, data)
    return Plan(recipe, digests, tuple(steps))


def plans_of(
    recipes: Sequence[Recipe], data: Mapping[str, Path], out: Path, *, scale: float = 1
) -> list[Plan]:
    """Plan several recipes with the same folder, so that they share their steps.

    Each gets those of the data that it needs; see `plan_of`.
    """
    check_names(data, sorted({name for recipe in recipes for name in recipe.data}))
    return [
        plan_of(recipe, {n: p for n, p in data.items() if n in recipe.data}, out, scale=scale)
        for recipe in recipes
    ]


def steps_of(plans: Sequence[Plan]) -> list[Planned]:
    """Return the steps of all plans; a step that several of them have is one."""
    return list({planned.out: planned for plan in plans for planned in plan.steps}.values())


def _planned(step: Step, known: Mapping[str, tuple[str, Path]], out: Path) -> Planned:
    about = [FORMAT, step.verb, _identified(step, {name: known[name][0] for name in step.needs})]
    text = json.dumps(about, sort_keys=True, ensure_ascii=False, default=str)
    identity = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    name = f"{step.verb}-{identity[:_DIGITS]}{step.does.suffix}"
    paths = {needed: known[needed][1] for needed in step.needs}
    return Planned(step, identity, out / STEPS_FOLDER / name, paths)


def _identified(step: Step, digests: Mapping[str, str]) -> JsonObject:
    """Return all that decides a step's output: arguments other than the defaults, and digests."""
    request, src = _bound(step, digests)
    given = {
        field.name: _content(value)
        for field in fields(request)
        if field.name not in step.does.withheld
        and (value := getattr(request, field.name)) != field.default
    }
    return {"src": src, **step.does.decides(request, given)}


def _content(value: Any) -> Any:
    """Return the digest of an existing file, such as one of operations, in place of its path."""
    if isinstance(value, Path) and value.is_file():
        return sha256_of(value)
    return value


def _bound(step: Step, inputs: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
    """Return the request of a step, and `src`, with `inputs` in place of the names it needs."""
    return step.does.bind(_renamed(step, inputs), f"steps.{step.name}")


def _renamed(step: Step, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a step, with other names for its inputs."""

    def put(value: Any) -> Any:
        return list(map(put, value)) if isinstance(value, list) else names.get(value, value)

    return {n: put(v) if n in step.does.inputs else v for n, v in step.arguments.items()}


def _checked(step: Step, known: Mapping[str, tuple[str, Path]], out: Path, where: str) -> Planned:
    """Plan a step, and check that its command accepts the arguments."""
    try:
        planned = _planned(step, known, out)
        step.does.check(planned.bound()[0])
    except RecipeError as error:
        about = "" if f"steps.{step.name}" in str(error) else f"steps.{step.name}: "
        raise RecipeError(f"{where}: {about}{error}") from None
    except HffkitError as error:
        raise RecipeError(f"{where}: steps.{step.name}: {error}") from None
    return planned


def _check_corpora(recipe: Recipe, data: Mapping[str, Path]) -> None:
    """Raise StorageError if data that a step reads as a corpus are none."""
    for step in recipe.steps:
        for argument, kind in step.does.inputs.items():
            given = step.arguments.get(argument, ())
            names = given if isinstance(given, list | tuple) else [given]
            if kind == "corpus":
                check_corpora([str(data[name]) for name in names if name in data])


def _digest_of(path: Path) -> str:
    """Return a digest of data: of corpora by their own digests, of a tree by its list of files."""
    check_data([path])
    if not is_dataset(path):
        corpora = open_corpora([str(path)])
        text = " ".join(f"{c.content_sha256} {c.manifest_sha256()}" for c in corpora)
    else:
        text = "\n".join(sorted(_files(path)))
        if not text:
            raise CorpusError(f"{path} holds no file.")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _files(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root, followlinks=True):
        for name in [] if CORPUS_FILE in names else names:  # a corpus was built of the dataset
            path = Path(folder, name)
            about = path.stat() if path.exists() else path.lstat()  # a link may lead nowhere
            yield f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns}"


def scaled(recipe: Recipe, data: Mapping[str, Path], scale: float) -> Recipe:
    """Return the recipe with a share of each corpus and of the iterations of each training.

    Raises
    ------
    ArgumentError
        If the scale is out of range, the data are no corpora, or too few samples would be left.
    """
    if not 0 < scale <= 1:
        raise ArgumentError(f"`scale` must be above 0 and at most 1, got {scale:g}.")
    renamed = {}
    parts = []
    for name, path in data.items():
        if any(step.verb == "build" and name in step.needs for step in recipe.steps):
            raise ArgumentError(
                f"`scale` is for corpora, but {recipe.name} builds a corpus from {name}."
            )
        _check_enough(name, path, scale)
        renamed[name] = f"{name} at {scale:g}"
        parts.append(Step(renamed[name], "subset", {"src": [name], "share": scale}))
    steps = tuple(_scaled_step(step, renamed, scale) for step in recipe.steps)
    return replace(recipe, steps=(*parts, *steps))


def _check_enough(name: str, path: Path, scale: float) -> None:
    for split, (cls, n) in smallest(open_corpora([str(path)]), scale).items():
        if n < MIN_PER_CLASS[split]:
            raise ArgumentError(
                f"`scale` {scale:g} would leave {counted(n, f'{split} sample')} of class {cls!r} "
                f"of {name}; a table needs at least {MIN_PER_CLASS[split]}."
            )


def _scaled_step(step: Step, renamed: Mapping[str, str], scale: float) -> Step:
    arguments = _renamed(step, renamed)
    if step.verb == "train":
        request, _ = _bound(step, {name: name for name in step.needs})
        arguments["set"] = {**dict(request.overrides), **_shorter(request, scale)}
    if step.verb == "spectrum" and arguments.get("limit") is not None:
        arguments["limit"] = max(_MIN_LIMIT, round(arguments["limit"] * scale))
    if step.verb == "spectrum" and arguments.get("samples") is not None:
        arguments["samples"] = max(_MIN_DRAWN, round(arguments["samples"] * scale))
    return replace(step, arguments=arguments)


def _shorter(request: TrainRequest, scale: float) -> dict[str, int]:
    recipe = chosen_recipe(request)
    found = {name: max(1, round(getattr(recipe, name) * scale)) for name in _SCALED}
    if recipe.max_iterations is None:  # epochs of fewer samples are shorter as they are
        return found
    wanted = max(round(recipe.max_iterations * scale), min(_MIN_ITERATIONS, recipe.max_iterations))
    return {**found, "max_iterations": wanted}
