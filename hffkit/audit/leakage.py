"""The leakage score: how well a plain classifier tells classes apart by facts that are no forgery.

The classifier is scikit-learn's histogram gradient boosting, cross-validated so that no group is in
both parts. AUC is computed within each fold and averaged over the pairs of samples, because scores
of different folds cannot be compared. The interval is a bootstrap over groups.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.audit.stored_facts import Fact
from hffkit.audit.strata import Auc, PairAuc
from hffkit.errors import MetricError
from hffkit.evaluation.roc import Ranking

_FOLDS = 5
_N_TREES = 40
_MIN_SAMPLES = 8  # of each class
_N_PERMUTATIONS = 2
_IMPORTANT = 0.01  # of AUC
_STRONG = 0.65  # AUC of a fact alone
_WORTH_NAMING = 0.6  # lower bound of AUC from which the facts that carry it are named
_SEEDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Carrier:
    """Facts that carry a leakage score; those that always change together are one."""

    names: tuple[str, ...]
    titles: tuple[str, ...]
    importance: float  # fall of the held-out AUC when the facts are permuted
    own_auc: float  # of the first fact alone, at least 0.5

    @property
    def strength(self) -> float:
        """The importance, or that of the fact alone if it is strong: its AUC above 0.65."""
        return max(self.importance, self.own_auc - 0.5 if self.own_auc >= _STRONG else 0.0)


@dataclass(frozen=True, slots=True)
class Leakage(Auc):
    """A leakage score with its 95 % interval."""

    n_negative: int
    n_positive: int
    n_groups: int
    carriers: tuple[Carrier, ...]  # the most important first

    def to_json(self) -> dict[str, object]:
        """Return the score as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Fold:
    """A fitted classifier, its held-out samples and their ranking."""

    model: Any
    held_out: Ints
    ranking: Ranking


def leakage(
    values: Floats64,
    is_positive: Bools,
    groups: Ints,
    facts: Sequence[Fact],
    rng: np.random.Generator,
) -> Leakage:
    """Measure how well facts (N, F) predict `is_positive` (N,), and which of them do.

    Facts may be NaN. Equal arguments give equal results; `groups` (N,) are numbers from 0.

    Raises
    ------
    MetricError
        If a class has fewer than 8 samples, or samples of one group only.
    """
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if min(n_positive, n_negative) < _MIN_SAMPLES:
        raise MetricError(
            f"a leakage score needs {_MIN_SAMPLES} samples of each class, got {n_negative} and "
            f"{n_positive}"
        )
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    n_groups = int(numbers.max()) + 1
    varying = _columns(values, facts)
    if not varying:
        return Leakage(0.5, 0.5, 0.5, n_negative, n_positive, n_groups, ())
    used = _filled(values[:, [column for columns in varying for column in columns]])
    with one_thread():
        folds = list(_folds(used, is_positive, numbers, rng))
        score = PairAuc([(fold.held_out, fold.ranking) for fold in folds]).estimate(numbers, rng)
        is_named = score.low >= _WORTH_NAMING
        permuted = [score.auc] * len(varying)
        if is_named:
            permuted = _permuted_aucs(folds, used, is_positive, varying, rng)
    carriers = [
        Carrier(
            tuple(facts[column].name for column in columns),
            tuple(facts[column].title for column in columns),
            score.auc - auc,
            _own_auc(values[:, columns[0]], is_positive),
        )
        for columns, auc in zip(varying, permuted, strict=True)
    ]
    # Of facts that say the same, the trees use one, and permuting it shows nothing of the others.
    named = [each for each in carriers if is_named and each.strength >= _IMPORTANT]
    named.sort(key=lambda each: -each.strength)
    counts = (n_negative, n_positive, n_groups)
    return Leakage(score.auc, score.low, score.high, *counts, tuple(named))


def one_thread() -> AbstractContextManager[object]:
    """Keep scikit-learn to one thread: more of them wait for each other on so little data."""
    from threadpoolctl import threadpool_limits

    import_module("sklearn.ensemble")  # loads OpenMP: only libraries that are loaded are limited
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _columns(values: Floats64, facts: Sequence[Fact]) -> list[list[int]]:
    """Return the columns that vary, those that divide the samples alike together.

    Facts of the history come first: of two facts that divide the training samples equally well,
    the trees take the first one.
    """
    found: dict[bytes, list[int]] = {}
    order = sorted(range(len(facts)), key=lambda column: facts[column].is_content)
    for column in order:
        _, first, codes = np.unique(values[:, column], return_index=True, return_inverse=True)
        if len(first) > 1:
            alike = np.argsort(np.argsort(first))[codes]  # numbered by first occurrence
            # Measured values that all differ divide the samples alike without being alike.
            own = bytes([column]) if len(first) > len(codes) // 2 else b""
            found.setdefault(own + alike.astype(np.int32).tobytes(), []).append(column)
    return list(found.values())


def _filled(values: Floats64) -> Floats64:
    """Return facts (N, F) with a value below all others for those that are missing.

    scikit-learn takes NaN, but no column that is NaN in a whole fold.
    """
    lowest = np.nanmin(values, axis=0) - 1
    return np.asarray(np.where(np.isnan(values), lowest, values), np.float64)


def _folds(
    values: Floats64, is_positive: Bools, groups: Ints, rng: np.random.Generator
) -> Iterator[_Fold]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    n_folds = min(_FOLDS, *(len(np.unique(groups[is_positive == kind])) for kind in (True, False)))
    if n_folds < 2:
        raise MetricError("a leakage score needs samples of two groups in each class, got one")
    divide = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(_SEEDS)))
    found = 0
    for train, held_out in divide.split(values, is_positive, groups):
        truth = is_positive[held_out]
        if len(np.unique(truth)) < 2 or len(np.unique(is_positive[train])) < 2:
            continue
        model = HistGradientBoostingClassifier(
            max_iter=_N_TREES,
            max_leaf_nodes=15,
            min_samples_leaf=int(np.clip(len(train) // 20, 2, 20)),
            early_stopping=False,
            random_state=int(rng.integers(_SEEDS)),
        ).fit(values[train], is_positive[train])
        ranking = Ranking(truth, _scores(model, values[held_out]))
        found += 1
        yield _Fold(model, held_out, ranking)
    if not found:
        raise MetricError("a leakage score needs groups that can be divided, got too few")


def _scores(model: Any, values: Floats64) -> Floats64:
    return np.asarray(model.decision_function(values), np.float64)


def _permuted_aucs(
    folds: Sequence[_Fold],
    values: Floats64,
    is_positive: Bools,
    varying: Sequence[Sequence[int]],
    rng: np.random.Generator,
) -> list[float]:
    """Return the mean held-out AUC when columns are permuted together, for each such set."""
    found, start = [], 0
    for columns in varying:
        at = slice(start, start + len(columns))
        start += len(columns)
        aucs = []
        for _ in range(_N_PERMUTATIONS):
            parts = []
            for fold in folds:
                held_out = values[fold.held_out]
                held_out[:, at] = held_out[rng.permutation(len(held_out)), at]
                ranking = Ranking(is_positive[fold.held_out], _scores(fold.model, held_out))
                parts.append((fold.held_out, ranking))
            aucs.append(PairAuc(parts).mean())
        found.append(float(np.mean(aucs)))
    return found


def _own_auc(values: Floats64, is_positive: Bools) -> float:
    """Return the AUC of one fact, in the better direction; NaN counts as lowest."""
    auc = Ranking(is_positive, _filled(values[:, None])[:, 0]).curve().auc()
    return max(auc, 1 - auc)
