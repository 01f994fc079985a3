"""Formats of weights that can be converted, recognised without importing PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hffkit.errors import ArgumentError, WeightsError, reading_from
from hffkit.input_files import check_file
from hffkit.networks.names import canonical_name

Format = Literal["caffemodel", "keras-h5", "pytorch", "cao-tar"]
PARTS_NETWORK = "mml"  # whose published weights are in parts: heads and a tail
PARTS_SUFFIX = ".tar"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PYTORCH = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # ZIP, pickles
_PYTORCH_SUFFIXES = {".pth", ".pt", ".ckpt", ".bin", ".safetensors"}
_FORMATS = (
    "Caffe's .caffemodel, the .h5 of MesoNet, state dicts of PyTorch (.pth, .safetensors), and "
    "the head and tail of metric learning (.tar) together can be imported"
)


def format_of(
    sources: Sequence[Path], network: str | None = None, threshold: float | None = None
) -> Format:
    """Return the format of a file of weights, or of the parts of a network.

    The first bytes and the suffix of a file determine it.

    Raises
    ------
    WeightsError
        If a file cannot be read or is of another format, or a state dict has no `network`.
    ArgumentError
        If an argument is not for the format.
    UnknownNameError
        If there is no such network.
    """
    name = None if network is None else canonical_name(network)
    starts = [_first_bytes(path) for path in sources]
    if len(sources) > 1 or (network is None and sources[0].suffix == PARTS_SUFFIX):
        if name not in (None, PARTS_NETWORK):
            raise ArgumentError(
                f"`network` must be {PARTS_NETWORK} for a head and a tail, got {network}. Any "
                "other network is in one file."
            )
        return "cao-tar"
    path, suffix = sources[0], sources[0].suffix.lower()
    if threshold is not None:
        raise ArgumentError(
            f"`threshold` is for the head and tail of {PARTS_NETWORK}, got {threshold:g} for "
            f"{path}."
        )
    if starts[0].startswith(_HDF5):
        return "keras-h5"
    if suffix in _PYTORCH_SUFFIXES or starts[0].startswith(_PYTORCH):
        if name is None:
            raise WeightsError(f"{path}: `network` must be given for a state dict.")
        return "pytorch"
    if suffix == ".caffemodel":
        return "caffemodel"
    raise WeightsError(f"{path}: unknown format. {_FORMATS}; keep their suffixes.")


def _first_bytes(path: Path) -> bytes:
    check_file(path, WeightsError, "Give a file of weights.")
    with reading_from(path, WeightsError), path.open("rb") as file:
        return file.read(8)
