"""Devices and threads that networks compute with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hffkit.errors import ArgumentError


def device_named(name: str) -> torch.device:
    """Return the device called `name`: auto, cpu, cuda or cuda:N; CUDA computes in true float32.

    Raises
    ------
    ArgumentError
        If there is no such device here.
    """
    device = _named(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and graphs are those of the current device
        torch.backends.cudnn.allow_tf32 = False  # else float32 would not be what it is called
        torch.backends.cudnn.benchmark = True  # all batches have one shape
    return device


def _named(name: str) -> torch.device:
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if n_cuda else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ArgumentError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise ArgumentError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= n_cuda:
        raise ArgumentError(f"--device {name}: PyTorch sees {n_cuda} CUDA devices here.")
    return device


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Compute with `n` threads, if it is given, and afterwards with as many as before."""
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
