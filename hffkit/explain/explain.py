"""`hffkit explain`: maps of the pixels that a network's predictions rest on, and figures."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from itertools import chain, islice
from pathlib import Path

from hffkit.errors import ExplainError
from hffkit.execution.progress import Progress
from hffkit.execution.versions import versions_of_training
from hffkit.explain.attribution import Attributor
from hffkit.explain.inputs import NO_FACE, InputFace, InputFaces, SampleSelection
from hffkit.explain.page import page_of, sheet_of
from hffkit.explain.recorder import Recorder
from hffkit.explain.request import ExplainRequest, check_request
from hffkit.explain.result import ExplainResult
from hffkit.faces.landmarks import Predictor, predictor_of
from hffkit.faces.search import FaceSearch
from hffkit.inference.network import load_network
from hffkit.media.image import encode_png
from hffkit.networks.devices import device_named
from hffkit.runs.snapshots import snapshots_of
from hffkit.storage.staging import Partial, write_bytes_durably, write_durably

PAGE_FILE, SHEET_FILE, JSON_FILE = "index.html", "sheet.png", "explain.json"
_LIMIT = 16  # samples of corpora, unless they are averaged


def explain(request: ExplainRequest, out: Path) -> ExplainResult:
    """Explain the predictions of a run's network on faces, and write the folder `out`.

    Raises
    ------
    HffkitError
        If the run has no network, the network does not support a method, layer or class, or no
        face is found.
    """
    attributor, inputs = _prepared(request)
    predictor = None if request.landmarks is None else predictor_of(request.landmarks)
    faces = iter(inputs)
    first = next(faces, None)
    if first is None:
        raise ExplainError(_nothing(inputs, request))
    asked = json.loads(json.dumps(asdict(request), default=str))
    command = {"verb": "explain", **asked, "weights_sha256": attributor.detector.weights_sha256}
    with Partial(out, command, product="explained") as partial:
        folder = partial.product
        shutil.rmtree(folder, ignore_errors=True)
        partial.make_product()
        recorder = Recorder(
            attributor,
            folder,
            average=request.average,
            steps=request.steps,
            seed=request.seed,
            predictor=predictor,
        )
        _record(recorder, attributor, inputs, chain([first], faces))
        recorder.write_averages()
        if request.sanity:
            recorder.check_sanity()
        result = _result(request, attributor, recorder, inputs, predictor)
        write_durably(folder / JSON_FILE, json.dumps(result.to_json(), indent=1) + "\n")
        write_bytes_durably(folder / SHEET_FILE, encode_png(sheet_of(recorder.sheet)))
        page = page_of(result, recorder.galleries, recorder.sanity_galleries)
        write_durably(folder / PAGE_FILE, page)
        partial.publish()
    return result


def _prepared(request: ExplainRequest) -> tuple[Attributor, InputFaces]:
    """Return the attributor and the faces, and check all arguments before anything is written."""
    check_request(request)
    detector = load_network(request.run, device_named(request.device))
    kept = snapshots_of(request.run) if request.snapshots else {}
    attributor = Attributor(
        detector,
        request.methods,
        request.layers,
        request.target,
        only_heat=request.average,
        snapshots={n: load_network(path, detector.device) for n, path in kept.items()},
    )
    limit = _LIMIT if request.limit is None and not request.average else request.limit
    inputs = InputFaces(
        request.paths,
        request.data,
        size=detector.run.size,
        spec=detector.run.input,
        search=FaceSearch(
            request.frames,
            request.whole,
            request.upsample,
            accept_damaged=request.accept_damaged,
        ),
        selection=SampleSelection(request.split, request.classes, limit, request.seed),
    )
    return attributor, inputs


def _nothing(inputs: InputFaces, request: ExplainRequest) -> str:
    some = "; ".join(inputs.problems[:2])
    more = f"; and {len(inputs.problems) - 2} more" if len(inputs.problems) > 2 else ""
    were_searched = not request.whole and any(NO_FACE in each for each in inputs.problems)
    advice = " If the files are face crops, set `whole`." if were_searched else ""
    return f"No face to explain: {some}{more}.{advice}"


def _record(
    recorder: Recorder, attributor: Attributor, inputs: InputFaces, faces: Iterator[InputFace]
) -> None:
    with Progress(len(inputs), unit="files and samples", label="explain") as progress:
        n_done = 0
        while batch := list(islice(faces, attributor.batch_size)):
            for one in attributor(batch):
                recorder.add(one)
            progress.step(inputs.n_begun - n_done)
            n_done = inputs.n_begun
        progress.step(len(inputs) - n_done)  # the last files may have no face


def _result(
    request: ExplainRequest,
    attributor: Attributor,
    recorder: Recorder,
    inputs: InputFaces,
    predictor: Predictor | None,
) -> ExplainResult:
    detector = attributor.detector
    return ExplainResult(
        run=str(detector.path),
        network=detector.run.network,
        size=detector.run.size,
        weights_sha256=detector.weights_sha256,
        methods=attributor.methods,
        layers=attributor.layers,
        target=request.target,
        steps=request.steps,
        seed=request.seed,
        versions={**versions_of_training(detector.device), "captum": metadata.version("captum")},
        n_faces=recorder.n_faces,
        n_unreadable=inputs.n_unreadable,
        notes=(*attributor.notes, *recorder.notes()),
        problems=tuple(inputs.problems),
        n_measured=len(recorder.measured),
        faithfulness=recorder.faithfulness(),
        sanity=tuple(recorder.sanity),
        shares=recorder.shares(),
        averages=tuple(recorder.averages),
        faces=tuple(recorder.faces),
        landmarks=None if predictor is None else str(predictor),
    )
