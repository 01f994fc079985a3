"""`hffkit predict`: find and score faces in images, videos and folders of them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hffkit.errors import ArgumentError, ImageError, VideoError
from hffkit.execution.progress import Progress
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in, files_of
from hffkit.inference.detector import Detector, load_detector
from hffkit.manifest.samples import Box
from hffkit.media.image import Image
from hffkit.media.walk import Rest
from hffkit.networks.devices import device_named
from hffkit.runs.scores import NO_PROBABILITY, fake_scores
from hffkit.storage.staging import write_bytes_durably


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """The run, the files and the options of a prediction."""

    run: Path
    paths: tuple[Path, ...]
    frames: int = 32  # of each video, evenly spaced
    whole: bool = False  # images are face crops already
    upsample: int = 1
    accept_damaged: bool = False  # damaged images are scored all the same
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


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predictions for all faces and files."""

    faces: tuple[FacePrediction, ...]
    files: tuple[FilePrediction, ...]
    n_unreadable: int  # files of which something could not be read
    is_probability: bool  # of the scores
    notes: tuple[str, ...] = ()  # on files that were not read

    def to_json(self) -> dict[str, object]:
        """Return the prediction as JSON values."""
        return {
            "score": "probability of fake" if self.is_probability else NO_PROBABILITY,
            "files": [asdict(file) for file in self.files],
            "faces": [asdict(face) for face in self.faces],
            "notes": self.notes,
        }

    def write_csv(self, path: Path) -> None:
        """Write a line for each face; x, y and size are empty for whole images.

        Without probabilities of the classes, their columns are missing.
        """
        classes = list((self.faces[0].probabilities if self.faces else None) or ())
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        head = ("path", "frame", "x", "y", "size", "class", "score")
        lines.writerow([*head, *(f"p_{name}" for name in classes)])
        for face in self.faces:
            box = ("", "", "") if face.box is None else face.box
            frame = "" if face.frame is None else face.frame
            values = (face.probabilities or {}).values()
            lines.writerow([face.path, frame, *box, face.cls, face.score, *values])
        write_bytes_durably(path, text.getvalue().encode("utf-8", "surrogateescape"))


def predict(request: PredictRequest) -> Prediction:
    """Find and score the faces in every file. Unreadable files are reported and skipped.

    Raises
    ------
    HffkitError
        If the run cannot be read, or there is no image or video.
    """
    detector = load_detector(request.run, device_named(request.device))
    rest = Rest()
    paths = [file for path in request.paths for file in files_of(path, rest)]
    if not paths:
        raise ArgumentError("There is no image or video. Name files, or folders that hold some.")
    faces: list[FacePrediction] = []
    files: list[FilePrediction] = []
    n_unreadable = 0
    with Progress(len(paths), unit="files", label="predict") as progress:
        for path in paths:
            counts = FrameCounts()
            try:
                found = _faces(path, request, detector, counts)
            except (ImageError, VideoError) as error:
                problem = f"unreadable: {error}"
                files.append(FilePrediction(str(path), 0, 0, 0, None, None, problem))
                n_failed = 1
            else:
                faces += found
                files.append(_file(str(path), found, counts))
                n_failed = int(counts.n_missing > 0)
            n_unreadable += n_failed
            progress.step(1, n_failed)
    is_probability, notes = detector.has_probabilities, tuple(rest.notes())
    return Prediction(tuple(faces), tuple(files), n_unreadable, is_probability, notes)


def _faces(
    path: Path, request: PredictRequest, detector: Detector, counts: FrameCounts
) -> list[FacePrediction]:
    """Return the predictions for the faces of a file, and count its frames in `counts`."""
    places: list[tuple[int | None, Box | None]] = []
    search = FaceSearch(
        request.frames,
        request.whole,
        request.upsample,
        as_grey=detector.spectrum is not None,
        accept_damaged=request.accept_damaged,
    )

    def crops() -> Iterator[Image]:
        for face in faces_in(path, search, counts):
            places.append((face.frame, face.box))
            yield face.image

    found = list(detector.probabilities(crops()))
    if not found:
        return []
    names, scores = detector.run.classes.names, fake_scores(detector.run.classes, np.stack(found))
    return [
        FacePrediction(
            str(path),
            frame,
            box,
            float(score),
            names[int(values.argmax())],
            dict(zip(names, values.tolist(), strict=True)) if detector.has_probabilities else None,
        )
        for (frame, box), score, values in zip(places, scores, found, strict=True)
    ]


def _file(path: str, faces: Sequence[FacePrediction], counts: FrameCounts) -> FilePrediction:
    largest: dict[int | None, float] = {}
    for face in faces:  # the first of a frame is its largest
        largest.setdefault(face.frame, face.score)
    n_frames, n_missing = counts.n_frames, counts.n_missing
    problems = [] if largest else ["no face found"]
    if counts.damage is not None:
        problems.append(counts.damage)
    if n_missing:
        problems.append(f"{n_missing} of {n_frames + n_missing} frames cannot be read")
    scores = list(largest.values())
    score, fake_share = _mean(scores), _mean([score >= 0.5 for score in scores])
    problem = "; ".join(problems) or None
    return FilePrediction(path, n_frames, n_missing, len(faces), score, fake_share, problem)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
