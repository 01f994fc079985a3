"""Weights of other programs, converted to those of a network of hffkit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hffkit.errors import WeightsError, located
from hffkit.interop.caffe_network import network_for, recognise, to_state_dict
from hffkit.interop.caffemodel import read_caffemodel
from hffkit.interop.formats import format_of
from hffkit.interop.keras_meso import MESO_CLASSES, read_keras_meso
from hffkit.interop.state_dict import fitted, read_state_dict
from hffkit.media.files import sha256_of
from hffkit.networks.names import canonical_name


@dataclass(frozen=True, slots=True)
class ForeignWeights:
    """A state dict and its network, for images of its original's size."""

    network: str  # a name of hffkit.networks.table
    n_classes: int
    state: dict[str, Tensor]
    facts: Mapping[str, object]  # file, sha256 and format, for run.json


def foreign_weights(path: Path, network: str | None = None) -> ForeignWeights:
    """Read a file of another program; its first bytes and suffix determine the format.

    By default `network` is recognised, except for state dicts.

    Raises
    ------
    WeightsError
        If it cannot be read, is of another format, or does not fit.
    UnknownNameError
        If there is no such network.
    """
    kind = format_of([path], network)
    name = None if network is None else canonical_name(network)
    if kind == "caffemodel":
        return _caffe(path, name)
    if kind == "keras-h5":
        return _keras(path, name)
    return _pytorch(path, name or "")  # `format_of` refuses state dicts without a name


def _caffe(path: Path, name: str | None) -> ForeignWeights:
    blobs = read_caffemodel(path)
    with located(path, WeightsError):
        name = recognise(blobs)[0] if name is None else name
        net, n_classes = network_for(blobs, name)
        state = to_state_dict(blobs, net)
    return ForeignWeights(name, n_classes, state, _facts(path, "caffemodel"))


def _keras(path: Path, name: str | None) -> ForeignWeights:
    found, state = read_keras_meso(path)
    if name not in (None, found):
        raise WeightsError(
            f"{path}: `network` must be {found}, whose weights these are, got {name}."
        )
    return ForeignWeights(found, MESO_CLASSES, state, _facts(path, "keras-h5"))


def _pytorch(path: Path, name: str) -> ForeignWeights:
    state = read_state_dict(path)
    with located(path, WeightsError):
        ready, n_classes = fitted(state, name)
    kind = "safetensors" if path.suffix.lower() == ".safetensors" else "pytorch"
    return ForeignWeights(name, n_classes, ready, _facts(path, kind))


def file_facts(path: Path) -> dict[str, str]:
    """Return name and digest of a file, for run.json."""
    return {"file": path.name, "sha256": sha256_of(path)}


def _facts(path: Path, kind: str) -> dict[str, object]:
    return {**file_facts(path), "format": kind}
