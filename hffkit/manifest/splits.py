"""Splits that never cut a group in two."""

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
        """Return the ratio written as three numbers: 75/5/20, 0.75/0.05/0.2 or 1/0/0."""
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
        """Return the shares of train and val where the test split is settled otherwise."""
        rest = self.train + self.val
        return SplitRatio(self.train / rest, self.val / rest, 0.0) if rest else SplitRatio(1, 0, 0)

    def of(self, split: Split) -> float:
        """Return the share of one split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]


# Section IV-A of the AMTENnet paper: 75 % train, 5 % val, 20 % test, per class.
PAPER_RATIO = SplitRatio(0.75, 0.05, 0.20)


def assign_splits(
    members: Iterable[tuple[str, str]],
    ratio: SplitRatio,
    *,
    seed: int,
    taken: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Return a split for each group, so that every class comes near its ratio.

    Groups are taken in an order shuffled by `seed`; each goes to the split that still lacks the
    most of its classes' samples. With groups of one sample the counts are exact up to rounding.

    Parameters
    ----------
    members : iterable of (group, class)
        One pair a sample; a group may hold several classes.
    ratio : SplitRatio
        Wanted shares, of each class.
    seed : int
        Another seed, another shuffle.
    taken : mapping of group to split, optional
        Groups whose split is fixed already; they count towards the ratio.
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
    # A split of share 0 takes nothing, whatever rounding says.
    return share > 0, sum(
        held[name] * lacking[name] / totals[name]
        for name in sorted(held)  # sums of floats depend on the order
    )
