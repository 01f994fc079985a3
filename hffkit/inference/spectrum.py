"""Inference with a classifier of power spectra."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hffkit.arrays import Floats32, Floats64
from hffkit.errors import HffkitError, WeightsError
from hffkit.inference.intake import Fed, Outputs, ProfileIntake
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.media.image import Image
from hffkit.runs.run import RUN_FILE, checked_digest, read_groups
from hffkit.runs.samples import scored_items
from hffkit.runs.scores import Scored, binary_probabilities
from hffkit.runs.spectrum import MODEL_FILE, SpectrumRun, read_spectrum_run
from hffkit.runs.training_samples import TrainingSamples, read_training_samples
from hffkit.spectrum.classifiers import classifier_named, margins, scores
from hffkit.spectrum.features import GREY, FeatureSpec, check_spec, profiles_of, resampled
from hffkit.spectrum.models import read_model
from hffkit.spectrum.profiles import Profiler
from hffkit.storage.labels import Items, Task, labels_of

_BATCH = 64


@dataclass(frozen=True, slots=True)
class SpectrumDetector:
    """A run's classifier of spectra; a Detector."""

    path: Path
    run: SpectrumRun
    model: Any  # of scikit-learn
    spectrum: FeatureSpec
    weights_sha256: str
    groups: frozenset[str]  # of the training samples
    training_samples: TrainingSamples | None

    @property
    def has_probabilities(self) -> bool:
        """False for classifiers that only have decision values."""
        return classifier_named(self.run.classifier).has_probabilities

    @property
    def as_network(self) -> None:
        """None: there is no network."""

    def score(self, items: Items, table: ClassTable, task: Task) -> Scored:
        """Score samples whose classes are in `table`, fake against real whatever the task."""
        profiler = Profiler(self.spectrum, torch.get_num_threads())
        return self.scored(items, table, task, self._margins(profiler.of_items(items))[:, None])

    def scored(
        self,
        items: Items,
        table: ClassTable,
        task: Task,  # noqa: ARG002
        outputs: Outputs,
    ) -> Scored:
        """Return samples with the scores that follow from their decision values (N, 1)."""
        labels, found = labels_of(items, table, BINARY), outputs[:, 0]
        fitted = binary_probabilities(scores(found))
        return scored_items(
            items, BINARY, labels, fitted, found, is_probability=self.has_probabilities
        )

    @property
    def intake(self) -> ProfileIntake:
        """Native profiles."""
        return ProfileIntake(self.spectrum)

    def check(self, items: Items, table: ClassTable, task: Task) -> None:
        """Accept samples of any size and class: profiles tell which do not fit."""

    def outputs(self, fed: Sequence[Fed], items: Items) -> Outputs:  # noqa: ARG002
        """Return the decision values (B, 1) of a batch of profiles, made by `intake`."""
        return self._margins(fed)[:, None]

    def probabilities(self, images: Iterable[Image]) -> Iterator[Floats32]:
        """Yield the scores (2,) for fake and real of each (H, W) grey or (H, W, 3) RGB image.

        Raises
        ------
        ImageError
            If an image has no spectrum.
        """
        waiting = iter(images)
        while some := list(islice(waiting, _BATCH)):
            reads = ((f"face {i}", partial(np.asarray, image)) for i, image in enumerate(some, 1))
            profiles = list(profiles_of(reads, self.spectrum))
            yield from binary_probabilities(scores(self._margins(profiles)))

    def _margins(self, profiles: Sequence[Floats64]) -> Floats64:
        """Return the decision values (N,), above 0 for fake."""
        features = resampled(profiles, self.spectrum)
        if features.shape[1] != self.run.n_features:
            raise WeightsError(
                f"{self.path}: the classifier takes profiles of {self.run.n_features} values, got "
                f"{features.shape[1]}: the images have another size. Set `points` when training, "
                "so that all profiles have one length."
            )
        return margins(self.run.classifier, self.model, features)


def load_spectrum(path: Path) -> SpectrumDetector:
    """Load the classifier of a run folder of `hffkit spectrum`.

    Raises
    ------
    WeightsError
        If run.json is damaged, or the model is not of the classifier that it names.
    """
    run = read_spectrum_run(path)
    try:
        classifier_named(run.classifier)
    except HffkitError as error:
        raise WeightsError(f"{path / RUN_FILE}: damaged: {error}") from None
    if "grey" not in run.features:
        raise WeightsError(
            f"{path}: an older version of hffkit fitted this model, to spectra of JPEG files whose "
            f"grey was computed from colour. Now it is the decoder's luma ({GREY}), as in the "
            "paper's notebooks. Train the model again."
        )
    try:
        spec = FeatureSpec(**run.features)
        check_spec(spec)
        if type(spec.n_points) not in (int, type(None)):
            raise TypeError(f"n_points is {spec.n_points!r}")
    except (TypeError, HffkitError) as error:
        raise WeightsError(f"{path / RUN_FILE}: damaged: features: {error}") from None
    model = read_model(path / MODEL_FILE, run.classifier, run.n_features)
    digest = checked_digest(path / MODEL_FILE, run.model_sha256)
    trained_on = read_training_samples(path)
    return SpectrumDetector(path, run, model, spec, digest, read_groups(path), trained_on)
