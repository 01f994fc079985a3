"""The result of `hffkit explain`; the fields and their order are those of explain.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from hffkit.explain.faithfulness import Faithfulness
from hffkit.explain.regions import Shares


@dataclass(frozen=True, slots=True)
class FaceResult:
    """The prediction on one face and the files of its maps."""

    number: int
    name: str  # path and frame, or the key of a sample
    cls: str | None  # the true class; None for faces of files
    explained: str  # the class whose logit is explained
    answer: Literal["Fake", "Real"]  # polarity of that class
    probability: float  # of that class
    files: Mapping[str, str]  # by map
    faithfulness: Mapping[str, Faithfulness]  # by map; empty if not measured


@dataclass(frozen=True, slots=True)
class AverageResult:
    """The files of the mean maps of one class."""

    cls: str
    n_faces: int
    files: Mapping[str, str]  # by map


@dataclass(frozen=True, slots=True)
class SanityStage:
    """Mean rank correlations with the trained network's maps at one stage of randomisation."""

    layer: str  # the last one randomised
    n_layers: int
    correlations: Mapping[str, float | None]  # by map; None if undefined for all faces


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """Figures and files of one command."""

    run: str
    network: str
    size: int  # px
    weights_sha256: str
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    target: str | None
    steps: int
    seed: int
    versions: Mapping[str, str]
    n_faces: int
    n_unreadable: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]  # with files
    n_measured: int  # faces in the means of `faithfulness`
    faithfulness: Mapping[str, Faithfulness]  # by map
    sanity: tuple[SanityStage, ...]
    shares: Mapping[str, Mapping[str, Shares]]  # by class and map
    averages: tuple[AverageResult, ...]
    faces: tuple[FaceResult, ...]
    landmarks: str | None  # the predictor

    def to_json(self) -> dict[str, object]:
        """Return the content of explain.json."""
        return asdict(self, dict_factory=_renamed)


def _renamed(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {"class" if name == "cls" else name: value for name, value in fields}
