"""The protocol of detectors, and loading one from a run folder."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch

from hffkit.arrays import Floats32
from hffkit.inference.intake import Fed, Intake, Outputs
from hffkit.inference.network import NetworkDetector, load_network
from hffkit.inference.spectrum import load_spectrum
from hffkit.manifest.classes import ClassTable
from hffkit.media.image import Image
from hffkit.runs.run import Run
from hffkit.runs.scores import Scored
from hffkit.runs.spectrum import SpectrumRun, is_spectrum_run
from hffkit.runs.training_samples import TrainingSamples
from hffkit.spectrum.features import FeatureSpec
from hffkit.storage.labels import Items, Task


class Detector(Protocol):
    """A detector of fake faces: a network, a classifier of spectra, or another source of scores."""

    @property
    def path(self) -> Path:
        """The run folder."""

    @property
    def run(self) -> Run | SpectrumRun:
        """Its description in the folder."""

    @property
    def weights_sha256(self) -> str:
        """Digest of the file of weights."""

    @property
    def groups(self) -> frozenset[str]:
        """Groups of the training and validation samples, as far as known."""

    @property
    def training_samples(self) -> TrainingSamples | None:
        """The samples that it was trained on; None if the run has no record of them."""

    @property
    def has_probabilities(self) -> bool:
        """False if scores only map decision values to [0, 1]."""

    @property
    def as_network(self) -> NetworkDetector | None:
        """The network, for what needs its layers; None for other detectors."""

    @property
    def spectrum(self) -> FeatureSpec | None:
        """Settings of the power spectra that are the detector's input; None for pixels."""

    def score(self, items: Items, table: ClassTable, task: Task) -> Scored:
        """Score samples whose classes are in `table`.

        Raises
        ------
        CorpusError
            If the detector does not know a class, and the task is not binary.
        """

    @property
    def intake(self) -> Intake:
        """Makes what `outputs` is fed with."""

    def check(self, items: Items, table: ClassTable, task: Task) -> None:
        """Check samples before the work of scoring them.

        Raises
        ------
        CorpusError
            If the detector cannot be fed with the images of some corpus, or as `score`.
        """

    def outputs(self, fed: Sequence[Fed], items: Items) -> Outputs:
        """Return the outputs of a batch that `intake` made of samples.

        The samples' `operations` may decide which part of a detector scores them.
        """

    def scored(self, items: Items, table: ClassTable, task: Task, outputs: Outputs) -> Scored:
        """Return samples with the scores that follow from their outputs; see `score`."""

    def probabilities(self, images: Iterable[Image]) -> Iterator[Floats32]:
        """Yield the probabilities (C,) of each (H, W, 3) RGB uint8 image, a face crop.

        Detectors with a `spectrum` also accept (H, W) grey, which they prefer: `decode_grey`.
        """


def load_detector(path: Path, device: torch.device) -> Detector:
    """Load the detector of a run folder.

    Raises
    ------
    WeightsError
        If the folder is no run, or its weights or model do not fit its run.json.
    """
    return load_spectrum(path) if is_spectrum_run(path) else load_network(path, device)
