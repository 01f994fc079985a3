"""Devices and threads for networks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch

from hffkit.errors import ArgumentError
from hffkit.networks.hardware import check_device


def device_named(name: str) -> torch.device:
    """Return the device called auto, cpu, cuda or cuda:N, with CUDA set to true float32.

    Raises
    ------
    ArgumentError
        If the machine has no such device.
    """
    device = _named(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and graphs are those of the current device
        torch.backends.cudnn.allow_tf32 = False  # TF32 has 10 bits of mantissa
        torch.backends.cudnn.benchmark = True  # all batches have one shape
    return device


def _named(name: str) -> torch.device:
    check_device(name)
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if n_cuda else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= n_cuda:
        raise ArgumentError(f"`device` {name} is not there: PyTorch finds {n_cuda} CUDA devices.")
    return device


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Set PyTorch's number of threads inside the context; None leaves it as it is."""
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def batch_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Start threads that run networks on whole batches; drop what is not begun after an error.

    On a processor there are as many as PyTorch has threads, each on one core. PyTorch's own
    threads share a batch and wait for each other, which costs several times the work where
    other processes occupy the cores. A GPU gets one thread.
    """
    is_cpu = device.type == "cpu"
    n = torch.get_num_threads() if is_cpu else 1
    with threads(1 if is_cpu else None):
        # The number of threads is also a setting of the thread that calls PyTorch.
        start = partial(torch.set_num_threads, 1) if is_cpu else None
        pool = ThreadPoolExecutor(n, "batches", initializer=start)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
