"""Capabilities of the processor and the drivers, found without the slow import of PyTorch."""

import ctypes
import re
from importlib import metadata
from pathlib import Path

from hffkit.errors import ArgumentError

# Linux's names of the instructions for bfloat16: of x86, and of ARM the last two.
_BF16 = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16")
_CPUINFO = Path("/proc/cpuinfo")
_CUDA_DRIVER = "libcuda.so.1"


def check_device(name: str) -> None:
    """Refuse a name that is not that of a device, and CUDA where nothing can provide it.

    Raises
    ------
    ArgumentError
        If the name is not auto, cpu, cuda or cuda:N, or if it is a CUDA device and PyTorch is
        built without CUDA or the machine has no driver for it.
    """
    if not re.fullmatch(r"auto|cpu(:0)?|cuda(:\d{1,3})?", name):
        raise ArgumentError(f"`device` must be auto, cpu, cuda or cuda:N, got {name!r}.")
    lacks = _lack_of_cuda() if name.startswith("cuda") else ""
    if lacks:
        raise ArgumentError(f"`device` {name} is not there: {lacks}.")


def check_bf16(device: str) -> None:
    """Refuse bfloat16 on a processor that can only emulate it.

    Only the processor is checked: cpu, or auto where there can be no CUDA device.

    Raises
    ------
    ArgumentError
        If the network will run on the processor, which names its instructions and none of them
        is for bfloat16.
    """
    on_processor = device.startswith("cpu") or (device == "auto" and _lack_of_cuda())
    known = _instructions() if on_processor else frozenset()
    if known and known.isdisjoint(_BF16):
        raise ArgumentError(
            "`precision` must be fp32 on this processor, got bf16: it has no instructions for "
            "bfloat16 (AVX512_BF16 or AMX), and training is up to ten times slower without them: "
            "6.4 images/s instead of 60 on an AMD EPYC that has AVX2 only."
        )


def _lack_of_cuda() -> str:
    """Return what a CUDA device would need and is missing; empty if nothing is known to be."""
    version = metadata.version("torch")
    if version.endswith("+cpu"):
        return "this PyTorch is built without CUDA"
    if "rocm" in version:  # AMD's devices are called cuda, too, and have another driver
        return ""
    try:
        ctypes.CDLL(_CUDA_DRIVER)
    except OSError:
        return f"the machine has no driver for CUDA ({_CUDA_DRIVER})"
    return ""


def _instructions() -> frozenset[str]:
    """Return Linux's names of the processor's instructions; empty if it does not name them."""
    try:
        lines = _CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    names = (line.partition(":") for line in lines)
    found = next((words for key, _, words in names if key.strip() in ("flags", "Features")), "")
    return frozenset(found.split())
