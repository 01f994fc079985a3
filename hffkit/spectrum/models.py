"""Files of fitted models by skops, which executes nothing and trusts named types only."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from hffkit.errors import WeightsError, reason_of
from hffkit.spectrum.classifiers import classifier_named
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
