"""Reader of PyTorch's state dicts with our names of layers, as published by torchvision."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hffkit.errors import WeightsError
from hffkit.input_files import check_regular
from hffkit.interop.caffe_network import listed
from hffkit.networks.table import build_blank, head_of
from hffkit.runs.run import MAX_CLASSES
from hffkit.runs.weights import read_tensors

# Raised by PyTorch's reader for damaged or malicious files.
_DAMAGE = (
    RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ImportError, MemoryError, OverflowError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
_MAX_BYTES = 1 << 32  # of all tensors; the largest network has 550 MB
_WRAPPERS = ("state_dict", "model", "net")  # keys of a state dict in checkpoints
_COUNTER = ".num_batches_tracked"  # of batch normalisation; missing before PyTorch 0.4.1
# Names in torchvision's files of DenseNets, which are older than the ban on dots in module names.
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
PARALLEL = "module."  # prefix of names by DataParallel
_LAST = re.compile(r"^(?:fc|last_linear)\.")  # the last layer of Xception's published files


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of `torch.save` or safetensors without executing any of it.

    Raises
    ------
    WeightsError
        If it is damaged, holds more than tensors and plain values, or is not a state dict.
    """
    if path.suffix.lower() == ".safetensors":
        return read_tensors(path)[0]
    found = _unpickled(path)
    for name in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found:
        raise WeightsError(f"{path}: no state dict. {_ADVICE}")
    for name, value in found.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise WeightsError(f"{path}: no state dict: {str(name)[:40]!r} is no tensor. {_ADVICE}")
    # A stride of 0 makes any number of values of one, which the first copy would write out.
    n_bytes = sum(value.numel() * value.element_size() for value in found.values())
    if n_bytes > _MAX_BYTES:
        raise WeightsError(f"{path}: its tensors claim {n_bytes} bytes, more than {_MAX_BYTES}.")
    return found


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"  # files of meta tensors hold no values
        and value.layout == torch.strided
        and not (value.is_quantized or value.is_complex())
    )


_ADVICE = "Write one with torch.save(net.state_dict(), FILE)."


def _unpickled(path: Path) -> Any:
    try:
        check_regular(path)
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        if what is None:
            raise WeightsError(f"{path}: damaged, or no file of PyTorch. Copy it again.") from None
        raise WeightsError(
            f"{path}: holds {what[1]}, which would be executed when it is loaded, so it is "
            f"refused. {_ADVICE}"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:80] or "it ends too early"
        raise WeightsError(
            f"{path}: damaged, or no file of PyTorch ({reason}). Copy it again."
        ) from None


def _check_archive(path: Path) -> None:
    """Raise ValueError if a ZIP archive can grow when it is read; PyTorch compresses nothing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
        raise ValueError("its parts are compressed")


def fitted(state: Mapping[str, Tensor], network: str) -> tuple[dict[str, Tensor], int]:
    """Return a state dict adapted to a network of hffkit, in float32, and its number of outputs.

    The names must be those of the network for its original's image size; spellings and omissions
    of old files are corrected.

    Raises
    ------
    WeightsError
        If it belongs to another network, or holds values that are not finite.
    """
    if "_conv_stem.weight" in state:
        raise WeightsError(
            "weights of efficientnet_pytorch, which pads as TensorFlow does and normalises with "
            "another epsilon, so that they compute something else here. Use torchvision's "
            "efficientnet_b0 file."
        )
    state = {
        _DOTTED.sub(r"\1\2.", name.removeprefix(PARALLEL)): value for name, value in state.items()
    }
    with torch.device("meta"):
        head = head_of(build_blank(network, 2))
        if f"{head}.weight" not in state:
            state = {_LAST.sub(f"{head}.", name): value for name, value in state.items()}
        weight = state.get(f"{head}.weight")
        n_classes = len(weight) if weight is not None and weight.ndim == 2 else 2
        if n_classes > MAX_CLASSES:
            raise WeightsError(f"it has {n_classes} outputs, more than {MAX_CLASSES}.")
        wanted = build_blank(network, max(n_classes, 1)).state_dict()
    state |= {k: torch.zeros((), dtype=torch.int64) for k in wanted if k.endswith(_COUNTER)} | state
    state = {name: _deep(value, wanted.get(name)) for name, value in state.items()}
    problems = list(_problems(state, wanted))
    if problems:
        raise WeightsError(f"weights of another network than {network}: {'; '.join(problems)}.")
    ready = {name: state[name].detach().to(value.dtype) for name, value in wanted.items()}
    for name, value in ready.items():
        if not value.isfinite().all():
            raise WeightsError(f"{name} holds NaN or infinity: the training had diverged.")
    return ready, n_classes


def _deep(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Return weights (maps, channels), as in some files of Xception, as 1x1 kernels."""
    is_flat = wanted is not None and wanted.shape == (*value.shape, 1, 1)
    return value[..., None, None] if is_flat else value


def _problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    if missing := wanted.keys() - state.keys():
        yield f"it lacks {listed(missing)}"
    if unknown := state.keys() - wanted.keys():
        yield f"it also has {listed(unknown)}"
    for name in sorted(wanted.keys() & state.keys()):
        if state[name].shape != wanted[name].shape:
            yield f"{name} is {list(state[name].shape)}, not {list(wanted[name].shape)}"
            return
