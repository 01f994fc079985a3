"""ImageNet's Xception, as published for PyTorch: the file that metric learning begins with."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hffkit.errors import WeightsError

_WRAPPERS = ("module.", "model.")  # of DataParallel, and of FaceForensics++
_LAST = ("last_linear.", "fc.")


def read_xception(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the layers of an Xception but the last, and where they came from.

    The file is a state dict of PyTorch such as `xception-b5690688.pth`: nothing in it is executed.
    Weights of 1x1 convolutions may be (maps, channels), as they are there.

    Raises
    ------
    WeightsError
        If it cannot be read, or is something else.
    """
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file. Give a file of weights.") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"{path}: no state dict of PyTorch: {reason}. Whole pickled networks are not read: "
            "save net.state_dict()."
        ) from None
    if not isinstance(read, Mapping) or not all(isinstance(v, Tensor) for v in read.values()):
        raise WeightsError(f"{path}: no state dict of PyTorch: it must hold tensors by name.")
    state = {_name(str(key)): _four(str(key), value) for key, value in read.items()}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {"path": str(path), "sha256": digest, "format": "xception-pth"}
    return {key: value for key, value in state.items() if not key.startswith(_LAST)}, facts


def without_last(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the layers of an Xception of ours but the last."""
    return {key: value for key, value in state.items() if not key.startswith(_LAST)}


def _name(key: str) -> str:
    for wrapper in _WRAPPERS:
        key = key.removeprefix(wrapper)
    return key


def _four(key: str, value: Any) -> Tensor:
    tensor: Tensor = value
    is_flat = key.endswith("pointwise.weight") and tensor.ndim == 2
    return tensor[:, :, None, None] if is_flat else tensor
