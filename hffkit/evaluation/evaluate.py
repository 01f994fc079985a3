"""`hffkit eval`: runs measured on corpora, as data and as one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from hffkit.errors import ArgumentError, CorpusError
from hffkit.evaluation.levels import Evaluation, measure
from hffkit.evaluation.metrics import relative_error_reduction
from hffkit.evaluation.page import page_section
from hffkit.evaluation.qualities import QualityRow, by_quality, quality_table
from hffkit.evaluation.tables import CrossTable, evaluation_markdown
from hffkit.inference.detector import Judge, load_judge
from hffkit.inference.network import Scorer
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.pairs import by_key, quality_of
from hffkit.manifest.samples import Split
from hffkit.media.image import Image
from hffkit.networks.devices import device_named
from hffkit.networks.table import NETWORKS
from hffkit.options import Bounds, Seed
from hffkit.reports.page import Page, Section, render
from hffkit.runs.scores import Scored, csv_lines
from hffkit.storage.corpora import Item, joint_classes, open_faces, open_masks, samples_of
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task, items_of
from hffkit.storage.staging import write_bytes_durably
from hffkit.training.masks import masked


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What to measure on what."""

    runs: tuple[Path, ...]
    data: tuple[str, ...]
    split: Split | None = "test"  # None: all samples
    quality: str | None = None  # of the samples that are measured on; None: all
    task: Task = "multi"
    against: Path | None = None  # another run, for the relative error reduction
    masks: tuple[str, ...] = ()  # corpora with the masks that attention maps are compared with
    seed: Seed = 0
    n_resamples: Annotated[int, Bounds(0)] = 1000
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run on one corpus."""

    run: Judge
    data: str
    corpora: tuple[Corpus, ...]
    items: Items
    scored: Scored
    evaluation: Evaluation
    error_reduction: float | None  # against another run
    qualities: tuple[QualityRow, ...] = ()  # apart, where samples are of several
    n_without_mask: int | None = None  # fakes that no mask was there for; None: none were asked for

    @property
    def warning(self) -> str | None:
        """What makes the figures doubtful: an unfinished training, or images it has seen."""
        if self.run.run.result is None:
            return "unfinished: the best weights so far of a training under way."
        groups = {sample.group for _, sample in self.items if sample.split == "test"}
        seen = len(groups & self.run.groups)
        if not seen:
            return None
        return (
            f"{seen} of {len(groups)} test groups have names of groups that the run was trained or "
            "selected on: where these are the same images, the figures mean nothing."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was measured and on what, as JSON values."""
        return {
            "run": str(self.run.path),
            "network": self.run.run.network,
            "weights_sha256": self.run.weights_sha256,
            "warning": self.warning,
            "data": self.data,
            "content_sha256": [corpus.content_sha256 for corpus in self.corpora],
            "manifest_sha256": [corpus.manifest_sha256() for corpus in self.corpora],
            "relative_error_reduction": self.error_reduction,
            **({"qualities": [row.to_json() for row in self.qualities]} if self.qualities else {}),
            **({} if self.n_without_mask is None else {"n_without_mask": self.n_without_mask}),
            **self.evaluation.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """All runs on all corpora."""

    request: EvalRequest
    measured: tuple[Measured, ...]

    @property
    def cross(self) -> CrossTable | None:
        """The table of trained on against tested on, where there is more than one cell."""
        if len(self.measured) < 2:
            return None
        return CrossTable({(str(m.run.path), m.data): m.evaluation for m in self.measured})

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "split": self.request.split or "all",
            **({} if self.request.quality is None else {"quality": self.request.quality}),
            "task": self.request.task,
            "against": None if self.request.against is None else str(self.request.against),
            "measured": [one.to_json() for one in self.measured],
            "cross": None if self.cross is None else self.cross.to_json(),
        }

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        parts = [] if self.cross is None else [f"{self.cross.to_table().to_markdown()}\n"]
        for one in self.measured:
            parts.append(f"## {one.run.path} on {one.data}\n")
            if one.warning is not None:
                parts.append(f"**Warning**: {one.warning}\n")
            parts.append(evaluation_markdown(one.evaluation))
            if one.qualities:
                parts.append(f"{quality_table(one.qualities).to_markdown()}\n")
            if one.n_without_mask:
                parts.append(f"{_unmasked(one.n_without_mask)}\n")
            if self.request.against is not None:
                parts.append(f"Relative error reduction {_against(one, self.request)}\n")
        return "\n".join(parts)

    def write_html(self, path: Path) -> None:
        """Write one self-contained page."""
        sections = [_section(one, self.request) for one in self.measured]
        cross = self.cross
        page = Page(
            title=f"hffkit eval: {', '.join(str(run) for run in self.request.runs)}",
            facts=tuple(_run_facts(self.measured)),
            sections=tuple(sections),
            cross=None if cross is None else cross.to_table(),
        )
        write_bytes_durably(path, render(page).encode())

    def write_csv(self, path: Path) -> None:
        """Write one line a sample, of the only run on the only corpus."""
        (one,) = self.measured
        text = "".join(csv_lines(one.scored))
        write_bytes_durably(path, text.encode("utf-8", "surrogateescape"))


def check_outputs(request: EvalRequest, html: Path | None, csv: Path | None) -> None:
    """Raise ArgumentError if what is to be written cannot be, before hours of measuring."""
    if csv is not None and len(request.runs) * len(request.data) != 1:
        raise ArgumentError("--csv is for one run on one corpus.")
    if csv is not None and csv == html:
        raise ArgumentError(f"{csv}: --csv and --html must be two files.")
    for name, path in (("--html", html), ("--csv", csv)):
        if path is None:
            continue
        try:
            is_good = bool(path.name) and path.parent.is_dir() and not path.is_dir()
        except (OSError, ValueError):
            is_good = False
        if not is_good:
            raise ArgumentError(f"{name} must be a file in a folder that is there, got {path}.")


def evaluate(request: EvalRequest) -> Result:
    """Score every run on every corpus, and measure.

    Raises
    ------
    HffkitError
        If a run or corpus cannot be read, has no sample of the split, or classes that do not fit.
    """
    device = device_named(request.device)
    scorers = [load_judge(path, device) for path in request.runs]
    other = None if request.against is None else load_judge(request.against, device)
    if other is not None:
        _check_rival(scorers, other, request)
    for scorer in scorers if request.masks else ():
        _with_map(scorer)  # now, and not after hours of scoring
    masks = _masks(request.masks)
    measured = []
    for name in request.data:
        corpora = open_faces([name])
        items, table = _items(corpora, request), joint_classes(corpora)
        rival = None
        if other is not None:
            rival = measure(other.score(items, table, request.task), n_resamples=0)
        for scorer in scorers:
            scored = scorer.score(items, table, request.task)
            found = measure(scored, seed=request.seed, n_resamples=request.n_resamples)
            reduction = None if rival is None else _reduction(found, rival)
            one = Measured(scorer, name, tuple(corpora), items, scored, found, reduction)
            measured.append(_apart(one, table, masks))
    return Result(request, tuple(measured))


def _items(corpora: Sequence[Corpus], request: EvalRequest) -> Items:
    """Return the samples of the split and quality that are asked for."""
    items = items_of(corpora, request.split)
    if request.quality is None:
        return items
    found = [item for item in items if quality_of(item[1].key) == request.quality]
    if not found:
        known = sorted({quality_of(sample.key) or "none" for _, sample in items})
        raise CorpusError(
            f"No sample is {request.quality}: their qualities are {', '.join(known)}."
        )
    return found


def _masks(names: Sequence[str]) -> dict[str, Item] | None:
    """Return masks by their keys; None where none were asked for."""
    return by_key(samples_of(open_masks(names))) if names else None


def _apart(one: Measured, table: ClassTable, masks: Mapping[str, Item] | None) -> Measured:
    """Return what was measured with its qualities apart, and with masks if there are some."""
    qualities = [quality_of(sample.key) for _, sample in one.items]
    accuracies: dict[str, float] = {}
    n_without = None
    if masks is not None:
        kept, wanted = masked(one.items, masks, table)
        n_without = len(one.items) - len(kept)
        if n_without and not any(wanted):
            raise CorpusError(f"{one.data}: none of its {n_without} fakes has a mask in --masks.")
        right = _with_map(one.run).cells_right([one.items[place] for place in kept], wanted)
        for name in {qualities[place] for place in kept}:
            here = [qualities[place] == name for place in kept]
            accuracies |= {name: float(right[here].mean())} if name else {}
    has_heads = isinstance(one.run, Scorer) and one.run.run.high_quality is not None
    is_apart = has_heads or len({quality for quality in qualities if quality}) > 1
    rows = by_quality(one.scored, qualities, accuracies) if is_apart else ()
    return replace(one, qualities=rows, n_without_mask=n_without)


def _with_map(judge: Judge) -> Scorer:
    """Return a judge that masks can be compared with; ArgumentError if it has no attention map."""
    if isinstance(judge, Scorer) and judge.network.attention_map is not None:
        return judge
    able = ", ".join(name for name, spec in NETWORKS.items() if spec.attention_map is not None)
    raise ArgumentError(
        f"{judge.path}: {judge.run.network} has no attention map to compare --masks with. "
        f"Networks with one: {able}."
    )


def _unmasked(n: int) -> str:
    return f"{n} fakes have no mask, and are left out where mask cells are compared."


def _check_rival(scorers: Sequence[Judge], other: Judge, request: EvalRequest) -> None:
    """Raise ArgumentError if the runs to be compared tell other classes apart."""
    kinds = [{(row.name, row.is_fake) for row in run.run.classes} for run in (*scorers, other)]
    if request.task == "multi" and any(kind != kinds[-1] for kind in kinds):
        raise ArgumentError(
            f"{request.against} tells other classes apart, so accuracies cannot be compared. "
            "Compare fake against real with --task binary."
        )


def _reduction(one: Evaluation, other: Evaluation) -> float | None:
    """Return the relative error reduction; None where there is no error to reduce."""
    mine, rival = one.frame.estimates["accuracy"].value, other.frame.estimates["accuracy"].value
    if mine is None or rival is None or rival >= 1:
        return None
    return relative_error_reduction(mine, rival)


def _against(one: Measured, request: EvalRequest) -> str:
    if one.error_reduction is None:
        return f"against {request.against}: not defined, since that makes no error"
    return f"against {request.against}: {100 * one.error_reduction:.2f} %"


def _section(one: Measured, request: EvalRequest) -> Section:
    def images_of(places: Sequence[int]) -> list[tuple[Image, ...]]:
        return one.run.shown([one.items[place] for place in places])

    facts: list[tuple[str, str]] = [("split", request.split or "all")]
    facts += [] if request.quality is None else [("quality", request.quality)]
    facts += [("content_sha256", corpus.content_sha256) for corpus in one.corpora]
    if one.warning is not None:
        facts.append(("warning", one.warning))
    if one.n_without_mask:
        facts.append(("masks", _unmasked(one.n_without_mask)))
    facts += [("manifest_sha256", corpus.manifest_sha256()) for corpus in one.corpora]
    if request.against is not None:
        facts.append(("relative error reduction", _against(one, request)))
    name = one.data if len(request.runs) == 1 else f"{one.run.path} on {one.data}"
    figures = one.run.figures(one.items, joint_classes(one.corpora))
    section = page_section(
        name, one.scored, one.evaluation, facts=facts, images_of=images_of, figures=figures
    )
    return replace(section, qualities=quality_table(one.qualities)) if one.qualities else section


def _run_facts(measured: Sequence[Measured]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for scorer in {m.run.path: m.run for m in measured}.values():
        facts += [("run", str(scorer.path)), ("network", scorer.run.summary)]
        facts += [("weights_sha256", scorer.weights_sha256), *scorer.run.facts]
    return [fact for fact in facts if fact[1]]
