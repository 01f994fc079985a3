"""Settings of glibc's malloc for freed memory; other C libraries are left alone."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of malloc.h
_KEPT_BYTES = 1 << 27
_MOST = (1 << 31) - 1


def keep_memory_of_images() -> None:
    """Let glibc keep the memory of freed images instead of mapping new pages for each large one.

    benchmarks/formats.py measures the gain in decoding.
    """
    _set({_M_MMAP_THRESHOLD: _KEPT_BYTES, _M_TRIM_THRESHOLD: 2 * _KEPT_BYTES})


def keep_memory_of_tensors() -> None:
    """Let glibc keep the memory of freed tensors instead of mapping new pages in each step.

    A step of AMTENnet frees and allocates a gigabyte; benchmarks/train.py measures the cost.
    """
    # Large blocks then come from the heap as well, which is kept.
    _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _MOST})


def _set(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for option, value in options.items():
        mallopt(option, value)
