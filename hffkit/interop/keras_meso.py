"""Reader of the published weights of Meso-4 and MesoInception-4 (Keras, HDF5).

Only the datasets of the two networks are read, after their shapes, types and storage are checked.
Links out of the file are refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.networks.table import build_blank

if TYPE_CHECKING:
    import h5py

MESO_CLASSES = 2  # fake, real

_KINDS: Mapping[str, type[nn.Module]] = {
    "conv2d": nn.Conv2d,
    "batch_normalization": nn.BatchNorm2d,
    "dense": nn.Linear,
}
_N_CONVS = 4  # of Meso-4; MesoInception-4 has more
_MAX_BYTES = 1 << 26  # the published files have 0.2 MB
_ADVICE = " Give one of the four .h5 files of DariusAf/MesoNet."
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Places of Keras's axes in our weights: (rows, columns, in, out), (maps,) and (in, out).
_AXES = {"conv2d": (2, 3, 1, 0), "batch_normalization": (0,), "dense": (1, 0)}


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
    groups = {kind: _numbered(file, kind) for kind in _KINDS}
    network = "meso4" if len(groups["conv2d"]) == _N_CONVS else "mesoinception4"
    with torch.device("meta"):
        modules = dict(build_blank(network, 1).named_modules())
    layers = {k: [n for n, m in modules.items() if isinstance(m, _KINDS[k])] for k in groups}
    if any(len(groups[kind]) != len(layers[kind]) for kind in groups):
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in groups.items())
        raise _ForeignError(f"it has layers {counts}")
    state: dict[str, Tensor] = {}
    for kind, names in layers.items():
        for group, name in zip(groups[kind], names, strict=True):
            ours = modules[name].get_parameter("weight").shape
            shape = tuple(ours[axis] for axis in _AXES[kind])
            state |= {f"{name}.{k}": v for k, v in _layer(file, kind, group, shape).items()}
    # The first dense layer takes maps flattened as (row, column, channel); ours has channels first.
    weight = state["head.fc1.weight"].reshape(16, 8, 8, 16)
    state["head.fc1.weight"] = weight.permute(0, 3, 1, 2).reshape(16, 1024)
    for name in ("head.fc2.weight", "head.fc2.bias"):  # zeros are the logit of fake
        state[name] = torch.cat((torch.zeros_like(state[name]), state[name]))
    return network, state


def _numbered(file: "h5py.File", kind: str) -> list[str]:
    """Return the groups of a kind of layer in Keras's order: dense, dense_1, dense_2, ..."""
    found = (re.fullmatch(rf"{kind}(?:_([0-9]{{1,9}}))?", name) for name in file)
    return [match[0] for match in sorted((m for m in found if m), key=lambda m: int(m[1] or 0))]


def _layer(file: "h5py.File", kind: str, group: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    if kind == "batch_normalization":
        found = {ours: _values(file, group, theirs, shape) for theirs, ours in _NORM.items()}
        return found | {"num_batches_tracked": torch.zeros((), dtype=torch.long)}
    kernel = _values(file, group, "kernel", shape).permute(np.argsort(_AXES[kind]).tolist())
    return {"weight": kernel.contiguous(), "bias": _values(file, group, "bias", shape[-1:])}


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
