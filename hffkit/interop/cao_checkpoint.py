"""Reader of the checkpoints of Cao et al. (qinnzou/detect-fake-image): heads and a tail.

Each epoch is saved in files of `torch.save`, `hq_head_000011.tar`, `lq_head_000011.tar` and
`tail_000011.tar`, or with a single head `head_000011.tar`, which the published test uses. Each
holds a dict with the state dict under `net`, whose names may have DataParallel's prefix.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hffkit.errors import WeightsError, located
from hffkit.interop.caffe_network import listed
from hffkit.interop.formats import PARTS_NETWORK, PARTS_SUFFIX
from hffkit.interop.state_dict import PARALLEL, fitted, read_state_dict
from hffkit.interop.weights import ForeignWeights, file_facts

TEST_THRESHOLD = 5.0  # of the published test.py
_MAP = ("map.c.", "reg.")  # the layers of the attention map, in their file and here
_EPOCH = re.compile(r"_(\d+)$")
_ADVICE = (
    f"Give a tail with one head, or with hq_head_* and lq_head_*, as published ({PARTS_SUFFIX})."
)


def read_parts(paths: Sequence[Path], threshold: float | None) -> ForeignWeights:
    """Read the parts of one epoch, in any order.

    A single head serves images of every quality, as in the published test. Facts name `metric`,
    the qualities of separate heads, only if there are two.

    Parameters
    ----------
    threshold
        Least length of an embedding that counts as fake; None: `TEST_THRESHOLD`.

    Raises
    ------
    WeightsError
        If a file cannot be read, is no head or tail, or the files do not belong together.
    """
    _check_epochs(paths)
    parts: dict[str, tuple[Path, dict[str, Tensor]]] = {}
    for path in paths:
        state = _own_names(read_state_dict(path))
        name = _part_of(path, state, has_two_heads=len(paths) > 2)
        if name in parts:
            raise WeightsError(f"{path}: a second {name}, after {parts[name][0]}. {_ADVICE}")
        parts[name] = path, state
    if parts.keys() not in ({"head", "tail"}, {"hq_head", "lq_head", "tail"}):
        raise WeightsError(f"{paths[0]}: got {' and '.join(sorted(parts))} only. {_ADVICE}")
    has_single = "head" in parts
    places = {"hq_head": "head", "lq_head": "head", "tail": "tail"} if has_single else {}
    state = {"threshold": torch.tensor(TEST_THRESHOLD if threshold is None else threshold)}
    for place, name in (places or dict(zip(parts, parts, strict=True))).items():
        state |= {f"{place}.{key}": value.clone() for key, value in parts[name][1].items()}
    with located(", ".join(map(str, paths)), WeightsError):
        ready, n_classes = fitted(state, PARTS_NETWORK)
    facts: dict[str, object] = {name: file_facts(path) for name, (path, _) in parts.items()}
    metric = {} if has_single else {"metric": {"high": "c23", "low": "c40"}}
    return ForeignWeights(PARTS_NETWORK, n_classes, ready, {"format": "cao-tar", **metric, **facts})


def _own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = {name.removeprefix(PARALLEL): value for name, value in state.items()}
    theirs, ours = _MAP
    return {
        ours + name.removeprefix(theirs) if name.startswith(theirs) else name: value
        for name, value in plain.items()
    }


def _part_of(path: Path, state: Mapping[str, Tensor], *, has_two_heads: bool) -> str:
    """Return head, hq_head, lq_head or tail: by the layers, and which head by the file's name."""
    layers = {name.partition(".")[0] for name in state}
    is_head, is_tail = "block1" in layers, "block12" in layers
    if is_head == is_tail:
        raise WeightsError(
            f"{path}: neither a head (up to block7) nor a tail (from block8) of "
            f"{PARTS_NETWORK}: it has {listed(layers)}. {_ADVICE}"
        )
    if is_tail:
        return "tail"
    if not has_two_heads:
        return "head"
    for name in ("hq_head", "lq_head"):
        if path.name.startswith(name):
            return name
    raise WeightsError(
        f"{path}: one of two heads, but its name does not tell which. Name them hq_head_* and "
        "lq_head_*, as published."
    )


def _check_epochs(paths: Sequence[Path]) -> None:
    """Raise WeightsError if the numbers in the names of the files differ."""
    found = {path.name: _EPOCH.search(path.stem) for path in paths}
    epochs = {name: int(match[1]) for name, match in found.items() if match}
    if len(set(epochs.values())) > 1:
        shown = ", ".join(epochs)
        raise WeightsError(f"{shown}: parts of different epochs. Give the parts of one epoch.")
