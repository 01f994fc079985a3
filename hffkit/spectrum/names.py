"""Names of the paper's experiments, crops, centres and classifiers, without their libraries."""

from pathlib import Path
from typing import Literal, get_args

from hffkit.errors import UnknownNameError

FeatureName = Literal["faces-hq", "celeba", "dfd"]
CropName = Literal["whole", "square", "third"]
CentreName = Literal["paper", "true"]
ClassifierName = Literal["svm-linear", "svm-rbf", "svm-poly", "logistic", "kmeans"]


def check_classifier(name: str) -> None:
    """Raise UnknownNameError if there is no such classifier."""
    if name not in get_args(ClassifierName):
        raise UnknownNameError("classifier", name, get_args(ClassifierName))


def default_folder(classifier: str) -> Path:
    """Return the run folder of a classifier whose training names none."""
    return Path("runs") / f"spectrum-{classifier}"
