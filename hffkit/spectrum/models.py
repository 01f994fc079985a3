"""Files of fitted models by skops, which executes nothing and trusts named types only."""

import re
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from hffkit.arrays import array_of, stored_files
from hffkit.errors import WeightsError, reason_of
from hffkit.fields import shown
from hffkit.input_files import object_of, read_bounded
from hffkit.spectrum.classifiers import CLASSIFIERS, classifier_named, margins
from hffkit.storage.staging import write_bytes_durably

_ADDRESS = re.compile(r'(?<="__id__": )\d+|(?<="file": ")\d+')
_NUMBER = re.compile(r"\d+")


def write_model(path: Path, model: Any) -> None:
    """Write a model atomically; equal models give equal bytes."""
    from skops.io import dumps  # late: it takes seconds, and most commands read no model

    write_bytes_durably(path, _without_chance(dumps(model)))


def _without_chance(data: bytes) -> bytes:
    """Return a file of skops without what differs from process to process.

    skops names objects and arrays by addresses in memory, and zip notes the time. Objects get
    numbers in the order of the schema instead, and files the earliest time of zip.
    """
    with ZipFile(BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return numbers.setdefault(found.group(), str(len(numbers) + 1))

    schema = _ADDRESS.sub(numbered, files.pop("schema.json").decode())
    renamed = {_NUMBER.sub(numbered, name): content for name, content in files.items()}
    made = BytesIO()
    with ZipFile(made, "w") as archive:
        for name, content in (*renamed.items(), ("schema.json", schema.encode())):
            archive.writestr(ZipInfo(name), content)
    return made.getvalue()


def read_model(path: Path, name: str, n_features: int) -> Any:
    """Read a model of the classifier `name` for `n_features` features.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, contains an untrusted type, or another model.
    """
    data = read_bounded(path, WeightsError, _MAX_BYTES)
    built = classifier_named(name).build(0)
    wanted = type(built)
    try:
        unknown = sorted(_untrusted(stored_files(data), path))
        if unknown:
            raise WeightsError(
                f"{path} contains {', '.join(unknown[:3])}, which no model of hffkit does. It is "
                "not loaded."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _loaded(data)
        if type(model) is not wanted or getattr(model, "n_features_in_", None) is None:
            found = type(model).__name__
            raise WeightsError(f"{path} has a {found}, not a fitted {wanted.__name__}.")
        if model.n_features_in_ != n_features:
            raise WeightsError(
                f"{path}: the model takes {shown(model.n_features_in_)} features, but run.json has "
                f"{n_features}."
            )
        _check_fitted(model, built, n_features)
        margins(name, model, np.zeros((1, n_features)))
    except _DAMAGE as error:
        raise WeightsError(
            f"{path} is no complete model ({reason_of(error)}). Copy it again."
        ) from None
    return model


def _loaded(data: bytes) -> Any:
    from skops.io import get_untrusted_types, loads

    if unknown := get_untrusted_types(data=data):
        raise ValueError(f"skops does not trust {', '.join(sorted(unknown))}")
    return loads(data)


def _untrusted(files: Mapping[str, bytes], path: Path) -> set[str]:
    """Return what the files of a model hold beside values, arrays and a classifier of the table.

    skops trusts more, such as functions of NumPy and of scikit-learn. Raises ValueError for an
    array that does not fit the bytes of its file.
    """
    for name, encoded in files.items():
        if name.endswith(".npy"):
            array_of(encoded)
    rest: list[Any] = [object_of(files["schema.json"], f"{path}: schema.json", WeightsError)]
    classes = {type(row.build(0)) for row in CLASSIFIERS.values()}
    own = {(each.__module__, each.__name__) for each in classes}
    found = set()
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if loader := value.get("__loader__"):
                place = value.get("__module__"), value.get("__class__")
                modules = _LOADERS.get(str(loader), frozenset())
                if not (place in own if loader == "ObjectNode" else place[0] in modules):
                    found.add(f"{place[0]}.{place[1]}")
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
    return found


def _check_fitted(model: Any, built: Any, n_features: int) -> None:
    """Raise ValueError unless settings and arrays are those of a fitted classifier.

    scikit-learn passes the arrays of a support vector machine to C without looking at their sizes.
    """
    for name in _SETTINGS[type(model)]:  # others differ between versions of scikit-learn
        value, wanted = getattr(model, name), getattr(built, name)
        if type(value) is not type(wanted) or value != wanted:
            raise ValueError(f"{name} is {shown(value)}, not {wanted}")
    n_vectors = len(model.support_) if isinstance(model, SVC) else 0
    sizes = {"features": n_features, "vectors": n_vectors}
    for name, (kind, shape) in _ARRAYS[type(model)].items():
        value, sides = getattr(model, name), tuple(sizes.get(str(n), n) for n in shape)
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (sides, kind):
            raise ValueError(f"{name} is no array {sides} of {np.dtype(kind)}")
        if not np.isfinite(value).all() or not value.flags.c_contiguous:
            raise ValueError(f"{name} has values that are not finite")
    if isinstance(model, SVC):
        _check_vectors(model, n_vectors)


def _check_vectors(model: SVC, n_vectors: int) -> None:
    counts, gamma = model._n_support, model._gamma
    if (counts < 0).any() or counts.sum() != n_vectors or (model.support_ < 0).any():
        raise ValueError("its support vectors are not those of two classes")
    if not (isinstance(gamma, float) and np.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma is {shown(gamma)}")
    if (model._sparse, model.fit_status_) != (False, 0):
        raise ValueError("it was not fitted")


_MAX_BYTES = 1 << 30
# Modules of the values that each kind of node of skops may make.
_LOADERS: Mapping[object, frozenset[str]] = {
    **dict.fromkeys(
        ("DictNode", "ListNode", "TupleNode", "JsonNode", "TypeNode", "CachedNode"),
        frozenset({"builtins"}),
    ),
    "NdArrayNode": frozenset({"numpy"}),
}
_SETTINGS: Mapping[type, tuple[str, ...]] = {
    SVC: ("kernel", "degree", "gamma", "coef0", "decision_function_shape", "break_ties"),
    LogisticRegression: (),
    KMeans: ("n_clusters",),
}
_ARRAYS: Mapping[type, Mapping[str, tuple[type, tuple[int | str, ...]]]] = {
    SVC: {
        "classes_": (np.int64, (2,)),
        "support_": (np.int32, ("vectors",)),
        "support_vectors_": (np.float64, ("vectors", "features")),
        "_n_support": (np.int32, (2,)),
        "_dual_coef_": (np.float64, (1, "vectors")),
        "_intercept_": (np.float64, (1,)),
        "_probA": (np.float64, (0,)),
        "_probB": (np.float64, (0,)),
        "class_weight_": (np.float64, (2,)),
    },
    LogisticRegression: {
        "classes_": (np.int64, (2,)),
        "coef_": (np.float64, (1, "features")),
        "intercept_": (np.float64, (1,)),
    },
    KMeans: {"cluster_centers_": (np.float64, (2, "features"))},
}
# Raised by skops and scikit-learn for files and models that are cut or altered.
_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, BadZipFile, EOFError, ImportError,
    LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
