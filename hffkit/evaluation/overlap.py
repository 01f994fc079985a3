"""Overlap of the evaluated samples with those that a run was trained on."""

from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Bools
from hffkit.errors import CorpusError
from hffkit.inference.detector import Detector
from hffkit.runs.training_samples import SELECTION_FILE, read_training_samples
from hffkit.storage.labels import Items


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """The training samples of a run among evaluated samples."""

    in_training: Bools | None  # (N,); None: the run does not record its training samples
    splits: tuple[str, ...]  # (N,) of the samples in the evaluated corpus
    n_selected_on: int | None = None  # whose figures chose the weights; None: not recorded

    @property
    def n_training(self) -> int | None:
        """Number of evaluated samples that the run was trained on; None: not known."""
        return None if self.in_training is None else int(self.in_training.sum())

    @property
    def note(self) -> str | None:
        """Statement for the reader of the figures; None if no training sample is among them."""
        n, n_train = len(self.splits), self.splits.count("train")
        if self.n_training:
            return (
                f"Training figures: the run was trained on {self.n_training} of these {n} samples, "
                "so they do not show how it does on new images."
            )
        if self.n_training == 0:
            return None
        note = "The run has no record of its training samples, so an overlap cannot be excluded."
        if n_train:
            note += (
                f" {n_train} of these {n} samples are of split train: training figures, if the run "
                "was trained on this corpus."
            )
        return note

    @property
    def selection_note(self) -> str | None:
        """Statement that the weights were chosen by some of the samples; None if they were not."""
        if not self.n_selected_on:
            return None
        return (
            f"The weights were selected by their figures on {self.n_selected_on} of these "
            f"{len(self.splits)} samples, so these figures are too good for new images."
        )

    @property
    def column(self) -> list[str]:
        """(N,) "yes", "no" or "unknown": whether the run was trained on each sample."""
        if self.in_training is None:
            return ["unknown"] * len(self.splits)
        return ["yes" if each else "no" for each in self.in_training]

    def to_json(self) -> dict[str, object]:
        """Return the counts and the note as JSON values."""
        return {
            "n_samples": len(self.splits),
            "n_of_split_train": self.splits.count("train"),
            "n_trained_on": self.n_training,
            "n_selected_on": self.n_selected_on,
            "note": self.note,
        }


def overlap_of(detector: Detector, items: Items) -> Overlap:
    """Find the training samples of a detector among samples."""
    samples = [sample for _, sample in items]
    known = detector.training_samples
    found = None if known is None else known.hold(samples)
    selected = read_training_samples(detector.path, SELECTION_FILE)
    n_selected_on = None if selected is None else int(selected.hold(samples).sum())
    return Overlap(found, tuple(sample.split for sample in samples), n_selected_on)


def refuse_overlap(detector: Detector, name: str, items: Items, overlap: Overlap) -> None:
    """Raise CorpusError if held-out samples of the corpus `name` are training samples.

    Samples of split train were asked for as such, and are allowed.
    """
    if overlap.in_training is None:
        return
    held_out = np.array([split != "train" for split in overlap.splits])
    leaked = np.flatnonzero(overlap.in_training & held_out)
    if not len(leaked):
        return
    raise CorpusError(
        f"{detector.path} was trained on {len(leaked)} of the {int(held_out.sum())} held-out "
        f"samples of {name}, such as {items[leaked[0]][1].key!r}: the same pixels, or the same "
        "frame or file. Evaluate on a corpus with the splits of the training corpus, or set "
        "`allow_overlap` to get figures that are marked as training figures."
    )
