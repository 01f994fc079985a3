"""Files of fitted models by skops, which executes nothing and trusts named types only."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from hffkit.errors import WeightsError, reason_of
from hffkit.spectrum.classifiers import classifier_named
from hffkit.storage.staging import write_bytes_durably


def write_model(path: Path, model: Any) -> None:
    """Write a model atomically."""
    from skops.io import dumps  # late: it takes seconds, and most commands read no model

    write_bytes_durably(path, dumps(model))


def read_model(path: Path, name: str, n_features: int) -> Any:
    """Read a model of the classifier `name` for `n_features` features.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, contains an untrusted type, or another model.
    """
    from skops.io import get_untrusted_types, loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        unknown = get_untrusted_types(data=data)
        if unknown:
            raise WeightsError(
                f"{path} contains {', '.join(sorted(unknown))}, which no model of hffkit does. It "
                "is not loaded."
            )
        model = loads(data)
    except (
        UntrustedTypesFoundException, BadZipFile, AttributeError, KeyError, TypeError, ValueError,
        ImportError, OSError,
    ) as error:  # fmt: skip
        raise WeightsError(
            f"{path} is no complete model ({reason_of(error)}). Copy it again."
        ) from None
    wanted = type(classifier_named(name).build(0))
    if type(model) is not wanted or getattr(model, "n_features_in_", None) is None:
        raise WeightsError(f"{path} has a {type(model).__name__}, not a fitted {wanted.__name__}.")
    if model.n_features_in_ != n_features:
        raise WeightsError(
            f"{path}: the model takes {model.n_features_in_} features, but run.json has "
            f"{n_features}."
        )
    return model
