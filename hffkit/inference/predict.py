"""`hffkit predict`: images, folders and videos judged by a run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hffkit.errors import ArgumentError, ImageError, VideoError
from hffkit.execution.progress import Progress
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in, files_of
from hffkit.inference.detector import Judge, load_judge
from hffkit.manifest.samples import Box
from hffkit.media.image import Image
from hffkit.networks.devices import device_named


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What to judge by what."""

    run: Path
    paths: tuple[Path, ...]
    frames: int = 32  # of each video, evenly
    whole: bool = False  # take images as they are: they are crops already
    upsample: int = 1
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class FacePrediction:
    """What the network says of one face."""

    path: str
    frame: int | None  # of a video, counted from 0
    box: Box | None  # x, y, size in px; None for a whole image
    score: float  # probability of fake
    cls: str  # the most probable class
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """What follows for a file: an image or a video."""

    path: str
    n_frames: int  # looked at; an image is one
    n_missing: int  # frames that could not be read
    n_faces: int
    score: float | None  # mean over frames of the largest face's score; None without a face
    fake_share: float | None  # of the frames with a face, those whose score is 0.5 or more
    problem: str | None = None  # why there is no score


@dataclass(frozen=True, slots=True)
class Prediction:
    """All verdicts and a summary for each file."""

    verdicts: tuple[FacePrediction, ...]
    summaries: tuple[FilePrediction, ...]
    n_unreadable: int

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as JSON values."""
        return {
            "score": "probability of fake",
            "files": [asdict(summary) for summary in self.summaries],
            "faces": [asdict(verdict) for verdict in self.verdicts],
        }


def predict(request: PredictRequest) -> Prediction:
    """Find faces in every file and judge each; files that cannot be read are said and passed."""
    scorer = load_judge(request.run, device_named(request.device))
    files = [file for path in request.paths for file in files_of(path)]
    if not files:
        raise ArgumentError("No image or video is there. Name files or folders of them.")
    verdicts: list[FacePrediction] = []
    summaries = []
    n_unreadable = 0
    with Progress(len(files), unit="files", label="predict") as progress:
        for file in files:
            try:
                found, counts = _judge(file, request, scorer)
            except (ImageError, VideoError) as error:
                n_unreadable += 1
                summaries.append(
                    FilePrediction(str(file), 0, 0, 0, None, None, f"unreadable: {error}")
                )
                progress.step(1, 1)
                continue
            verdicts += found
            summaries.append(_summary(str(file), found, counts))
            n_unreadable += counts.n_missing > 0
            progress.step(1, counts.n_missing > 0)
    return Prediction(tuple(verdicts), tuple(summaries), n_unreadable)


def _judge(
    file: Path, request: PredictRequest, scorer: Judge
) -> tuple[list[FacePrediction], FrameCounts]:
    places: list[tuple[int | None, Box | None]] = []
    counts = FrameCounts()
    search = FaceSearch(request.frames, request.whole, request.upsample)

    def crops() -> Iterator[Image]:
        for face in faces_in(file, search, counts):
            places.append((face.frame, face.box))
            yield face.image

    found = list(scorer.probabilities(crops()))
    names = scorer.run.classes.names
    verdicts = []
    for (frame, box), values in zip(places, found, strict=True):
        each = {name: float(value) for name, value in zip(names, values, strict=True)}
        score = scorer.fake_score(values)
        verdicts.append(
            FacePrediction(str(file), frame, box, score, names[int(values.argmax())], each)
        )
    return verdicts, counts


def _summary(path: str, verdicts: Sequence[FacePrediction], counts: FrameCounts) -> FilePrediction:
    largest: dict[int | None, float] = {}
    for verdict in verdicts:  # a frame's first is its largest face
        largest.setdefault(verdict.frame, verdict.score)
    n_frames, n_missing = counts.n_frames, counts.n_missing
    problems = [] if largest else ["no face found"]
    if n_missing:
        problems.append(f"{n_missing} of {n_frames + n_missing} frames cannot be read")
    problem = "; ".join(problems) or None
    if not largest:
        return FilePrediction(path, n_frames, n_missing, 0, None, None, problem)
    scores = list(largest.values())
    fake_share = sum(score >= 0.5 for score in scores) / len(scores)
    mean = sum(scores) / len(scores)
    return FilePrediction(path, n_frames, n_missing, len(verdicts), mean, fake_share, problem)
