"""`hffkit spectrum train`: fit a shallow classifier to spectral features of corpora."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.errors import CorpusError, writing_to
from hffkit.manifest.classes import BINARY, BINARY_FAKE, BINARY_REAL
from hffkit.manifest.samples import Split
from hffkit.manifest.seeds import rng_for
from hffkit.media.files import sha256_of
from hffkit.runs.run import write_groups
from hffkit.runs.samples import scored_items
from hffkit.runs.scores import binary_probabilities, csv_of
from hffkit.runs.spectrum import (
    MODEL_FILE,
    REPEATS_FOLDER,
    Repeats,
    SpectrumResult,
    SpectrumRun,
)
from hffkit.runs.training_samples import write_training_samples
from hffkit.spectrum.classifiers import classifier_named, fit, is_called_fake, scores
from hffkit.spectrum.features import FeatureSpec
from hffkit.spectrum.models import write_model
from hffkit.spectrum.names import default_folder
from hffkit.spectrum.profiles import Profiler, versions_of_spectra
from hffkit.spectrum.repeats import N_REPEATS, SplitProtocol, balanced, repeated, splits_of
from hffkit.spectrum.request import FeatureRequest, SpectrumRequest, check_spectrum
from hffkit.storage.corpora import joint_classes, open_faces, references
from hffkit.storage.corpus import Corpus
from hffkit.storage.datasets import datasets_note
from hffkit.storage.duplicates import duplicates_among, duplicates_note
from hffkit.storage.labels import Items, items_of
from hffkit.storage.staging import Partial, refuse_existing, write_bytes_durably

CURVE_SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Samples with their features and polarity."""

    items: Items
    features: Floats64  # (N, P)
    is_fake: Bools  # (N,)

    def at(self, places: Ints) -> "LabelledFeatures":
        """Return the samples at some indices."""
        chosen = [self.items[place] for place in places]
        return LabelledFeatures(chosen, self.features[places], self.is_fake[places])

    def of(self, *splits: Split) -> "LabelledFeatures":
        """Return the samples of some splits."""
        places = [i for i, (_, sample) in enumerate(self.items) if sample.split in splits]
        return self.at(np.array(places, np.int64))


def train_spectrum(
    request: SpectrumRequest,
    out: Path | None,
    *,
    n_workers: int,
    notify: Callable[[str], object] = lambda _: None,
) -> tuple[Path, SpectrumRun]:
    """Fit a classifier to the training samples and write its run folder; return path and run.

    The fit uses the training split only; the result has the accuracy on the validation split.
    With repeats it also has the accuracies of further fits, over splits of train and val that
    keep groups whole, or with `paper_split` over random splits of all samples, as in the paper;
    the folder then has the scores of the test samples of each repeat. `notify` is called with each
    notice on the data.

    Raises
    ------
    HffkitError
        If a corpus cannot be read, a group is in two splits, or there are too few samples.
    """
    check_spectrum(request)
    out = out or default_folder(request.classifier)
    refuse_existing(out)
    spec = request.spec()
    corpora = open_faces(request.data or ("data.lmdb",))
    for note in (datasets_note(corpora), duplicates_note(duplicates_among(corpora))):
        if note is not None:
            notify(note)
    labelled = _labelled(corpora, Profiler(spec, n_workers))
    labelled = _drawn(labelled, request.samples, rng_for(request.seed, "samples"))
    train = _drawn(labelled.of("train"), request.limit, rng_for(request.seed, "few labels"))
    _check_both(train, corpora)
    command = _command(request, spec, corpora)
    with Partial(out, command, product="run") as partial:
        partial.make_product()
        model = fit(request.classifier, train.features, train.is_fake, seed=request.seed)
        made = {**command, "data": references(corpora)}
        val = labelled.of("val")
        result = SpectrumResult(
            n_train=len(train.items),
            train_accuracy=_accuracy(request.classifier, model, train),
            val_accuracy=_accuracy(request.classifier, model, val) if val.items else None,
            val_majority_accuracy=_majority_accuracy(val) if val.items else None,
            repeats=_repeats(request, labelled, partial.product / REPEATS_FOLDER),
        )
        write_model(partial.product / MODEL_FILE, model)
        digest = sha256_of(partial.product / MODEL_FILE)
        n_features = train.features.shape[1]
        run = SpectrumRun(request.classifier, asdict(spec), n_features, made, result, digest)
        samples = [sample for _, sample in train.items]
        write_groups(partial.product, {sample.group for sample in samples})
        write_training_samples(partial.product, samples, None)
        run.write(partial.product)
        partial.publish()
    return out, run


def _labelled(corpora: Sequence[Corpus], profiler: Profiler) -> LabelledFeatures:
    table, items = joint_classes(corpora), items_of(corpora, None)
    is_fake = np.array([table[sample.cls].is_fake for _, sample in items], bool)
    return LabelledFeatures(items, profiler.features(items), is_fake)


def _drawn(some: LabelledFeatures, n: int | None, rng: np.random.Generator) -> LabelledFeatures:
    """Return `n` samples, half of them fake, or all."""
    if n is None:
        return some
    return some.at(balanced(np.arange(len(some.items)), some.is_fake, n, rng))


def _check_both(train: LabelledFeatures, corpora: Sequence[Corpus]) -> None:
    n_fake = int(train.is_fake.sum())
    if not 0 < n_fake < len(train.items):
        names = ", ".join(str(corpus.path) for corpus in corpora)
        raise CorpusError(
            f"{names}: training needs fake and real samples, got {n_fake} fake and "
            f"{len(train.items) - n_fake} real in train. `hffkit inspect` counts them."
        )


def _accuracy(name: str, model: Any, some: LabelledFeatures) -> float:
    return float(np.mean(is_called_fake(name, model, some.features) == some.is_fake))


def _majority_accuracy(some: LabelledFeatures) -> float:
    share = float(np.mean(some.is_fake))
    return max(share, 1 - share)


def _repeats(request: SpectrumRequest, labelled: LabelledFeatures, out: Path) -> Repeats | None:
    """Return the accuracies of the repeats, and write the scores of their test samples to `out`."""
    protocol: SplitProtocol = "random" if request.paper_split else "grouped"
    if not (request.repeats or request.paper_split or request.curve):
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
    with writing_to(out):
        out.mkdir(exist_ok=True)
    for number, ((_, test), found) in enumerate(zip(splits, rows[-1][1], strict=True)):
        _write_scores(out / f"{number:02}.csv", name, some.at(test), found)
    return Repeats(protocol, n_repeats, len(groups), tuple(row for row, _ in rows))


def _write_scores(path: Path, name: str, some: LabelledFeatures, found: Floats64) -> None:
    scored = scored_items(
        some.items,
        BINARY,
        np.where(some.is_fake, BINARY_FAKE, BINARY_REAL),
        binary_probabilities(scores(found)),
        found,
        is_probability=classifier_named(name).has_probabilities,
    )
    write_bytes_durably(path, csv_of(scored).encode("utf-8", "surrogateescape"))


def _command(
    request: SpectrumRequest, spec: FeatureSpec, corpora: Sequence[Corpus]
) -> dict[str, object]:
    asked = {
        name: value
        for name, value in asdict(request).items()
        if name not in asdict(FeatureRequest()) and name != "data"
    }
    return {
        "verb": "spectrum train",
        **asked,
        "features": asdict(spec),
        "data": [corpus.identity() for corpus in corpora],
        "versions": {**versions_of_spectra(), "scikit-learn": metadata.version("scikit-learn")},
    }
