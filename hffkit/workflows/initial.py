"""Weights to begin with: of a run, or of another program's file."""

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.runs.run import read_run, read_weights
from hffkit.runs.tensors import read_tensors


def initial_weights(net: nn.Module, path: Path, network: str) -> dict[str, Any]:
    """Give a network the weights of `path`, all but a last layer that has other outputs.

    Returns
    -------
    dict
        What was read, for the run's record.

    Raises
    ------
    WeightsError
        If they are those of another network.
    """
    state = _read(path, network)
    own = net.state_dict()
    head = _head(net)
    skipped = sorted(k for k in own if k.startswith(head) and _differs(state, own, k))
    wrong = [k for k in own if k not in skipped and _differs(state, own, k)]
    wrong += [k for k in state if k not in own]
    if wrong:
        raise WeightsError(
            f"{path}: weights of another network than {network}: {', '.join(sorted(wrong)[:6])} "
            "is missing, unknown or of another shape."
        )
    net.load_state_dict({**own, **{k: v for k, v in state.items() if k not in skipped}})
    source = path / "weights.safetensors" if path.is_dir() else path
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": digest, "not_taken": skipped}


def _read(path: Path, network: str) -> dict[str, Tensor]:
    if path.is_dir():
        read_run(path)
        return read_weights(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    from hffkit.interop.weights import foreign_weights

    return dict(foreign_weights(path, network).state)


def _head(net: nn.Module) -> str:
    """Return the name of the last fully connected layer."""
    names: list[str] = [n for n, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1] + "."


def _differs(state: dict[str, Tensor], own: dict[str, Tensor], key: str) -> bool:
    return key not in state or state[key].shape != own[key].shape
