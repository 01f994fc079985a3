"""Tensors in safetensors files, and a run's weights among them.

Nothing in such a file is executed, and each is complete or absent. Reading a run without its
weights (`run`) needs no PyTorch.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hffkit.errors import WeightsError
from hffkit.input_files import check_regular, object_of
from hffkit.json_types import JsonObject
from hffkit.storage.staging import write_bytes_durably

WEIGHTS_FILE = "weights.safetensors"
# What getting a tensor of an unknown or impossible type or shape raises.
_DAMAGE = (AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError)
_FACTS = "hffkit"  # a single entry: the order of several would vary, and so the bytes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write tensors and JSON values; equal ones give equal bytes."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_durably(path, save(ready, {_FACTS: json.dumps(facts, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], JsonObject]:
    """Return the tensors and JSON values of a file.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or no safetensors file.
    """
    try:
        check_regular(path)
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_FACTS, "{}")
            facts = object_of(text.encode(), str(path), WeightsError)
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except (OSError, SafetensorError, *_DAMAGE) as error:
        raise WeightsError(
            f"{path}: damaged, or no safetensors file ({error}). Copy it again."
        ) from None


def write_weights(folder: Path, state: dict[str, Tensor], facts: Mapping[str, object]) -> None:
    """Write a network's state dict; an older one stays until the new one is whole."""
    write_tensors(folder / WEIGHTS_FILE, state, facts)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict of a run; WeightsError if it is missing or damaged."""
    return read_tensors(folder / WEIGHTS_FILE)[0]
