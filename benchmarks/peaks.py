"""Peak memory of a command and of its worker processes, from /proc."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def peaks_of(command: Sequence[object]) -> tuple[int, list[int]]:
    """Run a command; return the peaks of it and of its direct children, in kB, largest first."""
    peaks: dict[int, int] = {}
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in [process.pid, *_children_of(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0), _high_water(pid))
            time.sleep(0.05)
        parent = peaks.pop(process.pid)
    return parent, sorted(peaks.values(), reverse=True)


def _children_of(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def _high_water(pid: int) -> int:
    """Return VmHWM of a process in kB, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
