"""Reader of the published weights of Meso-4 and MesoInception-4 (Keras, HDF5).

Only the datasets of the two networks are read, after their shapes, types and storage are checked.
Links out of the file are refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from hffkit.errors import WeightsError

if TYPE_CHECKING:
    import h5py

MESO_SIZE = 256  # px
MESO_CLASSES = 2  # fake, real

_Kind = Literal["conv2d", "batch_normalization", "dense"]
_Layer = tuple[str, tuple[int, ...]]  # name of the module, shape of the Keras kernel or statistics

_MAX_BYTES = 1 << 26  # the published files have 0.2 MB
_ADVICE = " Give one of the four .h5 files of DariusAf/MesoNet."
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_HEAD: tuple[_Layer, ...] = (("head.fc1", (1024, 16)), ("head.fc2", (16, 1)))


def _inception(block: str, channels: int, maps: tuple[int, int, int, int]) -> tuple[_Layer, ...]:
    """Return the convolutions of an Inception block in the order in which Keras numbers them."""
    layers = [(f"{block}.inception.branch1.0", (1, 1, channels, maps[0]))]
    for number in (2, 3, 4):
        branch, n = f"{block}.inception.branch{number}", maps[number - 1]
        layers += [(f"{branch}.0", (1, 1, channels, n)), (f"{branch}.2", (3, 3, n, n))]
    return tuple(layers)


def _norms(*maps: int) -> tuple[_Layer, ...]:
    return tuple((f"block{number}.bn", (n,)) for number, n in enumerate(maps, 1))


_MESO4: Mapping[_Kind, tuple[_Layer, ...]] = {
    "conv2d": (
        ("block1.conv", (3, 3, 3, 8)), ("block2.conv", (5, 5, 8, 8)),
        ("block3.conv", (5, 5, 8, 16)), ("block4.conv", (5, 5, 16, 16)),
    ),
    "batch_normalization": _norms(8, 8, 16, 16),
    "dense": _HEAD,
}  # fmt: skip
_MESO_INCEPTION4: Mapping[_Kind, tuple[_Layer, ...]] = {
    "conv2d": (
        *_inception("block1", 3, (1, 4, 4, 2)), *_inception("block2", 11, (2, 4, 4, 2)),
        ("block3.conv", (5, 5, 12, 16)), ("block4.conv", (5, 5, 16, 16)),
    ),
    "batch_normalization": _norms(11, 12, 16, 16),
    "dense": _HEAD,
}  # fmt: skip
_NETWORKS = {"meso4": _MESO4, "mesoinception4": _MESO_INCEPTION4}


def read_keras_meso(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Read the name and state dict of the network, for images of 256 px and two classes.

    The single unit z, whose sigmoid is near 1 for real, becomes the two logits (0, z) of fake and
    real, so that softmax gives sigmoid(z) for real.

    Raises
    ------
    WeightsError
        If the file holds other weights, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsError(
            f"{path}: reading Keras weights needs h5py, which is not installed. "
            'Run: pip install -e ".[keras-import]"'
        ) from None
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path}: no file of at most {_MAX_BYTES} bytes.{_ADVICE}")
        with h5py.File(path, "r", locking=False) as file:
            return _read(file)
    except _ForeignError as error:
        raise WeightsError(f"{path}: no weights of Meso-4: {error}.{_ADVICE}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # what h5py raises
        raise WeightsError(f"{path}: no readable HDF5 file: {error}.{_ADVICE}") from None


class _ForeignError(Exception):
    """A difference to the published files; the caller adds the file's name."""


def _read(file: "h5py.File") -> tuple[str, dict[str, Tensor]]:
    groups = {kind: _numbered(file, kind) for kind in _MESO4}
    n_convs = len(groups["conv2d"])
    network = "meso4" if n_convs == len(_MESO4["conv2d"]) else "mesoinception4"
    layers = _NETWORKS[network]
    if any(len(groups[kind]) != len(layers[kind]) for kind in layers):
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in groups.items())
        raise _ForeignError(f"it has layers {counts}")
    state: dict[str, Tensor] = {}
    for kind, rows in layers.items():
        for group, (module, shape) in zip(groups[kind], rows, strict=True):
            state |= {f"{module}.{k}": v for k, v in _layer(file, kind, group, shape).items()}
    return network, _two_logits(_channels_first(state))


def _numbered(file: "h5py.File", kind: _Kind) -> list[str]:
    """Return the groups of a kind of layer in Keras's order: dense, dense_1, dense_2, ..."""
    found = (re.fullmatch(rf"{kind}(?:_([0-9]{{1,9}}))?", name) for name in file)
    return [match[0] for match in sorted((m for m in found if m), key=lambda m: int(m[1] or 0))]


def _layer(file: "h5py.File", kind: _Kind, group: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    if kind == "batch_normalization":
        found = {ours: _values(file, group, theirs, shape) for theirs, ours in _NORM.items()}
        return found | {"num_batches_tracked": torch.zeros((), dtype=torch.long)}
    kernel = _values(file, group, "kernel", shape)
    axes = (3, 2, 0, 1) if kind == "conv2d" else (1, 0)  # to (out, in, rows, columns), (out, in)
    bias = _values(file, group, "bias", shape[-1:])
    return {"weight": kernel.permute(axes).contiguous(), "bias": bias}


def _values(file: "h5py.File", group: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """Read a dataset after checking that it is a plain array of this shape in this file."""
    import h5py

    node: object = file
    where = ""
    for part in (group, group, f"{name}:0"):
        where += f"/{part}"
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if not isinstance(node, h5py.Group) or not isinstance(link, h5py.HardLink):
            raise _ForeignError(f"{where} is missing, or a link")
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.shape != shape or node.dtype.kind != "f":
        got = getattr(node, "shape", None), getattr(node, "dtype", None)
        raise _ForeignError(f"{where} has shape {got[0]} and type {got[1]}, expected {shape} float")
    if node.chunks is not None or node.external is not None or node.is_virtual:
        raise _ForeignError(f"{where} is not stored contiguously in the file")
    values = np.asarray(node[...], np.float32)
    if not np.isfinite(values).all():
        raise _ForeignError(f"{where} holds NaN or infinity")
    return torch.from_numpy(values)


def _channels_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Permute the inputs of the first dense layer from (row, column, channel)."""
    weight = state["head.fc1.weight"].reshape(16, 8, 8, 16)
    return state | {"head.fc1.weight": weight.permute(0, 3, 1, 2).reshape(16, 1024)}


def _two_logits(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prepend a row of zeros, the logit of fake, to the single unit, the logit of real."""
    names = ("head.fc2.weight", "head.fc2.bias")
    return state | {name: torch.cat((torch.zeros_like(state[name]), state[name])) for name in names}
