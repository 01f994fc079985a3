"""What judges faces: the network of a run, or its classifier of spectra."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hffkit.arrays import Floats64
from hffkit.errors import WeightsError
from hffkit.inference.network import Scorer, load_scorer, video_of
from hffkit.manifest.classes import BINARY, ClassTable
from hffkit.media.files import sha256_of
from hffkit.media.image import Image
from hffkit.reports.page import Figure
from hffkit.runs.run import read_groups
from hffkit.runs.scores import Scored
from hffkit.runs.spectrum import (
    MODEL_FILE,
    SpectrumRun,
    is_spectrum_run,
    read_spectrum_run,
)
from hffkit.spectrum.classifiers import classifier_named, margins, scores
from hffkit.spectrum.curves import figure_of
from hffkit.spectrum.features import FeatureSpec, check_spec, profiles_of, resampled
from hffkit.spectrum.models import read_model
from hffkit.spectrum.profiles import Profiler
from hffkit.storage.labels import Items, Task, labels_of

_BATCH = 64


@dataclass(frozen=True, slots=True)
class SpectrumScorer:
    """A run's classifier of spectra."""

    path: Path
    run: SpectrumRun
    model: Any
    spec: FeatureSpec
    weights_sha256: str
    groups: frozenset[str]  # that it was fitted to
    n_workers: int

    def score(self, items: Items, table: ClassTable, task: Task) -> Scored:  # noqa: ARG002
        """Return what the classifier says of samples, fake against real whatever the task."""
        profiles = Profiler(self.spec, self.n_workers).of_items(items)
        found = self._margins(profiles)
        return Scored(
            BINARY,
            labels_of(items, table, BINARY),
            _both(found),
            tuple(sample.key for _, sample in items),
            tuple(sample.group for _, sample in items),
            tuple(video_of(sample) for _, sample in items),
            found,
        )

    def probabilities(self, images: Iterable[Image]) -> Iterator[Any]:
        """Yield the scores (2,) for fake and real of each (H, W, 3) RGB uint8 image.

        Raises
        ------
        ImageError
            If an image has no spectrum.
        """
        waiting = iter(images)
        while some := list(islice(waiting, _BATCH)):
            named = [(f"face {i}", image) for i, image in enumerate(some, 1)]
            reads = ((name, lambda image=image: image) for name, image in named)
            yield from _both(self._margins(list(profiles_of(reads, self.spec))))

    def _margins(self, profiles: Sequence[Floats64]) -> Floats64:
        """Return (N,) decision values, above 0 for fake."""
        features = resampled(profiles, self.spec)
        if features.shape[1] != self.run.n_features:
            raise WeightsError(
                f"{self.path}: takes profiles of {self.run.n_features} values, and these have "
                f"{features.shape[1]}: the images are of another size. Train with --points, "
                "which makes profiles of one length of all."
            )
        return margins(self.run.classifier, self.model, features)

    def shown(self, items: Items) -> list[tuple[Image, ...]]:
        """Return what a page shows of samples: their images."""
        return [(corpus.image(sample),) for corpus, sample in items]

    def fake_score(self, values: Sequence[float]) -> float:
        """Return the score for fake."""
        return float(values[0])

    def figures(self, items: Items, table: ClassTable) -> tuple[Figure, ...]:
        """Return what a page shows of the samples' profiles."""
        return (figure_of(items, table, Profiler(self.spec, self.n_workers)),)


def _both(margins_of_fake: Floats64) -> Any:
    """Return (N, 2) float32: the scores for fake, and 1 less them."""
    fake = scores(margins_of_fake)
    return np.stack((fake, 1 - fake), axis=1).astype(np.float32)


Judge = Scorer | SpectrumScorer


def load_judge(path: Path, device: torch.device) -> Judge:
    """Return what judges by a run folder.

    Raises
    ------
    WeightsError
        If the folder is no run, or its weights or model are not what its run.json says.
    """
    if not is_spectrum_run(path):
        return load_scorer(path, device)
    run = read_spectrum_run(path)
    classifier_named(run.classifier)
    try:
        spec = FeatureSpec(**run.features)
        check_spec(spec)
    except TypeError as error:
        raise WeightsError(f"{path}: run.json is damaged: {error}.") from None
    model = read_model(path / MODEL_FILE, run.classifier, run.n_features)
    digest, groups = sha256_of(path / MODEL_FILE), read_groups(path)
    return SpectrumScorer(path, run, model, spec, digest, groups, torch.get_num_threads())
