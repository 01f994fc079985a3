"""The paper's shallow classifiers: a literal table, and what each says of features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from hffkit.arrays import Bools, Floats64
from hffkit.errors import TrainingError, UnknownNameError

FAKE, REAL = 1, 0  # as the paper's images are labelled, inside scikit-learn's models alone
_SEEDS = 1 << 32
_LEAST = 2  # training images of each class
_MOST_LOGIT = 700.0  # exp of more is no number


@dataclass(frozen=True, slots=True)
class Classifier:
    """One row of the table: a scikit-learn model with the paper's settings."""

    build: Callable[[int], Any]  # from a seed
    margins: Callable[[Any, Floats64], Floats64]  # (N,), above 0 where it says fake
    source: str


def _decision(model: Any, features: Floats64) -> Floats64:
    return np.asarray(model.decision_function(features), np.float64)


def _nearer(model: Any, features: Floats64) -> Floats64:
    distances = model.transform(features)
    return np.asarray(distances[:, REAL] - distances[:, FAKE], np.float64)


# Settings of the notebooks, features as they are: neither centred nor scaled.
CLASSIFIERS: Mapping[str, Classifier] = {
    "svm-linear": Classifier(lambda _: SVC(kernel="linear", C=1.0), _decision, "all experiments"),
    "svm-rbf": Classifier(
        lambda _: SVC(kernel="rbf", C=6.37, gamma=0.86), _decision, "CelebA, DeepFakeDetection"
    ),
    "svm-poly": Classifier(
        # "auto" was scikit-learn's default up to 0.21, the notebooks' version.
        lambda _: SVC(kernel="poly", degree=3, C=1.0, gamma="auto"), _decision, "CelebA"
    ),
    "logistic": Classifier(
        lambda seed: LogisticRegression(
            C=1.0, solver="liblinear", max_iter=1000, random_state=seed % _SEEDS
        ),
        _decision,
        "all experiments",
    ),
    "kmeans": Classifier(
        lambda seed: KMeans(2, n_init=10, random_state=seed % _SEEDS), _nearer, "Faces-HQ, CelebA"
    ),
}  # fmt: skip


def classifier_named(name: str) -> Classifier:
    """Return a classifier of the table."""
    if name not in CLASSIFIERS:
        raise UnknownNameError("classifier", name, CLASSIFIERS)
    return CLASSIFIERS[name]


def fit(name: str, features: Floats64, is_fake: Bools, *, seed: int = 0) -> Any:
    """Return a scikit-learn model fitted to features.

    k-means sees no labels; its clusters are then called fake and real as most of the training
    images would have it.

    Parameters
    ----------
    name : str
        Of the table.
    features : (N, P) float
    is_fake : (N,) bool
    seed : int
        Only k-means draws: its starts.

    Raises
    ------
    TrainingError
        If there are fewer than two real or two fake images, or features are no numbers.
    """
    classifier = classifier_named(name)
    n_fake, n_real = int(is_fake.sum()), int((~is_fake).sum())
    if min(n_fake, n_real) < _LEAST:
        raise TrainingError(
            f"Training needs {_LEAST} images of each class at least, got {n_fake} fake and "
            f"{n_real} real."
        )
    if not np.isfinite(features).all():
        raise TrainingError("Features hold what is no number.")
    model = classifier.build(seed).fit(features, np.where(is_fake, FAKE, REAL))
    if (
        isinstance(model, KMeans)
        and np.mean(is_called_fake(name, model, features) == is_fake) < 0.5
    ):
        model.cluster_centers_ = np.ascontiguousarray(model.cluster_centers_[::-1])
        model.labels_ = (1 - model.labels_).astype(model.labels_.dtype)
    return model


def margins(name: str, model: Any, features: Floats64) -> Floats64:
    """Return how far a model takes features for fake, (N,): above 0 is fake."""
    return classifier_named(name).margins(model, features)


def is_called_fake(name: str, model: Any, features: Floats64) -> Bools:
    """Return what a model takes for fake, (N,)."""
    return margins(name, model, features) > 0


def scores(margins_of_fake: Floats64) -> Floats64:
    """Return margins as scores for fake in [0, 1]: their logistic function.

    Of a logistic regression these are its probabilities. Of the others only the order and the
    threshold at 0.5 mean something: calibration does not.
    """
    bounded = np.clip(margins_of_fake, -_MOST_LOGIT, _MOST_LOGIT)
    return np.asarray(1 / (1 + np.exp(-bounded)), np.float64)
