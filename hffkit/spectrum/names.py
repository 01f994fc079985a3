"""Names of the paper's experiments, crops, centres and classifiers, without their libraries."""

from pathlib import Path
from typing import Literal

FeatureName = Literal["faces-hq", "celeba", "dfd"]
CropName = Literal["whole", "square", "third"]
CentreName = Literal["paper", "true"]
ClassifierName = Literal["svm-linear", "svm-rbf", "svm-poly", "logistic", "kmeans"]


def default_folder(classifier: str) -> Path:
    """Return the run folder of a classifier whose training names none."""
    return Path("runs") / f"spectrum-{classifier}"
