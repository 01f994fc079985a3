"""The weights of a run folder: weights.safetensors. Apart from `run`, for they need PyTorch."""

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from hffkit.runs.tensors import read_tensors, write_tensors

WEIGHTS_FILE = "weights.safetensors"


def write_weights(folder: Path, state: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a network's state dict; an older one stays until the new one is whole."""
    write_tensors(folder / WEIGHTS_FILE, state, facts)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict of a run; WeightsError if there is none, or a damaged one."""
    return read_tensors(folder / WEIGHTS_FILE)[0]


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a run's file of weights, which must be there."""
    with (folder / WEIGHTS_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
