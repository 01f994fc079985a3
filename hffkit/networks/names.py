"""Names of networks, without their modules: the import of PyTorch takes seconds."""

import difflib
import re
from collections.abc import Iterable, Sequence

from hffkit.errors import UnknownNameError

NAMES = (
    "amtennet",
    "amtennet-freu15",
    "amten-1",
    "amten-1b",
    "amten-2",
    "amten-3",
    "amten-4",
    "amten-5",
    "amten-6",
    "amtennet-7",
    "amtennet-8",
    "amtennet-8-padded",
    "model-base",
    "handcrafted-res-model-base",
    "constrained-conv-model-base",
    "srm-model-base",
    "meso4",
    "mesoinception4",
    "handcrafted-res",
    "mislnet",
    "xception",
    "mml",
    "resnet18",
    "vgg11-bn",
    "densenet121",
    "efficientnet-b0",
)  # of NETWORKS, in its order
PAIRED = ("mml",)  # those with a second head, which train on pairs of qualities
_BLOCKS = ("pool4", "relu4", "pool5", "relu5", "pool6", "relu6", "pool7", "relu7")
# Layers without weights, # for a number; the names of the rest begin those of weights.
_WEIGHTLESS = {
    "amten": (*_BLOCKS, "F_mt", "F_reu"),
    "model-base": _BLOCKS,
    "meso4": ("block#.pool", "block#.relu", "head.dropout#", "head.lrelu"),
    "handcrafted-res": ("lrelu1", "lrelu2", "groups.#.lrelu", "groups.#.pool"),
    "mislnet": (*(f"tanh{n}" for n in (1, 2, 3, 4, 6, 7)), *(f"pool{n}" for n in (1, 2, 3, 4))),
    "xception": ("relu1", "relu2", "relu3", "relu4", "pool", "block#.rep.#"),
    "resnet18": ("relu", "maxpool", "layer#.#.relu#", "layer#.#.downsample"),
    "vgg11-bn": ("avgpool", "features.#", "classifier.#"),
    "densenet121": (
        "relu",
        "features.pool#",
        "features.relu#",
        "features.transition#.pool",
        "features.transition#.relu",
        "features.denseblock#.denselayer#.relu#",
    ),
    "efficientnet-b0": (
        "classifier.#",
        "features.#.#",
        "features.#.#.stochastic_depth",
        "features.#.#.block.#.#",
        "features.#.#.block.#.activation",
        "features.#.#.block.#.scale_activation",
    ),
}
_WEIGHTLESS["mesoinception4"] = (*_WEIGHTLESS["meso4"], "block#.inception.branch#.#")
_WEIGHTLESS["mml"] = (
    *(f"{head}_head.{layer}" for head in ("hq", "lq") for layer in ("relu#", "block#.rep.#")),
    *("hq_head.sigmoid", "lq_head.sigmoid", "tail.relu#", "tail.block#.rep.#", "tail.pool"),
)


def canonical_name(name: str) -> str:
    """Return the table's name of a network that `name` may spell as a paper does.

    Case, hyphens, underscores and spaces are ignored: AMTEN_3 is amten-3.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    """
    known = {_compact(key): key for key in NAMES}
    known["xceptionnet"] = "xception"  # as Guo et al. call it
    if _compact(name) not in known:
        raise UnknownNameError("network", name, NAMES)
    return known[_compact(name)]


def check_layers_by_weights(network: str, tensors: Iterable[str], names: Iterable[str]) -> None:
    """Raise UnknownNameError for names that are no layers, as far as its tensors' names tell.

    The network itself also knows the numbers of layers without weights.
    """
    if network.startswith("amten"):
        network = "amten"
    weightless = _WEIGHTLESS.get("model-base" if network.endswith("model-base") else network, ())
    known = {
        **dict.fromkeys(before for name in tensors for before in _prefixes(name)),
        **dict.fromkeys(name for name in weightless if "#" not in name),
    }
    patterns = [re.escape(name).replace(r"\#", r"\d+") for name in weightless]
    for name in names:
        if name not in known and not any(re.fullmatch(each, name, re.ASCII) for each in patterns):
            raise unknown_layer(name, list(known))


def unknown_layer(name: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error for a layer that a network with the `known` ones does not have."""
    has_match = difflib.get_close_matches(name, known, n=1)
    # Without a close match the error lists the names, of which some networks have hundreds.
    listed = known if has_match else [each for each in known if "." not in each]
    return UnknownNameError("layer", name, listed)


def _prefixes(tensor: str) -> list[str]:
    """Return the modules that a tensor lies in: a and a.b of a.b.weight."""
    parts = tensor.split(".")[:-1]
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _compact(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))
