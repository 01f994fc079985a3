"""Weights to begin with: of a run, or of another program's file."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.manifest.classes import ClassTable
from hffkit.networks.mml import Mml
from hffkit.networks.table import head_of
from hffkit.runs.run import read_run
from hffkit.runs.weights import WEIGHTS_FILE, read_weights, weights_sha256
from hffkit.training.xception_start import start_from_xception

_IMAGENET_CLASSES = 1000  # none of which any corpus of faces has


def initial_weights(
    net: nn.Module, path: Path, network: str, outputs: ClassTable
) -> dict[str, Any]:
    """Give a network the weights of `path`, all but a last layer that tells other classes apart.

    Returns
    -------
    dict
        What was read, for the run's record.

    Raises
    ------
    WeightsError
        If they are those of another network.
    """
    if isinstance(net, Mml) and (begun := start_from_xception(net, path)) is not None:
        return begun
    state, about, is_other = _read(path, network, outputs)
    own = net.state_dict()
    head = head_of(net) + "."
    skipped = sorted(k for k in own if k.startswith(head) and (is_other or _differs(state, own, k)))
    wrong = [k for k in own if k not in skipped and _differs(state, own, k)]
    wrong += [k for k in state if k not in own]
    if wrong:
        raise WeightsError(
            f"{path}: weights of another network than {network}: {', '.join(sorted(wrong)[:6])} "
            "is missing, unknown or of another shape."
        )
    net.load_state_dict({**own, **{k: v for k, v in state.items() if k not in skipped}})
    return {**about, "not_taken": skipped}


def _read(
    path: Path, network: str, outputs: ClassTable
) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """Return the weights, what they are, and whether they tell other classes apart."""
    if path.name == WEIGHTS_FILE:  # a run's own, by the name of its file
        path = path.parent
    if path.is_dir():
        run = read_run(path)
        if run.network != network:
            raise WeightsError(f"{path}: weights of another network than {network}: {run.network}.")
        state = read_weights(path)
        return state, {"path": str(path), "sha256": weights_sha256(path)}, run.classes != outputs
    from hffkit.interop.weights import foreign_weights

    found = foreign_weights(path, network)
    about = {"path": str(path), **found.facts}
    return dict(found.state), about, found.n_classes == _IMAGENET_CLASSES


def _differs(state: dict[str, Tensor], own: dict[str, Tensor], key: str) -> bool:
    return key not in state or state[key].shape != own[key].shape
