"""Estimate how many images the steps of a plan read and write, before they run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hffkit.corpus.mix import MixRequest, mixed_size
from hffkit.corpus.subset import SubsetRequest, quota
from hffkit.degrade.degrade import DegradeRequest
from hffkit.errors import HffkitError
from hffkit.evaluation.evaluate import EvalRequest
from hffkit.pipeline.plan import Planned
from hffkit.spectrum.train import SpectrumRequest
from hffkit.storage.corpora import open_corpora
from hffkit.training.train import TrainRequest, chosen_recipe

Counts = Counter[tuple[str, str]]
"""Numbers of samples, by class and split."""


class Sizes:
    """Numbers of images of the steps of a plan, which must be asked for in the plan's order."""

    def __init__(self) -> None:
        self._known: dict[Path, Counts] = {}  # outputs that need not exist yet

    def processed_by(self, planned: Planned) -> int:
        """Return the number of images that a step processes, repetitions included.

        It is exact but for images that turn out unreadable. A build step has 0, because its output
        is not known before, and so have steps that follow from an output that does not exist yet.
        """
        request, src = planned.bound()
        names = [*src, *(str(path) for path in getattr(request, "data", ()))]
        given = [self._counts(Path(name)) for name in names]
        self._known[planned.out] = _written(request, given)
        return _processed(request, given)

    def _counts(self, path: Path) -> Counts:
        if path in self._known and not path.exists():
            return self._known[path]
        found: Counts = Counter()
        try:
            corpora = open_corpora([str(path)])
        except HffkitError:  # a folder to build from
            return found
        for corpus in corpora:
            for cls, splits in corpus.info.counts.items():
                found.update({(cls, split): n for split, n in splits.items()})
        return found


def _processed(request: Any, given: Sequence[Counts]) -> int:
    total: Counts = sum(given, Counter())
    if isinstance(request, TrainRequest):
        recipe = chosen_recipe(request).for_samples(_of_splits(total, ("train",)))
        return recipe.n_iterations * recipe.batch_size
    if isinstance(request, EvalRequest):
        return _of_splits(total, (request.split,) if request.split else ())
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
