"""`hffkit decide`: choose the thresholds of a run, with a guarantee, and store them in it."""

from dataclasses import dataclass
from pathlib import Path

from hffkit.errors import ArgumentError, CorpusError
from hffkit.evaluation.decision_check import DecisionCheck, check_decision
from hffkit.evaluation.guarantees import bounds_of, thresholds_of
from hffkit.evaluation.overlap import Overlap, overlap_of
from hffkit.evaluation.request import DecideRequest, check_decide
from hffkit.evaluation.temperature import fit_temperature
from hffkit.evaluation.videos import score_files
from hffkit.execution.versions import versions_of_training
from hffkit.inference.detector import Detector, load_detector
from hffkit.networks.devices import device_named
from hffkit.runs.decision import Decision
from hffkit.storage.corpora import joint_classes, open_faces, references
from hffkit.storage.labels import Items, items_of


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and its verdicts on the samples that it was made on."""

    decision: Decision
    check: DecisionCheck

    def to_json(self) -> dict[str, object]:
        """Return both as JSON values."""
        return {**self.decision.to_json(), "check": self.check.to_json()}


def decide(request: DecideRequest, out: Path | None = None) -> Decided:
    """Choose thresholds on the scores of a split, and write them into the run folder.

    `out` is another folder to write them into.

    Raises
    ------
    HffkitError
        If the run or a corpus cannot be read, there are too few groups for a rate, or the run was
        trained on some of the samples.
    """
    check_decide(request)
    device = device_named(request.device)
    detector = load_detector(request.run, device)
    if request.calibrate and not detector.has_probabilities:
        raise ArgumentError(
            f"{request.run}: {detector.run.network} has decision values and no probabilities, so "
            "there is nothing to calibrate. Leave out `calibrate`."
        )
    corpora = open_faces(request.data)
    items = items_of(corpora, request.split)
    overlap = overlap_of(detector, items)
    _refuse_training(request.run, overlap)
    scored = detector.score(items, joint_classes(corpora), "binary")
    files = score_files(scored)
    bounds = bounds_of(files, request.rates, request.level, request.where)
    threshold, real_below = thresholds_of(bounds)
    temperature = fit_temperature(files.is_fake, files.scores) if request.calibrate else None
    n_fake = int(files.is_fake.sum())
    decision = Decision(
        threshold,
        real_below,
        tuple(each.guarantee(threshold, real_below) for each in bounds),
        temperature,
        detector.weights_sha256,
        tuple(
            row | {"sources_sha256": corpus.info.sources_sha256}
            for row, corpus in zip(references(corpora), corpora, strict=True)
        ),
        request.split or "all",
        {"real": len(files.is_fake) - n_fake, "fake": n_fake},
        _notes(detector, items, overlap),
        versions_of_training(device),
    )
    decision.write(out or request.run)
    return Decided(decision, check_decision(decision, scored))


def _refuse_training(run: Path, overlap: Overlap) -> None:
    if overlap.n_training:
        raise CorpusError(
            f"{run} was trained on {overlap.n_training} of these {len(overlap.splits)} samples, so "
            "their scores are not like those of new images. Choose a held-out `split`."
        )


def _notes(detector: Detector, items: Items, overlap: Overlap) -> tuple[str, ...]:
    """Return reasons to doubt that new groups are like those of the samples."""
    notes = [] if overlap.note is None else [overlap.note]
    groups = {sample.group for _, sample in items}
    n_seen = len(groups & detector.groups)
    if n_seen:
        notes.append(
            f"{n_seen} of {len(groups)} groups have the names of groups that the run was trained "
            "or selected on. Weights selected on samples score them a little better than new ones; "
            "for a strict guarantee, use groups that were not used to select weights."
        )
    return tuple(notes)
