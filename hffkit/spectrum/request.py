"""Requests of `hffkit spectrum`, which are checked before the import of scikit-learn."""

from dataclasses import dataclass
from typing import Annotated

from hffkit.options import Bounds, Seed, check
from hffkit.spectrum.features import FeatureSpec, check_spec, features_named
from hffkit.spectrum.names import check_classifier


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """The features of one of the paper's experiments, with other settings where they are given."""

    features: str = "celeba"  # a name of FEATURES
    crop: str | None = None
    centre: str | None = None
    points: int | None = None
    first_bin: bool | None = None

    def spec(self) -> FeatureSpec:
        """Return the settings; raise HffkitError if they are unknown or out of range."""
        spec = features_named(self.features)
        spec = FeatureSpec(
            spec.crop if self.crop is None else self.crop,
            spec.centre if self.centre is None else self.centre,
            spec.n_points if self.points is None else self.points,
            spec.first_bin if self.first_bin is None else self.first_bin,
        )
        check_spec(spec)
        return spec


@dataclass(frozen=True, slots=True)
class SpectrumRequest(FeatureRequest):
    """Arguments of `hffkit spectrum train`."""

    data: tuple[str, ...] = ()
    classifier: str = "svm-rbf"  # a name of CLASSIFIERS
    # Used of all splits, half of them fake; None: all. 80 % of 8 have two of each class.
    samples: Annotated[int | None, Bounds(8)] = None
    limit: Annotated[int | None, Bounds(4)] = None  # training samples, half fake; None: all
    # Further splits into 80 and 20 %, for a mean accuracy with its spread.
    repeats: Annotated[int, Bounds(0, 10_000)] = 0
    paper_split: bool = False  # those splits at random over samples, not groups; ten by default
    curve: bool = False  # also the accuracy in those splits by the number of training samples
    seed: Seed = 0


def check_spectrum(request: SpectrumRequest) -> None:
    """Raise HffkitError if a request is invalid whatever the data."""
    check(request)
    request.spec()
    check_classifier(request.classifier)
