"""The paper's shallow classifiers: their table, fitting and decision values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from hffkit.arrays import Bools, Floats64
from hffkit.errors import TrainingError
from hffkit.spectrum.names import check_classifier

FAKE, REAL = 1, 0  # labels of the paper, used inside scikit-learn's models only
SEEDS = 1 << 32  # scikit-learn takes seeds below this
_LEAST = 2  # training samples of each class
_MOST_LOGIT = 700.0  # exp of more overflows


@dataclass(frozen=True, slots=True)
class Classifier:
    """One row of the table: a scikit-learn model with the paper's settings."""

    build: Callable[[int], Any]  # from a seed
    margins: Callable[[Any, Floats64], Floats64]  # (N,), above 0 for fake
    has_probabilities: bool = False  # the logistic function of the margins


def _decision(model: Any, features: Floats64) -> Floats64:
    return np.asarray(model.decision_function(features), np.float64)


def _nearer(model: Any, features: Floats64) -> Floats64:
    distances = model.transform(features)
    return np.asarray(distances[:, REAL] - distances[:, FAKE], np.float64)


# The settings of the notebooks. Features are neither centred nor scaled.
CLASSIFIERS: Mapping[str, Classifier] = {
    # All experiments.
    "svm-linear": Classifier(lambda _: SVC(kernel="linear", C=1.0), _decision),
    # CelebA and DeepFakeDetection.
    "svm-rbf": Classifier(lambda _: SVC(kernel="rbf", C=6.37, gamma=0.86), _decision),
    # CelebA. "auto" was scikit-learn's default up to 0.21, the notebooks' version.
    "svm-poly": Classifier(lambda _: SVC(kernel="poly", degree=3, C=1.0, gamma="auto"), _decision),
    # All experiments.
    "logistic": Classifier(
        lambda seed: LogisticRegression(
            C=1.0, solver="liblinear", max_iter=1000, random_state=seed % SEEDS
        ),
        _decision,
        has_probabilities=True,
    ),
    # Faces-HQ and CelebA.
    "kmeans": Classifier(lambda seed: KMeans(2, n_init=10, random_state=seed % SEEDS), _nearer),
}


def classifier_named(name: str) -> Classifier:
    """Return a classifier of the table."""
    check_classifier(name)
    return CLASSIFIERS[name]


def fit(name: str, features: Floats64, is_fake: Bools, *, seed: int = 0) -> Any:
    """Fit a scikit-learn model of the table to features (N, P), given is_fake (N,).

    k-means gets no labels; each cluster is then named after the majority of its training samples.
    `seed` is for the starts of k-means and the solver of logistic regression.

    Raises
    ------
    TrainingError
        If there are fewer than two real or two fake samples, or features are not finite.
    """
    classifier = classifier_named(name)
    n_fake, n_real = int(is_fake.sum()), int((~is_fake).sum())
    if min(n_fake, n_real) < _LEAST:
        raise TrainingError(
            f"Training needs at least {_LEAST} samples of each class, got {n_fake} fake and "
            f"{n_real} real."
        )
    if not np.isfinite(features).all():
        raise TrainingError("Features must be finite numbers.")
    model = classifier.build(seed).fit(features, np.where(is_fake, FAKE, REAL))
    if (
        isinstance(model, KMeans)
        and np.mean(is_called_fake(name, model, features) == is_fake) < 0.5
    ):
        model.cluster_centers_ = np.ascontiguousarray(model.cluster_centers_[::-1])
        model.labels_ = (1 - model.labels_).astype(model.labels_.dtype)
    return model


def margins(name: str, model: Any, features: Floats64) -> Floats64:
    """Compute the decision values of a model, (N,): above 0 is fake."""
    return classifier_named(name).margins(model, features)


def is_called_fake(name: str, model: Any, features: Floats64) -> Bools:
    """Predict which samples are fake, (N,)."""
    return margins(name, model, features) > 0


def scores(margins_of_fake: Floats64) -> Floats64:
    """Map decision values to scores for fake in [0, 1] by the logistic function.

    For logistic regression these are its probabilities. For the others only their order and the
    threshold of 0.5 are meaningful, and calibration is not.
    """
    bounded = np.clip(margins_of_fake, -_MOST_LOGIT, _MOST_LOGIT)
    return np.asarray(1 / (1 + np.exp(-bounded)), np.float64)
