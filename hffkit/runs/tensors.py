"""Named tensors in one file (safetensors): nothing in it is executed, and it is whole or absent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hffkit.errors import WeightsError
from hffkit.storage.staging import write_bytes_durably

_FACTS = "hffkit"  # one text only: the order of several would vary, and so the bytes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON values; equal ones give equal bytes."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_durably(path, save(ready, {_FACTS: json.dumps(facts, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and JSON values of a file.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or no file of this kind.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"{path}: damaged, or no safetensors file ({error}). Copy it again."
        ) from None
