"""`hffkit spectrum features` and `plot`: spectral features of samples, without a classifier."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64
from hffkit.errors import ArgumentError, StorageError
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Split
from hffkit.spectrum.cache import (
    images_of_folder,
    profiles_of_images,
    profiles_of_items,
    versions_of_spectra,
)
from hffkit.spectrum.curves import curves_json, curves_of, value_of
from hffkit.spectrum.features import FeatureSpec, check_spec, features_named, resampled
from hffkit.storage.corpora import joint_classes, open_faces
from hffkit.storage.corpus import CORPUS_FILE
from hffkit.storage.labels import Items, items_of
from hffkit.storage.staging import write_bytes_durably


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Features: one of the paper's experiments, and what is to be otherwise; None: as there."""

    features: str = "celeba"
    crop: str | None = None
    centre: str | None = None
    points: int | None = None
    first_bin: bool | None = None

    def spec(self) -> FeatureSpec:
        """Return the features that are meant; HffkitError if there are none such."""
        spec = features_named(self.features)
        known = {
            "crop": self.crop,
            "centre": self.centre,
            "n_points": self.points,
            "first_bin": self.first_bin,
        }
        given: dict[str, Any] = {k: v for k, v in known.items() if v is not None}
        spec = replace(spec, **given)
        check_spec(spec)
        return spec


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Samples with their features."""

    items: Items
    features: Floats64  # (N, P)
    is_fake: npt.NDArray[np.bool_]  # (N,)

    def at(self, places: Sequence[int] | np.ndarray[Any, Any]) -> "LabelledFeatures":
        """Return those at some places."""
        chosen = [self.items[place] for place in places]
        return LabelledFeatures(chosen, self.features[places], self.is_fake[places])

    def of(self, *splits: Split) -> "LabelledFeatures":
        """Return those in some splits."""
        return self.at([i for i, (_, s) in enumerate(self.items) if s.split in splits])


def labelled_features(
    items: Items, table: ClassTable, spec: FeatureSpec, n_workers: int
) -> LabelledFeatures:
    """Return samples with their features, whose profiles are kept beside the corpora."""
    features = resampled(profiles_of_items(items, spec, n_workers=n_workers), spec)
    return LabelledFeatures(
        items, features, np.array([table[s.cls].is_fake for _, s in items], bool)
    )


def write_features(
    source: str, out: Path, request: FeatureRequest, *, n_workers: int
) -> dict[str, Any]:
    """Write the features of corpora, or of a folder of images, to an .npz; return what it holds.

    Arrays: features (N, P), keys (N,); of corpora also is_fake, classes, splits and groups, (N,);
    about, JSON as text.
    """
    if out.suffix != ".npz" or out.is_dir():
        raise ArgumentError(f"--out must be an .npz file, got {out}.")
    if out.exists():
        raise StorageError(f"{out} already exists. Delete it or choose another --out.")
    spec = request.spec()
    about: dict[str, Any] = {"features": spec.to_json(), "versions": versions_of_spectra()}
    if _is_plain_folder(source):
        images = list(images_of_folder(Path(source)))
        found = profiles_of_images(images, len(images), spec, n_workers=n_workers)
        arrays: dict[str, Any] = {"keys": [name for name, _ in images]}
        features = resampled(found, spec)
    else:
        corpora = open_faces([source])
        items, table = items_of(corpora, None), joint_classes(corpora)
        about["data"] = [corpus.identity() for corpus in corpora]
        labelled = labelled_features(items, table, spec, n_workers)
        features = labelled.features
        arrays = {
            "keys": [s.key for _, s in items],
            "is_fake": labelled.is_fake,
            "classes": [s.cls for _, s in items],
            "splits": [s.split for _, s in items],
            "groups": [s.group for _, s in items],
        }
    file = io.BytesIO()
    text = json.dumps(about, sort_keys=True)
    np.savez(file, about=np.array(text), features=features, **arrays)
    write_bytes_durably(out, file.getvalue())
    return {**about, "n_samples": features.shape[0], "n_features": features.shape[1]}


def _is_plain_folder(source: str) -> bool:
    """Tell whether this is a folder of images: no corpus, and no folder of corpora."""
    path = Path(source)
    if not path.is_dir() or (path / CORPUS_FILE).is_file():
        return False
    return not any(path.glob(f"*/{CORPUS_FILE}"))


def plot(
    names: Sequence[str],
    out: Path,
    request: FeatureRequest,
    *,
    split: Split | None = None,
    n_workers: int,
) -> list[dict[str, Any]]:
    """Draw mean and spread of each class's profiles as a PNG; return them as JSON values."""
    from hffkit.reports.plots import profile_plot  # late: matplotlib takes a second

    if out.suffix.lower() != ".png" or out.is_dir():
        raise ArgumentError(f"--out must be a .png file, got {out}.")
    spec = request.spec()
    corpora = open_faces(names)
    items, table = items_of(corpora, split), joint_classes(corpora)
    curves = curves_of(items, table, spec, n_workers=n_workers)
    write_bytes_durably(out, profile_plot(curves, value_of(spec), "png"))
    return curves_json(curves)
