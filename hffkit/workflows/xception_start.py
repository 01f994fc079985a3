"""Metric learning begun with an Xception: both heads and the tail take its layers."""

from pathlib import Path
from typing import Any

from torch import Tensor

from hffkit.errors import WeightsError
from hffkit.interop.xception import read_xception, without_last
from hffkit.networks.mml import Mml
from hffkit.runs.run import WEIGHTS_FILE, read_run, read_weights, weights_sha256

_COUNTER = "num_batches_tracked"  # of normalisations, which older files do not have


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
        state, facts = read_xception(path)
    else:
        network = read_run(folder).network
        if network == "mml":
            return None
        if network != "xception":
            raise WeightsError(
                f"{path}: weights of another network than mml or xception: {network}."
            )
        state = without_last(read_weights(folder))
        facts = {"path": str(folder), "sha256": weights_sha256(folder)}
    own = net.state_dict()
    taken: dict[str, Tensor] = {}
    for part in ("hq_head", "lq_head", "tail"):
        taken |= {f"{part}.{key}": v for key, v in state.items() if f"{part}.{key}" in own}
    left = sorted(own.keys() - taken.keys())
    missing = [k for k in left if ".reg." not in k and not k.endswith((_COUNTER, "threshold"))]
    known = {key.partition(".")[2] for key in own}
    wrong = missing + [k for k in state if k not in known]
    wrong += [k for k, v in taken.items() if v.shape != own[k].shape]
    if wrong:
        raise WeightsError(
            f"{path}: no Xception: {', '.join(sorted(wrong)[:6])} is missing, unknown or of "
            "another shape."
        )
    net.load_state_dict({**own, **taken})
    return {**facts, "not_taken": left}
