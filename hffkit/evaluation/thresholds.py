"""Accuracy at each of a sweep of thresholds, as eval.py of Cao et al. prints it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.errors import ArgumentError
from hffkit.evaluation.metrics import METRICS
from hffkit.inference.detector import Detector
from hffkit.manifest.pairs import quality_of
from hffkit.reports.text_table import Table
from hffkit.runs.scores import Scored
from hffkit.storage.csv_files import csv_text
from hffkit.storage.outputs import SWEEP

THRESHOLDS = range(1, 20)  # of the published eval.py


@dataclass(frozen=True, slots=True)
class Sweep:
    """Accuracies of one quality where an embedding longer than the threshold is fake."""

    quality: str | None  # None: all samples
    n_samples: int
    accuracies: Mapping[int, float]  # by threshold, in [0, 1], of fake against real

    def to_json(self) -> dict[str, object]:
        """Return the sweep as JSON values."""
        return {
            "quality": self.quality or "all",
            "n_samples": self.n_samples,
            "accuracies": {str(each): value for each, value in self.accuracies.items()},
        }


def threshold_of(detector: Detector) -> float:
    """Return the least length of an embedding that a detector calls fake.

    Raises
    ------
    ArgumentError
        If it does not decide by a length.
    """
    network = detector.as_network
    if network is not None and network.network.ranks_by_logits:
        return float(network.net.get_buffer("threshold"))
    raise ArgumentError(
        f"{detector.path}: {detector.run.network} does not decide by the length of an embedding. "
        "`thresholds` are for runs of mml."
    )


def sweeps_of(detector: Detector, scored: Scored) -> tuple[Sweep, ...]:
    """Compute the sweep of all samples, and those of each quality if there are several.

    The scores must be the detector's.
    """
    distances = scored.ranking + threshold_of(detector)
    called = {each: distances > each for each in THRESHOLDS}
    of_each = np.array([quality_of(key) or "" for key in scored.keys])
    qualities = sorted(set(of_each.tolist()) - {""})
    sweeps = []
    for quality in (None, *(qualities if len(qualities) > 1 else ())):
        places = np.ones(len(of_each), bool) if quality is None else of_each == quality
        fake = scored.is_fake[places]
        found = {each: float((of[places] == fake).mean()) for each, of in called.items()}
        sweeps.append(Sweep(quality, int(places.sum()), found))
    return tuple(sweeps)


def sweep_table(sweeps: Sequence[Sweep], own: float) -> Table:
    """Return a table with a row per threshold and a column per sweep; `own` is the run's."""
    text = METRICS["binary_accuracy"].text
    rows = tuple(
        (str(each), *(text(sweep.accuracies[each]) for sweep in sweeps)) for each in THRESHOLDS
    )
    columns = (f"{sweep.quality or 'all'}, {sweep.n_samples} samples" for sweep in sweeps)
    return Table((f"Fake if longer than (own: {own:g})", *columns), rows)


def sweep_csv(sweeps: Sequence[Sweep]) -> str:
    """Return a header, then a CSV line for each quality and threshold, each with LF at its end."""
    rows = (
        (sweep.quality or "all", threshold, sweep.n_samples, f"{accuracy:.9g}")
        for sweep in sweeps
        for threshold, accuracy in sweep.accuracies.items()
    )
    return csv_text((SWEEP.names, *rows))
