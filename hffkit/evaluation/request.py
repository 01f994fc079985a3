"""Requests of `hffkit eval` and `hffkit decide`, which are checked before the import of PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hffkit.errors import ArgumentError, CorpusError
from hffkit.evaluation.guarantees import check_confidence, check_counts
from hffkit.manifest.pairs import quality_of
from hffkit.manifest.samples import Split
from hffkit.networks.names import PAIRED
from hffkit.options import Bounds, Seed
from hffkit.runs.decision import MISTAKES, MistakeKind
from hffkit.runs.run import check_different, read_row
from hffkit.storage.corpora import check_corpora, joint_classes
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task, check_split, items_of

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """The runs, the samples and the options of an evaluation."""

    runs: tuple[Path, ...]
    data: tuple[str, ...]
    split: Split | None = "test"  # None: all samples
    quality: str | None = None  # of the samples; None: all
    task: Task = "multi"
    against: Path | None = None  # reference run of the relative error reduction
    masks: tuple[str, ...] = ()  # corpora of masks to compare attention maps with
    allow_overlap: bool = False  # measure held-out samples that are training samples of a run
    thresholds: bool = False  # also measure accuracy at a sweep of thresholds, for mml
    seed: Seed = 0
    n_resamples: Annotated[int, Bounds(0, 1_000_000)] = 1000
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class DecideRequest:
    """The run, the samples and the rates of a decision."""

    run: Path
    data: tuple[str, ...]
    split: Split | None = "val"  # None: all samples
    fpr: float = 0.01  # at most, of real groups with a file that is called fake
    fnr: float | None = None  # at most, of fake groups with one called real; None: no such bound
    confidence: float | None = None  # that the rates are kept; None: 0.95, unless conformal
    conformal: bool = False  # keep the rates on average instead
    calibrate: bool = False  # fit a temperature
    device: str = "auto"

    @property
    def rates(self) -> dict[MistakeKind, float]:
        """The greatest share of groups that may have each kind of mistake."""
        rates: dict[MistakeKind, float] = {"false_alarm": self.fpr}
        return rates if self.fnr is None else {**rates, "miss": self.fnr}

    @property
    def where(self) -> str:
        """The samples, for messages."""
        return f"{', '.join(self.data)}, {self.split or 'all splits'}"

    @property
    def level(self) -> float | None:
        """The confidence that the rates are kept; None: they are on average."""
        return None if self.conformal else self.confidence or CONFIDENCE


def check_eval(request: EvalRequest) -> None:
    """Raise HffkitError if a run or corpus is not one that can be evaluated as requested."""
    check_different(request.runs)
    for path in request.runs:
        network = read_row(path).get("network", "a spectrum")
        for name in ("masks", "thresholds"):
            if getattr(request, name) and network not in PAIRED:
                raise ArgumentError(
                    f"`{name}` is for runs of {', '.join(PAIRED)}, and {path} is of {network}."
                )
    for name in request.data:
        corpora = check_corpora([name])
        check_split(corpora, request.split)
        if request.quality is not None:
            chosen_items(corpora, request)


def chosen_items(corpora: Sequence[Corpus], request: EvalRequest) -> Items:
    """Return the samples of the requested split and quality; CorpusError if there are none."""
    items = items_of(corpora, request.split)
    if request.quality is None:
        return items
    found = [item for item in items if quality_of(item[1].key) == request.quality]
    if not found:
        known = sorted({quality for _, sample in items if (quality := quality_of(sample.key))})
        found_text = (
            f"their qualities are {', '.join(known)}" if known else "no key names a quality"
        )
        raise CorpusError(f"No sample is {request.quality}: {found_text}.")
    return found


def check_rates(request: DecideRequest) -> None:
    """Raise ArgumentError if a rate or the confidence is impossible."""
    check_confidence(request.confidence, conformal=request.conformal)
    shares = {"fpr": request.fpr, "fnr": request.fnr, "confidence": request.confidence}
    for name, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ArgumentError(f"`{name}` must be above 0 and below 1, got {share:g}.")


def check_decide(request: DecideRequest) -> None:
    """Raise HffkitError if the rates are impossible or the corpora have too few groups for them."""
    check_rates(request)
    corpora = check_corpora(request.data)
    table = joint_classes(corpora)
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for _, sample in items_of(corpora, request.split):
        groups[table[sample.cls].is_fake].add(sample.group)
    n_groups = {kind: len(groups[kind == "miss"]) for kind in MISTAKES}
    check_counts(n_groups, request.rates, request.level, request.where)
