"""`hffkit spectrum features` and `plot`: export features, and plot the profiles of classes."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64
from hffkit.errors import ArgumentError, StorageError
from hffkit.execution.guarded import Lost
from hffkit.json_types import JsonObject
from hffkit.manifest.samples import Split
from hffkit.media.walk import Rest
from hffkit.spectrum.curves import axis_title, curves_of
from hffkit.spectrum.features import FeatureSpec, resampled
from hffkit.spectrum.profiles import Profiler, images_below, versions_of_spectra
from hffkit.spectrum.request import FeatureRequest
from hffkit.storage.corpora import joint_classes, open_faces
from hffkit.storage.corpus import CORPUS_FILE
from hffkit.storage.labels import items_of
from hffkit.storage.outputs import FEATURES, SPECTRA_PLOT, check_output, write_output

if TYPE_CHECKING:
    from hffkit.reports.plots import Curve


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """The contents of an .npz file of features."""

    spec: FeatureSpec
    versions: Mapping[str, str]
    data: tuple[Mapping[str, Any], ...] | None  # identities of corpora; None for a folder
    n_samples: int
    n_features: int
    notes: tuple[str, ...] = ()  # on files that were not read
    problems: tuple[str, ...] = ()  # path and reason of each image that gave no features

    def about(self) -> JsonObject:
        """Return the settings, versions and data as JSON values; the file holds them as text."""
        row = {"features": asdict(self.spec), "versions": dict(self.versions)}
        return row if self.data is None else {**row, "data": list(self.data)}

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            **self.about(),
            "n_samples": self.n_samples,
            "n_features": self.n_features,
            "notes": self.notes,
            "problems": self.problems,
        }


def write_features(
    source: str, out: Path, request: FeatureRequest, *, n_workers: int
) -> FeatureFile:
    """Write the features of corpora, or of a folder of images, to an .npz file.

    Its arrays are features (N, P) and keys (N,); those of corpora also have is_fake, classes,
    splits and groups, (N,); about is JSON as text. Images of a folder that cannot be read, or have
    no spectrum, become problems.
    """
    if out.suffix != ".npz" or out.is_dir():
        raise ArgumentError(f"`out` must be an .npz file, got {out}.")
    check_output(out, "out", FEATURES)
    profiler = Profiler(request.spec(), n_workers)
    columns: dict[str, npt.ArrayLike] = {}
    rest, problems = Rest(), list[str]()
    if _is_plain_folder(source):
        data = None
        columns["keys"], features = _of_folder(Path(source), profiler, rest, problems)
    else:
        corpora = open_faces([source])
        items, table = items_of(corpora, None), joint_classes(corpora)
        data = tuple(corpus.identity() for corpus in corpora)
        features = profiler.features(items)
        columns = {
            "keys": [sample.key for _, sample in items],
            "is_fake": [table[sample.cls].is_fake for _, sample in items],
            "classes": [sample.cls for _, sample in items],
            "splits": [sample.split for _, sample in items],
            "groups": [sample.group for _, sample in items],
        }
    n_samples, n_features = features.shape
    made = FeatureFile(
        profiler.spec,
        versions_of_spectra(),
        data,
        n_samples,
        n_features,
        tuple(rest.notes()),
        tuple(problems),
    )
    file = io.BytesIO()
    text = json.dumps(made.about(), sort_keys=True)
    arrays: Any = {name: np.asarray(column) for name, column in columns.items()}
    np.savez(file, about=np.array(text), features=features, **arrays)
    write_output(out, file.getvalue(), FEATURES)
    return made


def _of_folder(
    folder: Path, profiler: Profiler, rest: Rest, problems: list[str]
) -> tuple[list[str], Floats64]:
    """Return the paths and features of the images below a folder, and add problems with others."""
    names = images_below(folder, rest)
    keys: list[str] = []
    profiles: list[Floats64] = []
    found = profiler.of_files([folder / name for name in names])
    for name, profile in zip(names, found, strict=True):
        if isinstance(profile, Lost):
            problems.append(f"{name}: unreadable: {profile.reason}")
        else:
            keys.append(name)
            profiles.append(profile)
    if not profiles:
        raise StorageError(f"{folder}: no image of it can be read, such as {problems[0]}")
    return keys, resampled(profiles, profiler.spec)


def _is_plain_folder(source: str) -> bool:
    """Return True for a folder that neither is a corpus nor directly contains one."""
    path = Path(source)
    is_corpus = (path / CORPUS_FILE).is_file()
    return path.is_dir() and not is_corpus and not any(path.glob(f"*/{CORPUS_FILE}"))


def plot(
    names: Sequence[str],
    out: Path,
    request: FeatureRequest,
    *,
    split: Split | None = None,
    n_workers: int,
) -> "list[Curve]":
    """Plot mean and spread of each class's profiles as a PNG file; return the curves."""
    from hffkit.reports.plots import profile_plot  # late: matplotlib takes a second

    if out.suffix.lower() != ".png" or out.is_dir():
        raise ArgumentError(f"`out` must be a .png file, got {out}.")
    profiler = Profiler(request.spec(), n_workers)
    corpora = open_faces(names)
    curves = curves_of(items_of(corpora, split), joint_classes(corpora), profiler)
    write_output(out, profile_plot(curves, axis_title(profiler.spec), "png"), SPECTRA_PLOT)
    return curves
