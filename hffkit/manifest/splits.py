"""Random splits by group: all samples of a group are in one split."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hffkit.errors import ArgumentError
from hffkit.manifest.samples import SPLITS, Split
from hffkit.manifest.seeds import rank


@dataclass(frozen=True, slots=True)
class SplitRatio:
    """Shares of train, val and test; they sum to 1."""

    train: float
    val: float
    test: float

    @classmethod
    def parse(cls, text: str) -> "SplitRatio":
        """Parse three numbers: 75/5/20, 0.75/0.05/0.2 or 1/0/0."""
        match = re.fullmatch(r"([\d.]+)[/:,]([\d.]+)[/:,]([\d.]+)", text.strip())
        try:
            shares = [float(part) for part in match.groups()] if match else []
        except ValueError:
            shares = []
        total = sum(shares)
        if not total:
            raise ArgumentError(
                f"A split ratio must be train/val/test such as 75/5/20, got {text!r}."
            )
        return cls(*(share / total for share in shares))

    def without_test(self) -> "SplitRatio":
        """Return the shares of train and val alone, for datasets with a given test split."""
        rest = self.train + self.val
        return SplitRatio(self.train / rest, self.val / rest, 0.0) if rest else SplitRatio(1, 0, 0)

    def of(self, split: Split) -> float:
        """Return the share of one split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]


def assign_splits(
    members: Iterable[tuple[str, str]],
    ratio: SplitRatio,
    *,
    seed: int,
    taken: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Assign a split to each group, so that every class comes close to the ratio.

    Groups are assigned in an order shuffled by `seed`; each goes to the split that lacks the most
    samples of its classes. For groups of one sample the counts are exact up to rounding.

    Parameters
    ----------
    members : iterable of (group, class)
        One pair for each sample; a group may hold several classes.
    ratio : SplitRatio
        Shares of the splits in each class.
    seed : int
        Seed of the shuffle.
    taken : mapping of group to split, optional
        Groups with a given split; they count towards the ratio.
    """
    classes_of: dict[str, Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    for group, name in members:
        classes_of[group][name] += 1
        totals[name] += 1
    lacking = {
        split: {name: ratio.of(split) * total for name, total in totals.items()} for split in SPLITS
    }
    splits: dict[str, Split] = {}

    def put(group: str, split: Split) -> None:
        splits[group] = split
        for name, n in classes_of[group].items():
            lacking[split][name] -= n

    for group, split in sorted((taken or {}).items()):
        put(group, split)
    for group in sorted(classes_of, key=lambda name: rank(seed, "split", name)):
        if group not in splits:
            held = classes_of[group]
            put(group, max(SPLITS, key=lambda s: _need(lacking[s], held, totals, ratio.of(s))))
    return splits


def _need(
    lacking: Mapping[str, float], held: Mapping[str, int], totals: Mapping[str, int], share: float
) -> tuple[bool, float]:
    # A split of share 0 gets no group, even where rounding leaves it a need.
    return share > 0, sum(
        held[name] * lacking[name] / totals[name]
        for name in sorted(held)  # a sum of floats depends on the order
    )
