"""Work of the steps of a plan, before they run: how many images, and with which network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hffkit.corpus.mix import MixRequest, mixed_size
from hffkit.corpus.subset import SubsetRequest, quota
from hffkit.degrade.degrade import DegradeRequest
from hffkit.errors import HffkitError
from hffkit.evaluation.request import DecideRequest, EvalRequest
from hffkit.pipeline.plan import Planned
from hffkit.robustness.request import RobustnessRequest, n_conditions
from hffkit.spectrum.request import SpectrumRequest
from hffkit.storage.corpora import open_corpora
from hffkit.training.request import TrainRequest, chosen_recipe

Counts = Counter[tuple[str, str]]
"""Numbers of samples, by class and split."""


@dataclass(frozen=True, slots=True)
class StepWork:
    """The work of a step: images to process, repetitions included, by a verb and a network."""

    verb: str
    n_images: int  # 0: not known before, as after a build
    network: str | None = None  # of train and eval; None: not known
    size: int = 0  # px of the network's images


class Workload:
    """The work of the steps of a plan, which must be asked for in the plan's order."""

    def __init__(self) -> None:
        self._known: dict[Path, Counts] = {}  # outputs that need not exist yet
        self._networks: dict[Path, tuple[str, int]] = {}  # of runs, with sizes in px

    def of(self, planned: Planned) -> StepWork:
        """Return the work of a step.

        The number of images is exact but for those that are unreadable or in no pair.
        """
        request, src = planned.bound()
        names = [*src, *(str(path) for path in getattr(request, "data", ()))]
        given = [self._counts(Path(name)) for name in names]
        self._known[planned.out] = _written(request, given)
        if isinstance(request, TrainRequest):
            recipe = chosen_recipe(request)
            self._networks[planned.out] = recipe.network, recipe.size
        run = planned.out
        if isinstance(request, EvalRequest | RobustnessRequest):
            run = request.runs[0]
        elif isinstance(request, DecideRequest) and request.run in self._networks:
            self._networks[planned.out] = self._networks[request.run]
        network, size = self._networks.get(run, (None, 0))
        return StepWork(planned.step.verb, _processed(request, given), network, size)

    def _counts(self, path: Path) -> Counts:
        """Return the samples of corpora on disk, or else those that a step will write."""
        try:
            corpora = open_corpora([str(path)])
        except HffkitError:  # not made yet, or a folder to build from
            return self._known.get(path, Counter())
        found: Counts = Counter()
        for corpus in corpora:
            for cls, splits in corpus.info.counts.items():
                found.update({(cls, split): n for split, n in splits.items()})
        return found


def _processed(request: Any, given: Sequence[Counts]) -> int:
    total: Counts = sum(given, Counter())
    if isinstance(request, TrainRequest):
        n_train = _of_splits(total, ("train",))
        recipe = chosen_recipe(request)
        if recipe.epochs is not None and not n_train:
            return 0
        return recipe.for_samples(n_train).n_iterations * recipe.batch_size
    if isinstance(request, EvalRequest | DecideRequest):
        return _of_splits(total, (request.split,) if request.split else ())
    if isinstance(request, RobustnessRequest):
        n_images = _of_splits(total, (request.split,) if request.split else ())
        return n_images * n_conditions(request)
    if isinstance(request, SpectrumRequest) and request.limit is not None:
        n_train = _of_splits(total, ("train",))
        return total.total() - n_train + min(n_train, request.limit)
    return _written(request, given).total()


def _of_splits(counts: Counts, splits: Sequence[str]) -> int:
    """Return the number of samples in some splits; without splits, in all."""
    return sum(n for (_, split), n in counts.items() if not splits or split in splits)


def _written(request: Any, given: Sequence[Counts]) -> Counts:
    """Return the samples of a step's output, those of its inputs if it makes no corpus."""
    if isinstance(request, MixRequest):
        return _mixed(request, given)
    total: Counts = sum(given, Counter())
    if isinstance(request, SubsetRequest):
        return Counter({place: quota(n, request.share) for place, n in total.items()})
    if isinstance(request, DegradeRequest):
        return Counter(
            {
                (cls, split): n
                for (cls, split), n in total.items()
                if (not request.splits or split in request.splits)
                and (not request.classes or cls in request.classes)
            }
        )
    return total


def _mixed(request: MixRequest, given: Sequence[Counts]) -> Counts:
    """Return the samples of a mix; all of its training samples count for the first class."""
    pooled = ("train", "val") if request.paper_pool else ("train",)
    raw = given[0]
    sizes: Counter[str] = Counter()
    for (cls, split), n in raw.items():
        sizes[cls] += n if split in pooled else 0
    kept: Counts = Counter({place: n for place, n in raw.items() if place[1] not in pooled})
    if sizes:
        n_train = mixed_size(request.proportion, list(sizes.values()), len(given))
        kept[min(sizes), "train"] = n_train
    return kept
