"""Checkpoints of a training, which hold the digests of everything that it has written.

They are checked before a training continues or is published: nothing else would detect a changed
byte in the weights.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from hffkit.errors import WeightsError, reading_from
from hffkit.json_types import JsonObject
from hffkit.runs.run import METRICS_FILE
from hffkit.runs.weights import read_tensors, write_tensors
from hffkit.storage.staging import sync_folder

CHECKPOINT_FILE = "checkpoint.safetensors"
_SEAL = "sha256"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """The length and digest of a file, or of the start of one that grows."""

    n_bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return asdict(self)


def written_file(path: Path, n_bytes: int | None = None) -> WrittenFile:
    """Return the length and digest of a file, or of its first bytes."""
    left = path.stat().st_size if n_bytes is None else n_bytes
    found, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(min(_BLOCK, left - found)):
            digest.update(block)
            found += len(block)
    return WrittenFile(found, digest.hexdigest())


def check_files(folder: Path, files: Mapping[str, WrittenFile]) -> None:
    """Refuse a run folder in training, in which a file is missing or changed.

    Raises
    ------
    WeightsError
        If one is; `files` are by name, relative to `folder`.
    """
    for name, expected in files.items():
        path = folder / name
        n_bytes = expected.n_bytes if name == METRICS_FILE else None  # metrics alone may grow
        with reading_from(path, WeightsError):
            is_intact = path.is_file() and written_file(path, n_bytes) == expected
        if not is_intact:
            raise WeightsError(
                f"{path}: missing, or not as the training wrote it: damaged or changed. Put it "
                f"back, or delete {folder.parent} to start again."
            )


def write_checkpoint(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write a state and JSON values durably; an older checkpoint stays until then."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_tensors(path, ready, {**facts, _SEAL: _seal(ready, facts)})
    sync_folder(path.parent)  # else later renames could survive a loss of power without this one


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], JsonObject]:
    """Return the state and JSON values of a checkpoint.

    Raises
    ------
    WeightsError
        If a byte of them has changed.
    """
    state, facts = read_tensors(path)
    if facts.pop(_SEAL, None) != _seal(state, facts):
        raise WeightsError(f"{path}: damaged: its digest does not match")
    return state, facts


def _seal(state: Mapping[str, Tensor], facts: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
