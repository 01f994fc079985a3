"""`hffkit spectrum train`: corpora to a run of a shallow classifier on spectral features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.seeds import rng_for
from hffkit.options import Seed
from hffkit.runs.run import write_groups
from hffkit.runs.spectrum import MODEL_FILE, SpectrumRun
from hffkit.spectrum.cache import (
    versions_of_spectra,
)
from hffkit.spectrum.classifiers import classifier_named, fit, is_called_fake
from hffkit.spectrum.export import FeatureRequest, LabelledFeatures, labelled_features
from hffkit.spectrum.features import FeatureSpec
from hffkit.spectrum.models import write_model
from hffkit.spectrum.repeats import N_REPEATS, Protocol, balanced, repeated, splits_of
from hffkit.storage.corpora import joint_classes, open_faces
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import items_of
from hffkit.storage.staging import Partial

CURVE_SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True, slots=True)
class SpectrumRequest(FeatureRequest):
    """What to fit and how."""

    data: tuple[str, ...] = ()
    classifier: str = "svm-rbf"
    limit: int | None = None  # training images, half of them fake; None: all
    repeats: int = 0  # splits into 80 and 20 % besides, for an accuracy with a spread
    paper_split: bool = False  # those splits over images instead of groups, ten unless said
    curve: bool = False  # the accuracy in those splits by the number of training images
    seed: Seed = 0


def check_spectrum(request: SpectrumRequest) -> None:
    """Raise HffkitError if a request cannot be meant, whatever the data."""
    request.spec()
    classifier_named(request.classifier)
    if request.limit is not None and request.limit < 4:
        raise ArgumentError(f"--limit must be 4 or more, two of each class, got {request.limit}.")
    if request.repeats < 0:
        raise ArgumentError(f"--repeats must be 0 or more, got {request.repeats}.")


def train_spectrum(
    request: SpectrumRequest, out: Path | None, *, n_workers: int
) -> tuple[Path, SpectrumRun]:
    """Fit a classifier to the training samples, write the run folder `out` and return both.

    Val and test are not looked at by the fit; the accuracy on val is in the result. With repeats
    the result has accuracies of other fits, over splits of train and val that keep groups whole;
    `paper_split` takes test as well and splits at random, as the paper did.
    """
    check_spectrum(request)
    out = out or Path("runs") / f"spectrum-{request.classifier}"
    spec = request.spec()
    corpora = open_faces(request.data or ("data.lmdb",))
    table = joint_classes(corpora)
    labelled = labelled_features(items_of(corpora, None), table, spec, n_workers)
    train = labelled.of("train")
    if request.limit is not None:
        rng = rng_for(request.seed, "few labels")
        places = np.arange(len(train.items))
        train = train.at(balanced(places, train.is_fake, request.limit, rng))
    _check_both(train, corpora)
    command = _command(request, spec, corpora)
    with Partial(out, command, product="run") as partial:
        partial.product.mkdir(exist_ok=True)
        model = fit(request.classifier, train.features, train.is_fake, seed=request.seed)
        made = {**command, "data": [{"path": str(c.path), **c.identity()} for c in corpora]}
        result = {
            "n_train": len(train.items),
            "train_accuracy": _accuracy(request.classifier, model, train),
            "val_accuracy": _accuracy(request.classifier, model, labelled.of("val")),
            "repeats": _repeats(request, labelled),
        }
        run = SpectrumRun(request.classifier, spec.to_json(), train.features.shape[1], made, result)
        write_model(partial.product / MODEL_FILE, model)
        write_groups(partial.product, {sample.group for _, sample in train.items})
        run.write(partial.product)
        partial.publish()
    return out, run


def _check_both(train: LabelledFeatures, corpora: Sequence[Corpus]) -> None:
    n_fake = int(train.is_fake.sum())
    if not 0 < n_fake < len(train.items):
        names = ", ".join(str(corpus.path) for corpus in corpora)
        raise CorpusError(
            f"{names}: training needs fake and real samples, got {n_fake} fake and "
            f"{len(train.items) - n_fake} real in train. `hffkit inspect` counts them."
        )


def _accuracy(name: str, model: Any, some: LabelledFeatures) -> float | None:
    if not some.items:
        return None
    return float(np.mean(is_called_fake(name, model, some.features) == some.is_fake))


def _repeats(request: SpectrumRequest, labelled: LabelledFeatures) -> dict[str, Any] | None:
    protocol: Protocol = "random" if request.paper_split else "grouped"
    wants = request.repeats or request.paper_split or request.curve
    if not wants:
        return None
    some = labelled if request.paper_split else labelled.of("train", "val")
    n_repeats = request.repeats or N_REPEATS
    groups = [sample.group for _, sample in some.items]
    splits = splits_of(len(groups), groups, protocol, n_repeats=n_repeats, seed=request.seed)
    sizes: list[int | None] = [None]
    if request.curve:
        least = min(min(some.is_fake[a].sum(), (~some.is_fake[a]).sum()) for a, _ in splits)
        sizes = [*(n for n in CURVE_SIZES if n // 2 + n % 2 <= least), None]
    name, seed = request.classifier, request.seed
    rows = [
        repeated(name, some.features, some.is_fake, splits, seed=seed, n_train=n) for n in sizes
    ]
    return {
        "protocol": protocol,
        "n_repeats": n_repeats,
        "n_samples": len(groups),
        "rows": [row.to_json() for row in rows],
    }


def _command(
    request: SpectrumRequest, spec: FeatureSpec, corpora: Sequence[Corpus]
) -> dict[str, Any]:
    asked = {
        name: value
        for name, value in asdict(request).items()
        if name not in asdict(FeatureRequest()) and name != "data"
    }
    return {
        "verb": "spectrum train",
        **asked,
        "features": spec.to_json(),
        "data": [corpus.identity() for corpus in corpora],
        "versions": {**versions_of_spectra(), "scikit-learn": metadata.version("scikit-learn")},
    }
