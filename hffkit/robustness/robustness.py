"""`hffkit robustness`: measure runs on the samples of a corpus under suites of operations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hffkit.degrade.own import OwnOperations, read_own
from hffkit.degrade.rework import Treatment
from hffkit.degrade.suites import Suite
from hffkit.errors import CorpusError
from hffkit.evaluation.decision_check import (
    ConditionCheck,
    DecisionCheck,
    SuiteCheck,
    check_decision,
)
from hffkit.evaluation.kept_checks import KeptChecks
from hffkit.evaluation.metrics import LevelName
from hffkit.evaluation.overlap import Overlap, overlap_of, refuse_overlap
from hffkit.evaluation.videos import mean_over_videos
from hffkit.execution.pool import in_order
from hffkit.inference.detector import Detector, load_detector
from hffkit.inference.intake import Outputs
from hffkit.inference.shelf import Shelf
from hffkit.manifest.samples import Split
from hffkit.networks.devices import batch_threads, device_named
from hffkit.robustness.conditions import CLEAN, suites_of, treatments_of
from hffkit.robustness.findings import LevelFindings, RobustnessResult, RunFindings, findings_of
from hffkit.robustness.request import RobustnessRequest
from hffkit.robustness.sweep import outputs_of
from hffkit.robustness.values import (
    FPR_LIMITS,
    Resampling,
    Threshold,
    condition_values,
    threshold_at,
)
from hffkit.runs.decision import read_decision
from hffkit.runs.run import check_different
from hffkit.runs.scores import Scored
from hffkit.storage.corpora import joint_classes, open_faces
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task, items_of
from hffkit.wording import counted


@dataclass(frozen=True, slots=True)
class _Samples:
    """Selected samples of corpora, and where outputs for them are kept."""

    corpora: tuple[Corpus, ...]
    items: Items
    shelf: Shelf

    @property
    def n_of_each(self) -> tuple[int, int]:
        """Numbers of fake and of real samples."""
        table = joint_classes(self.corpora)
        n_fake = sum(table[sample.cls].is_fake for _, sample in self.items)
        return n_fake, len(self.items) - n_fake


def robustness(request: RobustnessRequest, *, n_workers: int) -> RobustnessResult:
    """Measure every run under every condition, clean images among them.

    Nothing is stored but scores, beside the corpus. Values are drawn as `degrade` draws them.

    Raises
    ------
    HffkitError
        If a run, corpus or suite cannot be read, the samples are all fake or all real, an
        operation cannot be applied to an image, or a run is named twice or was trained on held-out
        samples.
    """
    check_different(request.runs)
    own = read_own(request.operations)
    suites = suites_of(request.suites, request.ops, own)
    samples = _selected(request.data, request.split)
    _check_both(samples, request)
    val = _validation(samples, request)
    device = device_named(request.device)
    detectors = [load_detector(path, device) for path in request.runs]
    for each in detectors:  # before hours of scoring
        read_decision(each.path, each.weights_sha256)
        for some in (samples, val):
            if some is not None:
                each.check(some.items, joint_classes(some.corpora), request.task)
    overlaps = [_overlap(each, samples, request) for each in detectors]
    treatments = _treatments(samples, suites, own, request)
    thresholds: list[dict[LevelName, list[Threshold]]] = [{} for _ in detectors]
    with batch_threads(device) as scorers:
        if val is not None:
            clean = {CLEAN: _treatments(val, (), own, request)[CLEAN]}
            outputs = outputs_of(val.items, detectors, clean, val.shelf, n_workers, scorers)
            thresholds = [
                _thresholds(_RunScores(each, val, found, request.task))
                for each, found in zip(detectors, outputs, strict=True)
            ]
        outputs = outputs_of(
            samples.items, detectors, treatments, samples.shelf, n_workers, scorers
        )
    measured = []
    for each, found, overlap, chosen in zip(detectors, outputs, overlaps, thresholds, strict=True):
        scores = _RunScores(each, samples, found, request.task)
        measured.append(_run_findings(scores, overlap, chosen, suites, request, n_workers))
    for run in measured:
        _keep_checks(run, samples, suites, request.seed)
    return RobustnessResult(
        request.split,
        request.data,
        samples.corpora,
        samples.items,
        treatments,
        suites,
        request.seed,
        request.n_resamples,
        tuple(measured),
        (*_decision_notes(measured, samples), *_notes(samples, val, request)),
    )


def _selected(names: Sequence[str], split: Split | None) -> _Samples:
    corpora = tuple(open_faces(names))
    items = items_of(corpora, split)
    return _Samples(corpora, items, Shelf(corpora, items))


def _check_both(samples: _Samples, request: RobustnessRequest) -> None:
    """Raise CorpusError if all samples are fake, or all real."""
    n_fake, n_real = samples.n_of_each
    if not n_fake or not n_real:
        raise CorpusError(
            f"{', '.join(request.data)}: split {request.split or 'all'} holds {n_fake} fake and "
            f"{n_real} real samples. Robustness is measured on both: name a corpus that has them, "
            "or several."
        )


def _validation(samples: _Samples, request: RobustnessRequest) -> _Samples | None:
    """Return the clean validation samples, if real ones are among them.

    Raises
    ------
    CorpusError
        If corpora were named for them that hold none.
    """
    corpora = tuple(open_faces(request.val)) if request.val else samples.corpora
    try:
        items = items_of(corpora, "val")
    except CorpusError:
        if request.val:
            raise
        return None
    found = _Samples(corpora, items, Shelf(corpora, items))
    if found.n_of_each[1]:
        return found
    if request.val:
        raise CorpusError(f"{', '.join(request.val)}: no real sample in split val.")
    return None


def _notes(samples: _Samples, val: _Samples | None, request: RobustnessRequest) -> tuple[str, ...]:
    notes = []
    if val is None:
        notes.append(
            f"{', '.join(request.data)}: no real sample in split val, so no threshold was chosen, "
            "and there is no TPR at one. Name the corpus of the training for it."
        )
    elif strict := [limit for limit in FPR_LIMITS if val.n_of_each[1] * limit < 1]:
        limits = " and ".join(f"{100 * limit:g} %" for limit in strict)
        notes.append(
            f"{counted(val.n_of_each[1], 'real val sample')}, which all lie below the threshold of "
            f"FPR {limits}."
        )
    if len({sample.group for _, sample in samples.items}) < 2:
        notes.append("one group only, so no intervals.")
    if not samples.shelf.is_writable:
        notes.append(f"{samples.shelf.folder} cannot be written, so no scores are kept.")
    return tuple(notes)


def _overlap(detector: Detector, samples: _Samples, request: RobustnessRequest) -> Overlap:
    overlap = overlap_of(detector, samples.items)
    if not request.allow_overlap:
        refuse_overlap(detector, ", ".join(request.data), samples.items, overlap)
    return overlap


def _treatments(
    samples: _Samples,
    suites: Sequence[Suite],
    own: OwnOperations | None,
    request: RobustnessRequest,
) -> dict[str, Treatment]:
    packed_size = samples.corpora[0].provenance.size
    return treatments_of(suites, own, packed_size, request.seed)


@dataclass(frozen=True, slots=True)
class _RunScores:
    """The outputs of a detector for samples, by the name of the treatment."""

    detector: Detector
    samples: _Samples
    outputs: Mapping[str, Outputs]
    task: Task

    def levels(self, name: str) -> dict[LevelName, Scored]:
        """Return scored samples by frame and, where there are videos, by the mean of a video."""
        samples, outputs = self.samples, self.outputs[name]
        table = joint_classes(samples.corpora)
        scored = self.detector.scored(samples.items, table, self.task, outputs)
        videos = mean_over_videos(scored)
        levels: dict[LevelName, Scored] = {"frame": scored}
        return levels if videos is None else {**levels, "video_mean": videos}

    def at(self, level: LevelName) -> Iterator[Scored]:
        """Yield the scored samples of a level under each treatment."""
        for name in self.outputs:
            yield self.levels(name)[level]


def _thresholds(scores: _RunScores) -> dict[LevelName, list[Threshold]]:
    return {
        level: [threshold_at(found, limit) for limit in FPR_LIMITS]
        for level, found in scores.levels(CLEAN).items()
    }


def _run_findings(
    scores: _RunScores,
    overlap: Overlap,
    thresholds: Mapping[LevelName, Sequence[Threshold]],
    suites: Sequence[Suite],
    request: RobustnessRequest,
    n_workers: int,
) -> RunFindings:
    levels: dict[LevelName, LevelFindings] = {}
    for level, clean in scores.levels(CLEAN).items():
        resampling = Resampling(level, request.seed, request.n_resamples)
        chosen = thresholds.get(level, ())
        work = partial(condition_values, thresholds=chosen, resampling=resampling)
        found = in_order(work, scores.at(level), n_workers=n_workers)
        values = dict(zip(scores.outputs, found, strict=True))
        levels[level] = findings_of(clean, values, suites, resampling, chosen)
    return RunFindings(scores.detector, overlap, levels, _decisions(scores))


def _keep_checks(run: RunFindings, samples: _Samples, suites: Sequence[Suite], seed: int) -> None:
    """Keep the checks of the run's decision under each suite, for `eval` to show."""
    if not run.decisions:
        return
    kept = KeptChecks(samples.shelf, run.detector, run.decisions[CLEAN].decision)
    for suite in suites:
        conditions = tuple(
            ConditionCheck(entry.title, run.decisions[entry.chain.name].guarantees)
            for entry in suite.entries
        )
        kept.write(SuiteCheck(suite.name, suite.sha256, seed, conditions))


def _decision_notes(measured: Sequence[RunFindings], samples: _Samples) -> Iterator[str]:
    digests = {corpus.manifest_sha256() for corpus in samples.corpora}
    digests |= {corpus.info.sources_sha256 for corpus in samples.corpora}
    splits = {sample.split for _, sample in samples.items}
    for run in measured:
        check = run.decisions.get(CLEAN)
        note = None if check is None else check.decision.note_on(digests, splits)
        if note is not None:
            yield f"{run.name}: {note}"


def _decisions(scores: _RunScores) -> dict[str, DecisionCheck]:
    """Check the run's decision under each treatment; there is none without a decision."""
    detector = scores.detector
    decision = read_decision(detector.path, detector.weights_sha256)
    if decision is None:
        return {}
    names = scores.outputs
    return {name: check_decision(decision, scores.levels(name)["frame"]) for name in names}
