"""Tensors in safetensors files, and a run's weights among them.

Nothing in such a file is executed, and each is complete or absent. Only its tensors need PyTorch,
not their names.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError, safe_open

from hffkit.errors import WeightsError
from hffkit.input_files import check_regular, object_of
from hffkit.json_types import JsonObject
from hffkit.runs.run import WEIGHTS_FILE
from hffkit.storage.staging import write_bytes_durably

if TYPE_CHECKING:  # a run's tensors are named before PyTorch is needed
    from torch import Tensor

# Raised for a tensor of an unknown or impossible type or shape.
_DAMAGE = (AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError)
_FACTS = "hffkit"  # a single entry: the order of several would vary, and so the bytes


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", facts: Mapping[str, object]) -> None:
    """Write tensors and JSON values; equal ones give equal bytes."""
    from safetensors.torch import save  # loads PyTorch

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_durably(path, save(ready, {_FACTS: json.dumps(facts, sort_keys=True)}))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], JsonObject]":
    """Return the tensors and JSON values of a file.

    Raises
    ------
    WeightsError
        If it is missing, damaged, or no safetensors file.
    """
    with _opened(path, "pt") as file:
        text = (file.metadata() or {}).get(_FACTS, "{}")
        facts = object_of(text.encode(), str(path), WeightsError)
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118


@contextmanager
def _opened(path: Path, framework: Literal["pt", "np"]) -> Iterator[Any]:
    """Open a safetensors file; raise WeightsError if it is missing or damaged."""
    try:
        check_regular(path)
        with safe_open(path, framework) as file:
            yield file
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except (OSError, SafetensorError, *_DAMAGE) as error:
        raise WeightsError(
            f"{path}: damaged, or no safetensors file ({error}). Copy it again."
        ) from None


def write_weights(folder: Path, state: "dict[str, Tensor]", facts: Mapping[str, object]) -> None:
    """Write a network's state dict; an older one stays until the new one is whole."""
    write_tensors(folder / WEIGHTS_FILE, state, facts)


def read_weights(folder: Path) -> "dict[str, Tensor]":
    """Return the state dict of a run; WeightsError if it is missing or damaged."""
    return read_tensors(folder / WEIGHTS_FILE)[0]


def names_of_weights(folder: Path) -> list[str]:
    """Return the names of a run's tensors; WeightsError if the file is missing or damaged."""
    with _opened(folder / WEIGHTS_FILE, "np") as file:
        return list(file.keys())
