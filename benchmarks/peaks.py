"""Peak memory of a command and of its worker processes, from /proc."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SECONDS = 0.05  # between samples


class Peaks(NamedTuple):
    """Peak memory in kB."""

    parent: int  # with mapped files, such as databases, whose pages the system takes back
    workers: list[int]  # the same of its direct children, largest first
    own: int  # of the parent without mapped files, sampled


def peaks_of(command: Sequence[object]) -> Peaks:
    """Run a command and measure it."""
    peaks: dict[int, int] = {}
    own = 0
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in [process.pid, *_children_of(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0), memory_of(pid, "VmHWM"))
            own = max(own, memory_of(process.pid, "RssAnon"))
            time.sleep(_SECONDS)
        parent = peaks.pop(process.pid)
    return Peaks(parent, sorted(peaks.values(), reverse=True), own)


def _children_of(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def memory_of(pid: int, name: str) -> int:
    """Return a line of a process's status in kB, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
