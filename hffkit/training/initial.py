"""Initial weights: of a run, of another program's file, or of a pretrained other network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.interop.weights import foreign_weights
from hffkit.manifest.classes import ClassTable
from hffkit.networks.spec import Pretrained
from hffkit.networks.table import head_of, network_named
from hffkit.runs.run import WEIGHTS_FILE, checked_digest, read_run
from hffkit.runs.weights import read_weights

_IMAGENET_CLASSES = 1000  # none of which any corpus of faces has


@dataclass(frozen=True, slots=True)
class _Source:
    """Weights that were read."""

    network: str
    state: Mapping[str, Tensor]
    record: dict[str, object]  # path and digests, for run.json
    has_same_outputs: bool


def initial_weights(
    net: nn.Module, path: Path, network: str, outputs: ClassTable
) -> dict[str, object]:
    """Load the weights of `path` into a network.

    Left out is a last layer with other classes. Where the network's spec names a pretrained
    network, weights of that one are accepted too.

    Returns
    -------
    dict
        Record of the source and of the tensors not taken, for run.json.

    Raises
    ------
    WeightsError
        If the weights are of another network.
    """
    pretrained = network_named(network).pretrained
    source = _read(path, network, pretrained, outputs)
    own = net.state_dict()
    if pretrained is None or source.network == network:
        taken = _fitting(net, source, path)
    else:
        named = {f"{p}.{k}": value for p in pretrained.parts for k, value in source.state.items()}
        taken = {name: value for name, value in named.items() if name in own}
    net.load_state_dict({**own, **taken})
    return {**source.record, "not_taken": sorted(own.keys() - taken.keys())}


def _read(path: Path, network: str, pretrained: Pretrained | None, outputs: ClassTable) -> _Source:
    folder = path.parent if path.name == WEIGHTS_FILE else path  # a run's own file of weights
    if not folder.is_dir():
        found = foreign_weights(path, network if pretrained is None else pretrained.network)
        is_same = found.n_classes != _IMAGENET_CLASSES
        return _Source(found.network, found.state, {"path": str(path), **found.facts}, is_same)
    run = read_run(folder)
    accepted = (network,) if pretrained is None else (network, pretrained.network)
    if run.network not in accepted:
        raise WeightsError(
            f"{folder}: weights of another network than {' or '.join(accepted)}: {run.network}."
        )
    state = read_weights(folder)
    digest = checked_digest(folder / WEIGHTS_FILE, run.weights_sha256)
    record: dict[str, object] = {"path": str(folder), "sha256": digest}
    return _Source(run.network, state, record, run.classes == outputs)


def _fitting(net: nn.Module, source: _Source, path: Path) -> dict[str, Tensor]:
    """Return the tensors of the same network, without a last layer of other classes."""
    own, state = net.state_dict(), source.state
    head = head_of(net) + "."
    differing = {k for k in own if k not in state or state[k].shape != own[k].shape}
    of_head = {k for k in own if k.startswith(head)}
    skipped = of_head & differing if source.has_same_outputs else of_head
    wrong = sorted((differing - skipped) | (state.keys() - own.keys()))
    if wrong:
        raise WeightsError(
            f"{path}: weights of another network than {source.network}: {', '.join(wrong[:6])} "
            "is missing, unknown or of another shape."
        )
    return {name: value for name, value in state.items() if name not in skipped}
