"""The memory of a process: how much is free, and how glibc's malloc treats what was freed."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Files of a control group: limit, usage, and the row of memory.stat that is given back first.
_GROUP_FILES_2 = ("memory.max", "memory.current", "inactive_file")
_GROUP_FILES_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_UNKNOWN = 1 << 32  # bytes that are taken to be free where the system reports nothing
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of malloc.h
_KEPT_BYTES = 1 << 27
_MOST = (1 << 31) - 1


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process may still take, as far as Linux reports them below `root`.

    That is the least of the free memory of the machine, of the control groups of a container or a
    job, and of `ulimit -v`.
    """
    known = [*_of_machine(root / "proc"), *_of_groups(root)]
    return max(0, min(known, default=_UNKNOWN))


def _of_machine(proc: Path) -> Iterator[int]:
    with suppress(OSError):
        for row in (proc / "meminfo").read_text("ascii").splitlines():
            if row.startswith("MemAvailable:"):
                yield int(row.split()[1]) * 1024
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        with suppress(OSError):
            n_pages = int((proc / "self/statm").read_text("ascii").split()[0])
            yield limit - n_pages * resource.getpagesize()


def _of_groups(root: Path) -> Iterator[int]:
    """Yield the free memory of each control group that this process is in, of version 1 or 2."""
    mounted = root / "sys/fs/cgroup"
    with suppress(OSError):
        for row in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = row.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            names = [name for name in path.split("/") if name not in ("", "..")]
            # In a container, the mounted folder can be its own group.
            for depth in range(len(names) + 1):
                folder = mounted.joinpath(controllers, *names[:depth])
                yield from _of_group(folder, _GROUP_FILES_1 if controllers else _GROUP_FILES_2)


def _of_group(folder: Path, files: tuple[str, str, str]) -> Iterator[int]:
    limit, usage, row_of_cache = files
    with suppress(OSError, ValueError):  # no group, or "max", which is no limit
        most, used = (int((folder / name).read_text("ascii")) for name in (limit, usage))
        rows = (row.split() for row in (folder / "memory.stat").read_text("ascii").splitlines())
        yield most - used + sum(int(n_bytes) for name, n_bytes in rows if name == row_of_cache)


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
