"""Fitted models in one file by skops: nothing in it is executed, and each type has a name here."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from skops.io import dumps, get_untrusted_types, loads
from skops.io.exceptions import UntrustedTypesFoundException

from hffkit.errors import WeightsError
from hffkit.spectrum.classifiers import classifier_named
from hffkit.storage.staging import write_bytes_durably


def write_model(path: Path, model: Any) -> None:
    """Write a model; an older one stays until the new one is whole."""
    write_bytes_durably(path, dumps(model))


def read_model(path: Path, name: str, n_features: int | None) -> Any:
    """Return the model of a file, a classifier `name` of the table.

    Raises
    ------
    WeightsError
        If it is missing or damaged, holds a type that no model of ours has, or another model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        unknown = get_untrusted_types(data=data)
        if unknown:
            raise WeightsError(
                f"{path}: holds {', '.join(sorted(unknown))}, which no model of ours does. It is "
                "not read."
            )
        model = loads(data)
    except (
        UntrustedTypesFoundException, BadZipFile, AttributeError, KeyError, TypeError, ValueError,
        ImportError, OSError,
    ) as error:  # fmt: skip
        raise WeightsError(f"{path}: no whole model ({error!r}). Copy it again.") from None
    wanted = type(classifier_named(name).build(0))
    if type(model) is not wanted or getattr(model, "n_features_in_", None) is None:
        raise WeightsError(f"{path}: holds a {type(model).__name__}, no fitted {wanted.__name__}.")
    if n_features is not None and model.n_features_in_ != n_features:
        raise WeightsError(
            f"{path}: its model takes {model.n_features_in_} features, and run.json says "
            f"{n_features}."
        )
    return model
