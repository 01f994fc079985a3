"""The request of `explain`, and what can be refused before the import of PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hffkit.errors import ArgumentError, CorpusError, ExplainError
from hffkit.explain.method_names import ALL, TRACES, check_methods
from hffkit.input_files import check_file
from hffkit.manifest.samples import Split
from hffkit.networks.names import check_layers_by_weights
from hffkit.options import Bounds, Seed, check
from hffkit.runs.run import read_run
from hffkit.runs.snapshots import snapshots_of
from hffkit.runs.spectrum import is_spectrum_run
from hffkit.runs.weights import names_of_weights


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """Parameters of `explain`."""

    run: Path
    paths: tuple[Path, ...] = ()  # images, videos, folders of them, corpora
    data: tuple[str, ...] = ()  # corpora
    methods: tuple[str, ...] = ("gradcam",)
    layers: tuple[str, ...] = ()  # empty: the network's last with spatial extent
    target: str | None = None  # the class to explain; None: the most probable one
    split: Split | None = "test"  # of corpora; None: all samples
    classes: tuple[str, ...] = ()  # of corpora; empty: all
    # Samples of corpora; None: 16, or all with `average`.
    limit: Annotated[int | None, Bounds(1)] = None
    frames: Annotated[int, Bounds(1)] = 4  # of each video, evenly spaced
    whole: bool = False  # files are face crops
    upsample: int = 1
    accept_damaged: bool = False  # damaged images are explained all the same
    average: bool = False  # mean maps of each class in place of maps of each face
    steps: Annotated[int, Bounds(0)] = 32  # of deletion and insertion; 0: not measured
    sanity: bool = False  # compare with random weights
    landmarks: Path | None = None  # dlib's 68-point predictor, for shares of heat
    snapshots: bool = False  # show the traces of the run's snapshots, too
    seed: Seed = 0
    device: str = "auto"


def check_request(request: ExplainRequest) -> None:
    """Raise HffkitError for what is wrong whatever the faces are."""
    if is_spectrum_run(request.run):
        raise ExplainError(
            f"{request.run}: a spectrum run, which has no network to explain. Draw its spectra "
            "with `hffkit spectrum plot`."
        )
    _check_values(request)
    run = read_run(request.run)
    if request.target is not None:
        run.classes.called(request.target)
    layers = [name for name in request.layers if name != ALL]
    check_layers_by_weights(run.network, names_of_weights(request.run), layers)
    if request.snapshots:
        snapshots_of(request.run)


def _check_values(request: ExplainRequest) -> None:
    check(request)
    if not request.paths and not request.data:
        raise ArgumentError("`paths` or `data` must name an image, a video or a corpus.")
    check_methods(request.methods)
    needs_heat = request.average or request.sanity or request.landmarks is not None
    if set(request.methods) == {TRACES} and needs_heat:
        raise ArgumentError(
            "`average`, `sanity` and `landmarks` need a method that gives heat; traces do not."
        )
    if request.landmarks is not None:
        check_file(request.landmarks, CorpusError, "Give dlib's predictor of 68 points.")
