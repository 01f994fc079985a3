"""What glibc's malloc does with freed memory: nothing at all in other C libraries."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of malloc.h
_KEPT_BYTES = 1 << 27
_MOST = (1 << 31) - 1


def keep_memory_of_images() -> None:
    """Let glibc keep freed pixels: else each large image's pages are fetched anew.

    benchmarks/formats.py shows what that is worth in decoding.
    """
    _set({_M_MMAP_THRESHOLD: _KEPT_BYTES, _M_TRIM_THRESHOLD: 2 * _KEPT_BYTES})


def keep_memory_of_tensors() -> None:
    """Let glibc keep the memory of freed tensors, instead of fetching their pages anew each step.

    A step of AMTENnet frees and takes a gigabyte; benchmarks/train.py shows what that costs.
    """
    # Large blocks too come from the heap, which is kept.
    _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _MOST})


def _set(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for option, value in options.items():
        mallopt(option, value)
