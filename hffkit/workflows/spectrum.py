"""`hffkit spectrum`: corpora to features, to a run of a shallow classifier, and to a plot."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.errors import ArgumentError, CorpusError, StorageError
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Split
from hffkit.manifest.seeds import rng_for
from hffkit.runs.run import write_groups
from hffkit.runs.spectrum import MODEL_FILE, SpectrumRun
from hffkit.spectrum.classifiers import Flags, Floats, classifier_named, fit, is_called_fake
from hffkit.spectrum.features import FeatureSpec, check_spec, features_named, profiles_of, resampled
from hffkit.spectrum.models import write_model
from hffkit.spectrum.repeats import N_REPEATS, Protocol, balanced, repeated, splits_of
from hffkit.storage.corpus import CORPUS_FILE, Corpus
from hffkit.storage.partial import Partial, write_bytes_durably
from hffkit.workflows.corpora import joint_classes, open_faces
from hffkit.workflows.outputs import Items, items_of
from hffkit.workflows.profile_curves import curves_json, curves_of, value_of
from hffkit.workflows.profiles import (
    pictures_of_folder,
    profiles_of_items,
    versions_of_spectra,
)
from hffkit.workflows.progress import Progress

CURVE_SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Features: one of the paper's experiments, and what is to be otherwise; None: as there."""

    features: str = "celeba"
    crop: str | None = None
    centre: str | None = None
    points: int | None = None
    first_bin: bool | None = None

    def spec(self) -> FeatureSpec:
        """Return the features that are meant; HffkitError if there are none such."""
        spec = features_named(self.features)
        known = {
            "crop": self.crop,
            "centre": self.centre,
            "n_points": self.points,
            "first_bin": self.first_bin,
        }
        given: dict[str, Any] = {k: v for k, v in known.items() if v is not None}
        spec = replace(spec, **given)
        check_spec(spec)
        return spec


@dataclass(frozen=True, slots=True)
class SpectrumRequest(FeatureRequest):
    """What to fit and how."""

    data: tuple[str, ...] = ()
    classifier: str = "svm-rbf"
    limit: int | None = None  # training pictures, half of them fake; None: all
    repeats: int = 0  # splits into 80 and 20 % besides, for an accuracy with a spread
    paper_split: bool = False  # those splits over pictures instead of groups, ten unless said
    curve: bool = False  # the accuracy in those splits by the number of training pictures
    seed: int = 0


def check_spectrum(request: SpectrumRequest) -> None:
    """Raise HffkitError if a request cannot be meant, whatever the data."""
    request.spec()
    classifier_named(request.classifier)
    if request.limit is not None and request.limit < 4:
        raise ArgumentError(f"--limit must be 4 or more, two of each class, got {request.limit}.")
    if request.repeats < 0:
        raise ArgumentError(f"--repeats must be 0 or more, got {request.repeats}.")


@dataclass(frozen=True, slots=True)
class _Labelled:
    items: Items
    features: Floats  # (N, P)
    is_fake: Flags  # (N,)

    def at(self, places: Sequence[int] | np.ndarray[Any, Any]) -> "_Labelled":
        chosen = [self.items[place] for place in places]
        return _Labelled(chosen, self.features[places], self.is_fake[places])

    def of(self, *splits: Split) -> "_Labelled":
        return self.at([i for i, (_, s) in enumerate(self.items) if s.split in splits])


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
    labelled = _labelled(items_of(corpora, None), table, spec, n_workers)
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
        made = {**command, "data": [{"path": str(c.path), **_identity(c)} for c in corpora]}
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


def _labelled(items: Items, table: ClassTable, spec: FeatureSpec, n_workers: int) -> _Labelled:
    features = resampled(profiles_of_items(items, spec, n_workers=n_workers), spec)
    return _Labelled(items, features, np.array([table[s.cls].is_fake for _, s in items], bool))


def _check_both(train: _Labelled, corpora: Sequence[Corpus]) -> None:
    n_fake = int(train.is_fake.sum())
    if not 0 < n_fake < len(train.items):
        names = ", ".join(str(corpus.path) for corpus in corpora)
        raise CorpusError(
            f"{names}: training needs fake and real samples, got {n_fake} fake and "
            f"{len(train.items) - n_fake} real in train. `hffkit inspect` counts them."
        )


def _accuracy(name: str, model: Any, some: _Labelled) -> float | None:
    if not some.items:
        return None
    return float(np.mean(is_called_fake(name, model, some.features) == some.is_fake))


def _repeats(request: SpectrumRequest, labelled: _Labelled) -> dict[str, Any] | None:
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
        "data": [_identity(corpus) for corpus in corpora],
        "versions": {**versions_of_spectra(), "scikit-learn": metadata.version("scikit-learn")},
    }


def _identity(corpus: Corpus) -> dict[str, str]:
    return {
        "content_sha256": corpus.content_sha256,
        "manifest_sha256": corpus.manifest_sha256(),
    }


def write_features(
    source: str, out: Path, request: FeatureRequest, *, n_workers: int
) -> dict[str, Any]:
    """Write the features of corpora, or of a folder of pictures, to an .npz; return what it holds.

    Arrays: features (N, P), keys (N,); of corpora also is_fake, classes, splits and groups, (N,);
    about, JSON as text.
    """
    if out.suffix != ".npz" or out.is_dir():
        raise ArgumentError(f"--out must be an .npz file, got {out}.")
    if out.exists():
        raise StorageError(f"{out} already exists. Delete it or choose another --out.")
    spec = request.spec()
    about: dict[str, Any] = {"features": spec.to_json(), "versions": versions_of_spectra()}
    if _is_plain_folder(source):
        pictures = list(pictures_of_folder(Path(source)))
        with Progress(len(pictures), unit="pictures", label="spectrum") as progress:
            found = []
            for profile in profiles_of(pictures, spec, n_workers=n_workers):
                found.append(profile)
                progress.step(1)
        arrays: dict[str, Any] = {"keys": [name for name, _ in pictures]}
        features = resampled(found, spec)
    else:
        corpora = open_faces([source])
        items, table = items_of(corpora, None), joint_classes(corpora)
        about["data"] = [_identity(corpus) for corpus in corpora]
        labelled = _labelled(items, table, spec, n_workers)
        features = labelled.features
        arrays = {
            "keys": [s.key for _, s in items],
            "is_fake": labelled.is_fake,
            "classes": [s.cls for _, s in items],
            "splits": [s.split for _, s in items],
            "groups": [s.group for _, s in items],
        }
    file = io.BytesIO()
    text = json.dumps(about, sort_keys=True)
    np.savez(file, about=np.array(text), features=features, **arrays)
    write_bytes_durably(out, file.getvalue())
    return {**about, "n_samples": features.shape[0], "n_features": features.shape[1]}


def _is_plain_folder(source: str) -> bool:
    """Tell whether this is a folder of pictures: no corpus, and no folder of corpora."""
    path = Path(source)
    if not path.is_dir() or (path / CORPUS_FILE).is_file():
        return False
    return not any(path.glob(f"*/{CORPUS_FILE}"))


def plot(
    names: Sequence[str],
    out: Path,
    request: FeatureRequest,
    *,
    split: Split | None = None,
    n_workers: int,
) -> list[dict[str, Any]]:
    """Draw mean and spread of each class's profiles as a PNG; return them as JSON values."""
    from hffkit.reports.plots import profile_plot  # late: matplotlib takes a second

    if out.suffix.lower() != ".png" or out.is_dir():
        raise ArgumentError(f"--out must be a .png file, got {out}.")
    spec = request.spec()
    corpora = open_faces(names)
    items, table = items_of(corpora, split), joint_classes(corpora)
    curves = curves_of(items, table, spec, n_workers=n_workers)
    write_bytes_durably(out, profile_plot(curves, value_of(spec), "png"))
    return curves_json(curves)
