"""`hffkit predict`: find and score faces in images, videos and folders of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from hffkit.degrade.chain import Chain
from hffkit.errors import ArgumentError, ImageError
from hffkit.execution.progress import Progress
from hffkit.faces.search import FaceSearch, files_of
from hffkit.inference.detector import Detector, load_detector
from hffkit.inference.reading import FaceReader, ReadFace, ReadFile, read_files
from hffkit.inference.recheck import DEFAULT_SUITE, rechecks_of
from hffkit.manifest.samples import Box
from hffkit.media.walk import Rest
from hffkit.networks.devices import device_named
from hffkit.runs.decision import Decision, Verdict, check_decided, read_decision
from hffkit.runs.scores import NO_PROBABILITY, fake_scores
from hffkit.storage.csv_files import csv_text
from hffkit.storage.outputs import FACES


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The run, the files and the options of a prediction."""

    run: Path
    paths: tuple[Path, ...]
    frames: int = 32  # of each video, evenly spaced
    whole: bool = False  # images are face crops already
    upsample: int = 1
    accept_damaged: bool = False  # damaged images are scored all the same
    recheck: bool = False  # undecided where re-encoding the faces changes the verdict
    recheck_suite: str | None = None  # recheck by this suite; None: by our own
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class FacePrediction:
    """The prediction for one face."""

    path: str
    frame: int | None  # of a video, counted from 0
    box: Box | None  # x, y, size in px; None for a whole image
    score: float  # probability of fake, or a decision value mapped to 0..1
    cls: str  # the most probable class
    probabilities: dict[str, float] | None  # None: the detector only has decision values
    rechecks: dict[str, float] | None = None  # scores of the face re-encoded, by the operations


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """The prediction for an image or a video."""

    path: str
    n_frames: int  # that were read; 1 for an image
    n_missing: int  # frames that could not be read
    n_faces: int
    score: float | None  # mean over frames of the largest face's score; None without a face
    fake_share: float | None  # of the frames with a face, those with a score of 0.5 or more
    problem: str | None = None  # reason for a missing score, or for missing frames
    verdict: Verdict | None = None  # by the decision of the run; None without one, or a score
    calibrated: float | None = None  # probability of fake, if the decision has a temperature
    rechecks: dict[str, float] | None = None  # scores of the faces re-encoded

    @property
    def kind(self) -> str | None:
        """The verdict, or without a decision the side of 0.5; None without a score."""
        return self.verdict or (None if self.score is None else side_of(self.score))


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predictions for all faces and files."""

    faces: tuple[FacePrediction, ...]
    files: tuple[FilePrediction, ...]
    n_unreadable: int  # files of which something could not be read
    is_probability: bool  # of the scores
    notes: tuple[str, ...] = ()  # on files that were not read
    decision: Decision | None = None  # of the run; None: no threshold is known
    n_trained_on: int = 0  # files with a face that the run was trained on, as far as known

    @property
    def basis(self) -> tuple[str, ...]:
        """Sentences on the basis of the predictions, and on what speaks against them."""
        found: tuple[str, ...] = (
            "No threshold is known for this run: the prediction is the side of 0.5, without a "
            "guarantee. `hffkit decide` finds one.",
        )
        if self.decision is not None:
            found = (*self.decision.texts, *self.decision.notes)
        if self.n_trained_on:
            found += (
                f"The run was trained on {self.n_trained_on} of these {len(self.files)} files: "
                "their scores do not show how it does on new ones.",
            )
        return found

    @property
    def limits(self) -> tuple[float, ...]:
        """Scores that divide the kinds."""
        decision = self.decision
        return (0.5,) if decision is None else (decision.real_below, decision.threshold)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of files by kind, and of those that were not scored."""
        kinds = [file.kind or "not scored" for file in self.files]
        undecided = ("undecided",) if self.decision is not None else ()
        return {name: kinds.count(name) for name in ("fake", "real", *undecided, "not scored")}

    def kind_of(self, score: float) -> str:
        """Return the verdict on a score, or without a decision the side of 0.5."""
        return side_of(score) if self.decision is None else self.decision.verdict(score)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Path and problem of files, and of those that the rechecks made undecided the reason."""
        rows = []
        for file in self.files:
            rows += [(file.path, file.problem)] if file.problem else []
            if self.decision is None or file.score is None:
                continue
            if flips := _flips(self.decision, file.score, file.rechecks or {}):
                texts = (
                    f"{name} {each:.4f} ({self.kind_of(each)})" for name, each in flips.items()
                )
                verdict = self.kind_of(file.score)
                rows.append((file.path, f"undecided, not {verdict}: rechecks {', '.join(texts)}"))
        return rows

    def to_json(self) -> dict[str, object]:
        """Return the prediction as JSON values."""
        return {
            "score": "probability of fake" if self.is_probability else NO_PROBABILITY,
            "files": [asdict(file) for file in self.files],
            "faces": [asdict(face) for face in self.faces],
            "notes": self.notes,
            "decision": None if self.decision is None else self.decision.to_json(),
            "n_trained_on": self.n_trained_on,
        }

    def to_csv(self) -> str:
        """Return a CSV line for each face; x, y and size are empty for whole images.

        Without probabilities of the classes, their columns are missing; with a decision the last
        column is the verdict on the file.
        """
        verdicts = {file.path: file.verdict for file in self.files if self.decision is not None}
        classes = list((self.faces[0].probabilities if self.faces else None) or ())
        more = ["file_verdict"] if self.decision is not None else []
        lines: list[Sequence[object]] = [(*FACES.names, *(f"p_{name}" for name in classes), *more)]
        for face in self.faces:
            box = ("", "", "") if face.box is None else face.box
            frame = "" if face.frame is None else face.frame
            values = (face.probabilities or {}).values()
            verdict = [verdicts[face.path]] if verdicts else []
            lines.append([face.path, frame, *box, face.cls, face.score, *values, *verdict])
        return csv_text(lines)


def predict(request: PredictRequest) -> Prediction:
    """Find and score the faces in every file. Unreadable files are reported and skipped.

    Raises
    ------
    HffkitError
        If the run cannot be read, or there is no image or video.
    """
    suite = request.recheck_suite or (DEFAULT_SUITE if request.recheck else None)
    if suite is not None:
        check_decided(request.run)
    detector = load_detector(request.run, device_named(request.device))
    chains = [] if suite is None else rechecks_of(detector, suite)
    decision = read_decision(request.run, detector.weights_sha256)
    rest = Rest()
    paths = [file for path in request.paths for file in files_of(path, rest)]
    if not paths:
        raise ArgumentError("There is no image or video. Name files, or folders that hold some.")
    faces: list[FacePrediction] = []
    files: list[FilePrediction] = []
    n_unreadable = n_trained_on = 0
    known = detector.training_samples
    reader = _reader(request, detector, chains)
    with Progress(len(paths), unit="files", label="predict") as progress:
        for path, read in zip(paths, read_files(paths, reader), strict=True):
            found: list[FacePrediction] = []
            problem = read.problem
            if problem is None:
                try:
                    found = _faces(path, read.faces, detector, chains)
                except ImageError as error:  # it has no spectrum
                    problem = f"unreadable: {error}"
            if problem is not None:
                files.append(FilePrediction(str(path), 0, 0, 0, None, None, problem))
                n_failed = 1
            else:
                faces += found
                frames = [face.frame for face in found]
                n_trained_on += known is not None and known.hold_any(read.sha256, frames)
                files.append(_decided(_file(str(path), found, read), found, decision))
                n_failed = int(read.counts.n_missing > 0)
            n_unreadable += n_failed
            progress.step(1, n_failed)
    return Prediction(
        tuple(faces),
        tuple(files),
        n_unreadable,
        detector.has_probabilities,
        tuple(rest.notes()),
        decision,
        n_trained_on,
    )


def _reader(request: PredictRequest, detector: Detector, chains: Sequence[Chain]) -> FaceReader:
    search = FaceSearch(
        request.frames,
        request.whole,
        request.upsample,
        as_grey=detector.spectrum is not None,
        accept_damaged=request.accept_damaged,
    )
    hashes = detector.training_samples is not None
    return FaceReader(search, detector.intake, chains, hashes)


def _faces(
    path: Path, read: Sequence[ReadFace], detector: Detector, chains: Sequence[Chain]
) -> list[FacePrediction]:
    """Return the predictions for the faces of a file."""
    everything = list(detector.probabilities(image for face in read for image in face.images))
    if not everything:
        return []
    names, found = detector.run.classes.names, everything[:: 1 + len(chains)]
    scores = fake_scores(detector.run.classes, np.stack(everything))
    return [
        FacePrediction(
            str(path),
            face.frame,
            face.box,
            score,
            names[int(values.argmax())],
            dict(zip(names, values.tolist(), strict=True)) if detector.has_probabilities else None,
            dict(zip((each.name for each in chains), again, strict=True)) or None,
        )
        for face, (score, *again), values in zip(
            read, scores.reshape(len(read), -1).tolist(), found, strict=True
        )
    ]


def _file(path: str, faces: Sequence[FacePrediction], read: ReadFile) -> FilePrediction:
    scores = [face.score for face in largest_faces(faces)]
    n_frames, n_missing = read.counts.n_frames, read.counts.n_missing
    problems = [] if scores else ["no face found"]
    if read.counts.damage is not None:
        problems.append(read.counts.damage)
    if read.misnamed:
        problems.append(f"misnamed: {read.misnamed}")
    if n_missing:
        problems.append(f"{n_missing} of {n_frames + n_missing} frames cannot be read")
    score, fake_share = _mean(scores), _mean([score >= 0.5 for score in scores])
    problem = "; ".join(problems) or None
    return FilePrediction(path, n_frames, n_missing, len(faces), score, fake_share, problem)


def _decided(
    file: FilePrediction, faces: Sequence[FacePrediction], decision: Decision | None
) -> FilePrediction:
    """Return a file with its verdict, calibrated score and rechecks, as far as there are some."""
    if decision is None or file.score is None:
        return file
    rows = [face.rechecks for face in largest_faces(faces) if face.rechecks is not None]
    rechecks = {name: _mean([row[name] for row in rows]) or 0.0 for name in rows[0]} if rows else {}
    is_flipped = bool(_flips(decision, file.score, rechecks))
    return replace(
        file,
        verdict="undecided" if is_flipped else decision.verdict(file.score),
        calibrated=decision.calibrated(file.score),
        rechecks=rechecks or None,
    )


def _flips(decision: Decision, score: float, rechecks: Mapping[str, float]) -> dict[str, float]:
    """Return the rechecks that have another verdict than a score that is decided."""
    verdict = decision.verdict(score)
    if verdict == "undecided":
        return {}
    return {name: again for name, again in rechecks.items() if decision.verdict(again) != verdict}


def largest_faces(faces: Sequence[FacePrediction]) -> list[FacePrediction]:
    """Return the largest face of each frame of a file, which is the first of its frame."""
    largest: dict[int | None, FacePrediction] = {}
    for face in faces:
        largest.setdefault(face.frame, face)
    return list(largest.values())


def side_of(score: float) -> str:
    """Return the side of 0.5 that a score is on: fake or real."""
    return "fake" if score >= 0.5 else "real"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
