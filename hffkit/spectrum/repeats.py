"""Accuracy over repeated splits into 80 % training and 20 % test samples."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.errors import TrainingError
from hffkit.manifest.seeds import rng_for
from hffkit.runs.spectrum import RepeatedAccuracy
from hffkit.spectrum.classifiers import SEEDS, fit, margins

SplitProtocol = Literal["grouped", "random"]
N_REPEATS = 10
SHARE_OF_TEST = 0.2


def splits_of(
    n: int, groups: Sequence[str], protocol: SplitProtocol, *, n_repeats: int, seed: int
) -> list[tuple[Ints, Ints]]:
    """Draw the training and test indices of each repeat.

    "grouped" keeps groups whole and tests on a fifth of them; "random" is the paper's protocol
    and tests on a fifth of the samples.

    Raises
    ------
    TrainingError
        If there is only one group, or too few samples.
    """
    how = {"n_splits": n_repeats, "test_size": SHARE_OF_TEST, "random_state": seed % SEEDS}
    n_units = len(set(groups)) if protocol == "grouped" else n
    if n_units < 2:
        kind = "groups" if protocol == "grouped" else "samples"
        raise TrainingError(f"Splits need at least 2 {kind}, got {n_units}.")
    places = np.zeros(n)
    if protocol == "grouped":
        _, numbers = np.unique(list(groups), return_inverse=True)
        found = GroupShuffleSplit(**how).split(places, groups=numbers)
    else:
        found = ShuffleSplit(**how).split(places)
    return [(np.asarray(train, np.int64), np.asarray(test, np.int64)) for train, test in found]


def repeated(
    name: str,
    features: Floats64,
    is_fake: Bools,
    splits: Sequence[tuple[Ints, Ints]],
    *,
    seed: int = 0,
    n_train: int | None = None,
) -> tuple[RepeatedAccuracy, list[Floats64]]:
    """Apply a classifier to the test samples of each split, trained on all or `n_train` samples.

    Half of `n_train` samples are fake. They are drawn in each split, and a smaller draw is the
    beginning of a larger one. The second result has the decision values of each split's test
    samples.

    Raises
    ------
    TrainingError
        If a split has fewer samples, or too few of a class.
    """
    accuracies, found = [], []
    for number, (train, test) in enumerate(splits):
        chosen = train
        if n_train is not None:
            rng = rng_for(seed, "few labels", str(number))
            chosen = balanced(train, is_fake, n_train, rng)
        model = fit(name, features[chosen], is_fake[chosen], seed=seed)
        found.append(margins(name, model, features[test]))
        accuracies.append(float(np.mean((found[-1] > 0) == is_fake[test])))
    n_least = n_train or min(len(train) for train, _ in splits)
    mean, spread = float(np.mean(accuracies)), float(np.std(accuracies))
    return RepeatedAccuracy(n_least, mean, spread, tuple(accuracies)), found


def balanced(places: Ints, is_fake: Bools, n: int, rng: np.random.Generator) -> Ints:
    """Draw `n` of the indices, half of them fake, with one more real if `n` is odd.

    Raises
    ------
    TrainingError
        If there are too few of a class.
    """
    shuffled = rng.permutation(places)
    fakes, reals = shuffled[is_fake[shuffled]], shuffled[~is_fake[shuffled]]
    n_fake, n_real = n // 2, n - n // 2
    if len(fakes) < n_fake or len(reals) < n_real:
        raise TrainingError(
            f"{n} samples would be {n_fake} fake and {n_real} real, but there are "
            f"{len(fakes)} and {len(reals)}."
        )
    return np.sort(np.concatenate([fakes[:n_fake], reals[:n_real]]))
