"""`hffkit explain`: where a run's network sees what it answers by, as images and figures."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hffkit.errors import ArgumentError, ExplainError
from hffkit.execution.progress import Progress
from hffkit.execution.versions import versions_of_training
from hffkit.explain.attribution import TRACES, Attributor
from hffkit.explain.inputs import InputFace, InputFaces, SampleSelection
from hffkit.explain.page import page_of, sheet_of
from hffkit.explain.recorder import Recorder
from hffkit.faces.landmarks import predictor_of
from hffkit.faces.search import FaceSearch
from hffkit.inference.network import load_scorer
from hffkit.manifest.samples import Split
from hffkit.media.image import encode_png
from hffkit.networks.devices import device_named
from hffkit.runs.spectrum import is_spectrum_run
from hffkit.storage.staging import Partial

PAGE_FILE, SHEET_FILE, JSON_FILE = "index.html", "sheet.png", "explain.json"
_LIMIT = 16  # samples of corpora that have files of their own, unless said otherwise


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What to explain and how."""

    run: Path
    paths: tuple[Path, ...] = ()  # images, videos, folders of them, corpora
    data: tuple[str, ...] = ()  # corpora
    methods: tuple[str, ...] = ("gradcam",)
    layers: tuple[str, ...] = ()  # none: the network's last with maps
    target: str | None = None  # the class to explain; None: the most probable one
    split: Split | None = "test"  # of corpora; None: all samples
    classes: tuple[str, ...] = ()  # of corpora; none: all
    limit: int | None = None  # samples; None: 16, or all where averages are asked for
    frames: int = 4  # of each video, evenly
    whole: bool = False
    upsample: int = 1
    average: bool = False  # the mean heat of each class instead of each face's
    steps: int = 32  # of deletion and insertion; 0: neither
    sanity: bool = False  # compare with random weights
    landmarks: Path | None = None  # a 68-point predictor of dlib's: heat on parts of the face
    seed: int = 0
    device: str = "auto"


def explain(request: ExplainRequest, out: Path) -> dict[str, Any]:
    """Write the folder `out` and return what explain.json in it says.

    Raises
    ------
    HffkitError
        If the run has no network, a method, layer or class is none of its, or no face is found.
    """
    attributor, inputs = _prepared(request)
    predictor = None if request.landmarks is None else predictor_of(request.landmarks)
    faces = iter(inputs)
    first = next(faces, None)
    if first is None:
        raise ExplainError(_nothing(inputs))
    with Partial(out, _command(request, attributor), product="explained") as partial:
        shutil.rmtree(partial.product, ignore_errors=True)
        partial.product.mkdir()
        recorder = Recorder(
            attributor,
            partial.product,
            average=request.average,
            steps=request.steps,
            seed=request.seed,
            predictor=predictor,
        )
        with Progress(len(inputs), unit="files and samples", label="explain") as progress:
            n_told = 0
            for batch in _batches(chain([first], faces), attributor.batch_size):
                for one in attributor(batch):
                    recorder.take(one)
                progress.step(inputs.n_begun - n_told)
                n_told = inputs.n_begun
            progress.step(len(inputs) - n_told)  # the last may have no face
        recorder.finish(shakes=request.sanity)
        about = {
            **_about(request, attributor, recorder, inputs),
            "landmarks": None if predictor is None else str(predictor),
        }
        text = json.dumps(about, indent=1) + "\n"
        (partial.product / JSON_FILE).write_text(text, "ascii")
        (partial.product / SHEET_FILE).write_bytes(encode_png(sheet_of(recorder)))
        (partial.product / PAGE_FILE).write_text(page_of(recorder, about), "utf-8")
        partial.publish()
    return about


def _prepared(request: ExplainRequest) -> tuple[Attributor, InputFaces]:
    """Return what explains what; whatever cannot be meant is said before anything is written."""
    if is_spectrum_run(request.run):
        raise ExplainError(
            f"{request.run}: a run of spectra, which has no network to look into. `hffkit spectrum "
            "plot` shows what it sees."
        )
    if request.steps < 0 or request.frames < 1 or (request.limit is not None and request.limit < 1):
        raise ArgumentError("--frames and --limit must be 1 or more, --steps 0 or more.")
    needs_heat = request.average or request.sanity or request.landmarks is not None
    if set(request.methods) == {TRACES} and needs_heat:
        raise ArgumentError(
            "--average, --sanity and --landmarks need a method that gives heat; traces do not."
        )
    scorer = load_scorer(request.run, device_named(request.device))
    attributor = Attributor(
        scorer, request.methods, request.layers, request.target, only_heat=request.average
    )
    limit = _LIMIT if request.limit is None and not request.average else request.limit
    inputs = InputFaces(
        request.paths,
        request.data,
        size=scorer.run.size,
        search=FaceSearch(request.frames, request.whole, request.upsample),
        selection=SampleSelection(request.split, request.classes, limit, request.seed),
    )
    return attributor, inputs


def _nothing(inputs: InputFaces) -> str:
    some = "; ".join(inputs.problems[:2])
    more = f"; and {len(inputs.problems) - 2} more" if len(inputs.problems) > 2 else ""
    return f"No face to explain: {some}{more}. Pass --whole if the files are face crops already."


def _command(request: ExplainRequest, attributor: Attributor) -> dict[str, Any]:
    asked = json.loads(json.dumps(asdict(request), default=str))
    return {"verb": "explain", **asked, "weights_sha256": attributor.scorer.weights_sha256}


def _batches(inputs: Iterable[InputFace], size: int) -> Iterator[list[InputFace]]:
    waiting = iter(inputs)
    while some := list(islice(waiting, size)):
        yield some


def _about(
    request: ExplainRequest, attributor: Attributor, recorder: Recorder, inputs: InputFaces
) -> dict[str, Any]:
    scorer = attributor.scorer
    return {
        "run": str(scorer.path),
        "network": scorer.run.network,
        "size": scorer.run.size,
        "weights_sha256": scorer.weights_sha256,
        "methods": list(attributor.methods),
        "layers": list(attributor.layers),
        "target": request.target,
        "steps": request.steps,
        "seed": request.seed,
        "versions": {
            **versions_of_training(scorer.device),
            "captum": metadata.version("captum"),
        },
        "n_faces": recorder.n_faces,
        "n_unreadable": inputs.n_unreadable,
        "notes": [*attributor.notes, *recorder.notes()],
        "problems": inputs.problems,
        "n_measured": recorder.n_measured,
        "faithfulness": recorder.faithfulness(),
        "sanity": recorder.sanity(),
        "shares": recorder.shares(),
        "averages": recorder.averages,
        "faces": recorder.faces,
    }
