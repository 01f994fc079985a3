"""Names of the methods, without their modules: the import of PyTorch takes seconds."""

from collections.abc import Iterable

from hffkit.errors import UnknownNameError

TRACES = "traces"  # AMTEN's maps, which depend on the image but on no class; not in METHODS
NAMES = (
    "vanilla",
    "deconvnet",
    "guided",
    "integrated",
    "gradcam",
    "guided_gradcam",
    "attention",
    TRACES,
)  # of METHODS, in its order, and the traces
ALL = "all"  # stands for all that a network supports


def check_methods(names: Iterable[str]) -> None:
    """Raise UnknownNameError if there is no such method."""
    for name in names:
        if name not in (*NAMES, ALL):
            raise UnknownNameError("method", name, NAMES)
