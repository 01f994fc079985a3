"""`hffkit eval`: measure runs on corpora."""

from collections.abc import Mapping, Sequence

from hffkit.errors import ArgumentError
from hffkit.evaluation.decision_check import check_decision
from hffkit.evaluation.levels import Evaluation, measure
from hffkit.evaluation.masks import MaskAccuracy, mask_accuracy
from hffkit.evaluation.metrics import relative_error_reduction
from hffkit.evaluation.overlap import Overlap, overlap_of, refuse_overlap
from hffkit.evaluation.qualities import QualityRow, by_quality
from hffkit.evaluation.request import EvalRequest, check_eval, chosen_items
from hffkit.evaluation.result import EvalData, EvalResult, Measurement
from hffkit.evaluation.seeds import SeedSummary, alike, over_seeds
from hffkit.evaluation.thresholds import sweeps_of
from hffkit.inference.detector import Detector, load_detector
from hffkit.manifest.pairs import by_key, quality_of
from hffkit.networks.devices import device_named
from hffkit.runs.decision import read_decision
from hffkit.runs.scores import Scored
from hffkit.storage.corpora import Item, joint_classes, open_faces, open_masks, samples_of
from hffkit.storage.labels import Items


def evaluate(request: EvalRequest) -> EvalResult:
    """Score the samples of every corpus by every run, and measure the scores.

    Raises
    ------
    HffkitError
        If a run or corpus cannot be read, has no sample of the split, or classes that do not fit;
        if a run is named twice, or was trained on held-out samples.
    """
    check_eval(request)
    device = device_named(request.device)
    detectors = [load_detector(path, device) for path in request.runs]
    reference = None if request.against is None else load_detector(request.against, device)
    if reference is not None and request.task == "multi":
        _check_classes(detectors, reference)
    for each in detectors:
        read_decision(each.path, each.weights_sha256)  # before hours of scoring
    masks = by_key(samples_of(open_masks(request.masks))) if request.masks else None
    everything = [_data(name, request) for name in request.data]
    everyone = detectors if reference is None else [*detectors, reference]
    for data in everything:  # before hours of scoring
        for each in everyone:
            each.check(data.items, data.table, request.task)
    overlaps = [[_overlap(each, data, request) for each in everyone] for data in everything]
    measured, summaries = [], []
    for data, found in zip(everything, overlaps, strict=True):
        other = None
        if reference is not None:
            scored = reference.score(data.items, data.table, request.task)
            other = measure(scored, n_resamples=0)
        of_data = [
            _measured(each, data, overlap, other, masks, request)
            for each, overlap in zip(detectors, found, strict=False)
        ]
        measured += of_data
        summaries += _over_seeds(of_data, data, request)
    return EvalResult(
        request.split,
        request.quality,
        request.task,
        request.against,
        tuple(measured),
        tuple(summaries),
    )


def _over_seeds(
    measured: Sequence[Measurement], data: EvalData, request: EvalRequest
) -> list[SeedSummary]:
    summaries = []
    for places in alike([one.detector for one in measured]):
        some = [measured[place] for place in places]
        detectors, scored = [one.detector for one in some], [one.scored for one in some]
        summaries.append(
            over_seeds(detectors, scored, data.title, request.seed, request.n_resamples)
        )
    return summaries


def _data(name: str, request: EvalRequest) -> EvalData:
    corpora = tuple(open_faces([name]))
    manifests = tuple(corpus.manifest_sha256() for corpus in corpora)
    return EvalData(
        name, corpora, manifests, chosen_items(corpora, request), joint_classes(corpora)
    )


def _overlap(detector: Detector, data: EvalData, request: EvalRequest) -> Overlap:
    overlap = overlap_of(detector, data.items)
    if not request.allow_overlap:
        refuse_overlap(detector, data.name, data.items, overlap)
    return overlap


def _measured(
    detector: Detector,
    data: EvalData,
    overlap: Overlap,
    reference: Evaluation | None,
    masks: Mapping[str, Item] | None,
    request: EvalRequest,
) -> Measurement:
    scored = detector.score(data.items, data.table, request.task)
    found = measure(scored, seed=request.seed, n_resamples=request.n_resamples)
    reduction = None if reference is None else _error_reduction(found, reference)
    masked = None if masks is None else mask_accuracy(detector, data.items, data.table, masks)
    rows = _qualities(detector, data.items, scored, masked)
    n_without = None if masked is None else masked.n_without_mask
    sweeps = sweeps_of(detector, scored) if request.thresholds else ()
    decision = read_decision(detector.path, detector.weights_sha256)
    check = None if decision is None else check_decision(decision, scored)
    return Measurement(
        detector, data, overlap, scored, found, reduction, rows, n_without, sweeps, check
    )


def _qualities(
    detector: Detector, items: Items, scored: Scored, masked: MaskAccuracy | None
) -> tuple[QualityRow, ...]:
    """Return a row for each quality if there are several, or the detector has a head for one."""
    qualities = [quality_of(sample.key) for _, sample in items]
    network = detector.as_network
    has_head = network is not None and network.network.high_quality is not None
    if not has_head and len({quality for quality in qualities if quality}) < 2:
        return ()
    return by_quality(scored, qualities, {} if masked is None else masked.by_quality)


def _check_classes(detectors: Sequence[Detector], reference: Detector) -> None:
    """Raise ArgumentError if the reference distinguishes other classes than a detector."""
    kinds = [{(row.name, row.is_fake) for row in d.run.classes} for d in (*detectors, reference)]
    if any(kind != kinds[-1] for kind in kinds):
        raise ArgumentError(
            f"{reference.path} distinguishes other classes, so accuracies cannot be compared. "
            "Set `task` to binary to compare fake against real."
        )


def _error_reduction(one: Evaluation, reference: Evaluation) -> float | None:
    """Return the relative error reduction; None if the reference makes no error."""
    accuracy, other = (each.frame.estimates["accuracy"].value for each in (one, reference))
    if accuracy is None or other is None or other >= 1:
        return None
    return relative_error_reduction(accuracy, other)
