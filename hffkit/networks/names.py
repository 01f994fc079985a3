"""Names of networks, without their modules: the import of PyTorch takes seconds."""

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
# Layers that have no weights and lie in no other layer; the names of the rest begin like weights.
_OUTER_LAYERS = {
    "amten": (*_BLOCKS, "F_mt", "F_reu"),
    "model-base": _BLOCKS,
    "handcrafted-res": ("lrelu1", "lrelu2"),
    "mislnet": (*(f"tanh{n}" for n in (1, 2, 3, 4, 6, 7)), *(f"pool{n}" for n in (1, 2, 3, 4))),
    "xception": ("relu1", "relu2", "relu3", "relu4", "pool"),
    "resnet18": ("relu", "maxpool"),
    "vgg11-bn": ("avgpool",),
    "densenet121": ("relu",),
}


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


def outer_layers(network: str) -> tuple[str, ...]:
    """Return the layers of a network without weights that lie in no other layer."""
    if network.startswith("amten"):
        return _OUTER_LAYERS["amten"]
    return _OUTER_LAYERS.get("model-base" if network.endswith("model-base") else network, ())


def _compact(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))
