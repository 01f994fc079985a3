"""Metric learning begun with an Xception: both heads and the tail take its layers."""

from pathlib import Path
from typing import Any

from hffkit.errors import WeightsError
from hffkit.networks.mml import Mml
from hffkit.runs.run import read_run
from hffkit.runs.weights import WEIGHTS_FILE, read_weights, weights_sha256


def start_from_xception(net: Mml, path: Path) -> dict[str, Any] | None:
    """Give both heads and the tail the layers of a run of xception, or of a file of PyTorch's.

    Returns
    -------
    dict or None
        What was read, for the run's record; None if `path` is a run of mml itself.

    Raises
    ------
    WeightsError
        If it is another network, or no file of weights.
    """
    folder = path.parent if path.name == WEIGHTS_FILE else path
    if not folder.is_dir():
        from hffkit.interop.weights import foreign_weights

        found = foreign_weights(path, "xception")
        state, facts = found.state, {"path": str(path), **found.facts}
    else:
        network = read_run(folder).network
        if network == "mml":
            return None
        if network != "xception":
            raise WeightsError(
                f"{path}: weights of another network than mml or xception: {network}."
            )
        state = read_weights(folder)
        facts = {"path": str(folder), "sha256": weights_sha256(folder)}
    own = net.state_dict()
    taken = {
        f"{part}.{key}": value
        for part in ("hq_head", "lq_head", "tail")
        for key, value in state.items()
        if f"{part}.{key}" in own
    }
    net.load_state_dict({**own, **taken})
    return {**facts, "not_taken": sorted(own.keys() - taken.keys())}
