"""The verbs of steps: the commands, with the names and defaults of the command line."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from hffkit.corpus.build import build, prepare
from hffkit.corpus.mix import PROPORTIONS, MixRequest, mix
from hffkit.corpus.pack import PackRequest, pack
from hffkit.corpus.subset import SubsetRequest, check_share, subset
from hffkit.degrade.degrade import DegradeRequest, degrade, treatment_of
from hffkit.degrade.equalize import EqualizeRequest, equalize
from hffkit.degrade.own import read_own
from hffkit.errors import HffkitError, RecipeError, UnknownNameError, named
from hffkit.evaluation.request import DecideRequest, EvalRequest, check_rates
from hffkit.json_types import JsonObject
from hffkit.manifest.samples import json_text
from hffkit.options import check, options_of
from hffkit.pipeline.arguments import typed
from hffkit.robustness.request import RobustnessRequest, chosen_suites
from hffkit.runs.run import copy_run
from hffkit.sources.options import SourceOptions
from hffkit.sources.table import SOURCES
from hffkit.spectrum.request import SpectrumRequest, check_spectrum
from hffkit.storage.corpus import masks_path
from hffkit.storage.outputs import sweep_path
from hffkit.storage.record import check_packed_size
from hffkit.storage.staging import Partial, write_bytes_durably, write_durably
from hffkit.training.recipe import SHORT_OVERRIDES
from hffkit.training.request import TrainRequest, chosen_recipe

SAMPLES_FILE = "samples.csv"
EVALUATION_FILE = "evaluation.json"
ROBUSTNESS_FILE = "robustness.json"
CONDITIONS_FILE = "conditions.csv"


@dataclass(frozen=True, slots=True)
class How:
    """Workers, device and threads: no part of a recipe, since results do not depend on them."""

    n_workers: int
    scheduler: str | None = None
    device: str = "auto"
    threads: int | None = None
    on_notes: Callable[[Iterable[str]], None] = lambda _: None  # called with remarks on inputs


Runner = Callable[[Any, Sequence[str], Path, How], object]
Check = Callable[[Any], object]
Decides = Callable[[Any, JsonObject], JsonObject]
OutputKind = Literal["folder", "corpus", "run", "evaluation"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of steps.

    `inputs` are the arguments that name steps or data, with the kind that these must have. `src`
    is the positional argument of the command line; if the request has no such field, `run` gets
    it as an argument of its own.
    """

    request: type[Any]
    makes: OutputKind
    inputs: Mapping[str, OutputKind]
    check: Check  # rejects requests that are invalid whatever the data
    run: Runner
    # For each image on two cores of a server (docs/performance.md); those of train and eval are
    # for networks that are not known.
    seconds: float = dataclasses.field(kw_only=True)
    suffix: str = ""  # of the output
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)  # argument to field
    withheld: tuple[str, ...] = ()  # fields that the runner fills
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)  # that stand for None
    # Flags that request a second output of the same kind, and its path.
    beside: Mapping[str, Callable[[Path], Path]] = dataclasses.field(default_factory=dict)
    short: Mapping[str, str] = dataclasses.field(default_factory=dict)  # for keys of `set`
    variants: Mapping[str, type[Any]] = dataclasses.field(default_factory=dict)  # by `source`
    # Turns the given fields into all that decides the output, whatever it is called in the request.
    decides: Decides = lambda _, given: given

    def arguments(self) -> dict[str, Any]:
        """Return the type of every argument that a recipe may give."""
        hints = get_type_hints(self.request)
        known = {name: hints[field.name] for name, field in self._fields().items()}
        known |= {name: known[name] | Literal[word] for name, word in self.words.items()}
        return {"src": tuple[str, ...], **known} if "src" in self.inputs else known

    def spelled_out(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return arguments with the short ones in `set`; RecipeError if `set` has them too."""
        short = {key: values[name] for name, key in self.short.items() if name in values}
        given = values.get("set", {})
        if not short or not isinstance(given, dict):
            return dict(values)
        if twice := sorted(short.keys() & given.keys()):
            raise RecipeError(f"{where}: {twice[0]} is given twice, in `set` and beside it.")
        rest = {name: value for name, value in values.items() if name not in self.short}
        return {**rest, "set": {**given, **short}}

    def bind(self, values: Mapping[str, Any], where: str) -> tuple[Any, tuple[str, ...]]:
        """Build the request from arguments; return it with `src` if that is not part of it.

        Raises
        ------
        RecipeError
            If an argument is unknown, missing or of the wrong kind; the message names `where`.
        ArgumentError
            If a value is out of bounds.
        """
        verb = self._of_source(values, where)
        found = verb._typed(values, where)
        for name in ("src", "data", "runs"):
            if name in self.inputs and not found.get(name):
                raise RecipeError(f"{where}: {name} is missing: name its input.")
        known = verb._fields()
        for name, field in known.items():
            if name not in found and field.default is dataclasses.MISSING:
                raise RecipeError(f"{where}: {name} is missing.")
        src: tuple[str, ...] = () if "src" in known else found.pop("src", ())
        request = verb.request(**{known[name].name: value for name, value in found.items()})
        check(request)
        return request, src

    def _fields(self) -> dict[str, dataclasses.Field[Any]]:
        """Return the fields of the request by the names of their arguments."""
        back = {field: name for name, field in self.renamed.items()}
        known = (f for f in dataclasses.fields(self.request) if f.name not in self.withheld)
        return {back.get(field.name, field.name): field for field in known}

    def _of_source(self, values: Mapping[str, Any], where: str) -> "Verb":
        """Return the verb with the request of the source that the arguments name."""
        if not self.variants:
            return self
        source = values.get("source")
        if not isinstance(source, str):
            raise RecipeError(f"{where}: source is missing: one of {', '.join(self.variants)}.")
        if source not in self.variants:
            raise RecipeError(f"{where}: {UnknownNameError('source', source, self.variants)}")
        request = self.variants[source]
        declared = options_of(request)
        return replace(
            self,
            request=request,
            renamed={each.name: each.field for each in declared},
            words={each.name: each.none for each in declared if each.none},
        )

    def _typed(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        kinds = self.arguments()
        for name in values:
            if name not in kinds:
                raise RecipeError(f"{where}: {UnknownNameError('argument', name, kinds)}")
        return {
            name: None
            if value == self.words.get(name)
            else typed(value, kinds[name], f"{where}.{name}")
            for name, value in values.items()
        }


def _decides_train(request: TrainRequest, given: JsonObject) -> JsonObject:
    """Return all values of the training recipe, wherever they were set."""
    rest = {n: v for n, v in given.items() if n not in ("network", "recipe", "overrides")}
    return {**rest, "recipe": chosen_recipe(request).to_json()}


def _decides_spectrum(request: SpectrumRequest, given: JsonObject) -> JsonObject:
    """Return also how images are made grey, which no argument sets."""
    return {**given, "grey": request.spec().grey}


def _decides_robustness(request: RobustnessRequest, given: JsonObject) -> JsonObject:
    """Return the operations of the suites in place of their names."""
    return {**given, "suites": [suite.sha256 for suite in chosen_suites(request)]}


def _check_build(options: SourceOptions) -> None:
    if options.src.exists():  # otherwise the data are not given yet
        prepare(options)


def _build(options: SourceOptions, _: Sequence[str], out: Path, how: How) -> None:
    job = prepare(options)
    how.on_notes(job.listing.notes)
    build(job, out, n_workers=how.n_workers, scheduler=how.scheduler)


# Verbs that use PyTorch or scikit-learn are imported by their steps: recipes are checked before.


def _train(request: TrainRequest, _: Sequence[str], out: Path, how: How) -> None:
    from hffkit.training.train import train

    train(replace(request, device=how.device, threads=how.threads), out)


def _spectrum(request: SpectrumRequest, _: Sequence[str], out: Path, how: How) -> None:
    from hffkit.spectrum.train import train_spectrum

    train_spectrum(request, out, n_workers=how.n_workers)


def _evaluate(request: EvalRequest, _: Sequence[str], out: Path, how: How) -> None:
    """Write evaluation.json and samples.csv into the folder `out`."""
    from hffkit.evaluation.evaluate import evaluate

    result = evaluate(replace(request, device=how.device))
    with Partial(out, {"verb": "eval"}, product="evaluation") as partial:
        partial.make_product()
        samples = partial.product / SAMPLES_FILE
        write_bytes_durably(samples, _bytes(result.to_csv()))
        if (sweeps := result.sweeps_csv()) is not None:
            write_bytes_durably(sweep_path(samples), _bytes(sweeps))
        write_durably(partial.product / EVALUATION_FILE, json_text(result.to_json()))
        partial.publish()


def _bytes(table: str) -> bytes:
    """Return a table as a file; bytes of a path that are not UTF-8 stay as they are."""
    return table.encode("utf-8", "surrogateescape")


def _decide(request: DecideRequest, _: Sequence[str], out: Path, how: How) -> None:
    """Copy the run to the folder `out` and store its decision there; the run stays as it is."""
    from hffkit.evaluation.decide import decide

    with Partial(out, {"verb": "decide"}, product="run") as partial:
        partial.product.mkdir(exist_ok=True)
        copy_run(request.run, partial.product)
        decide(replace(request, device=how.device), partial.product)
        partial.publish()


def _check_eval(request: EvalRequest) -> None:
    if len(request.runs) != 1 or len(request.data) != 1:
        raise HffkitError("an eval step takes one run and one corpus: use one step for each.")


def _robustness(request: RobustnessRequest, _: Sequence[str], out: Path, how: How) -> None:
    """Write robustness.json and conditions.csv into the folder `out`."""
    from hffkit.robustness.findings_tables import csv_of
    from hffkit.robustness.robustness import robustness

    result = robustness(replace(request, device=how.device), n_workers=how.n_workers)
    with Partial(out, {"verb": "robustness"}, product="robustness") as partial:
        partial.make_product()
        write_bytes_durably(partial.product / CONDITIONS_FILE, _bytes(csv_of(result)))
        write_durably(partial.product / ROBUSTNESS_FILE, json_text(result.to_json()))
        partial.publish()


def _check_robustness_step(request: RobustnessRequest) -> None:
    if len(request.runs) != 1 or len(request.suites) + bool(request.ops) > 1:
        raise HffkitError(
            "a robustness step takes one run and one suite, or operations: use one step for each."
        )
    chosen_suites(request)


VERBS: Mapping[str, Verb] = {
    "build": Verb(
        SourceOptions,
        "corpus",
        {"src": "folder"},
        _check_build,
        _build,
        ".lmdb",
        beside={"masks": masks_path},
        variants={name: source.options for name, source in SOURCES.items()},
        seconds=0.02,
    ),
    "pack": Verb(
        PackRequest,
        "corpus",
        {"src": "corpus"},
        lambda request: check_packed_size(request.size),
        lambda request, src, out, how: pack(
            src, out, request, n_workers=how.n_workers, scheduler=how.scheduler
        ),
        ".lmdb",
        seconds=0.0003,
    ),
    "degrade": Verb(
        DegradeRequest,
        "corpus",
        {"src": "corpus"},
        lambda request: treatment_of(request, read_own(request.operations)),
        lambda request, src, out, how: degrade(
            src, out, request, n_workers=how.n_workers, scheduler=how.scheduler
        ),
        ".lmdb",
        {"op": "ops", "split": "splits", "class": "classes"},
        seconds=0.0004,
    ),
    "equalize": Verb(
        EqualizeRequest,
        "corpus",
        {"src": "corpus"},
        check,
        lambda request, src, out, how: equalize(
            src, out, request, n_workers=how.n_workers, scheduler=how.scheduler
        ),
        ".lmdb",
        seconds=0.001,
    ),
    "mix": Verb(
        MixRequest,
        "corpus",
        {"src": "corpus"},
        lambda request: named(PROPORTIONS, request.proportion, "proportion"),
        lambda request, src, out, _: mix(src, out, request),
        ".lmdb",
        seconds=0.0002,
    ),
    "subset": Verb(
        SubsetRequest,
        "corpus",
        {"src": "corpus"},
        lambda request: check_share(request.share),
        lambda request, src, out, _: subset(src, out, request),
        ".lmdb",
        seconds=0.0002,
    ),
    "train": Verb(
        TrainRequest,
        "run",
        {"data": "corpus", "init": "run", "masks": "corpus"},
        chosen_recipe,
        _train,
        renamed={"set": "overrides", "snapshot": "snapshots"},
        short=SHORT_OVERRIDES,
        withheld=("device", "threads", "keep", "tensorboard"),
        decides=_decides_train,
        seconds=0.01,
    ),
    "spectrum": Verb(
        SpectrumRequest,
        "run",
        {"data": "corpus"},
        check_spectrum,
        _spectrum,
        decides=_decides_spectrum,
        seconds=0.003,
    ),
    "decide": Verb(
        DecideRequest,
        "run",
        {"run": "run", "data": "corpus"},
        check_rates,
        _decide,
        withheld=("device",),
        words={"split": "all"},
        seconds=0.005,
    ),
    "eval": Verb(
        EvalRequest,
        "evaluation",
        {"runs": "run", "data": "corpus", "against": "run", "masks": "corpus"},
        _check_eval,
        _evaluate,
        renamed={"resamples": "n_resamples"},
        withheld=("device",),
        words={"split": "all"},
        seconds=0.005,
    ),
    "robustness": Verb(
        RobustnessRequest,
        "evaluation",
        {"runs": "run", "data": "corpus", "val": "corpus"},
        _check_robustness_step,
        _robustness,
        renamed={"resamples": "n_resamples", "suite": "suites", "op": "ops"},
        withheld=("device",),
        words={"split": "all"},
        decides=_decides_robustness,
        seconds=0.006,
    ),
}
