"""Limits on the time of work, and reports of what ended a worker.

A decoder that hangs or crashes cannot be stopped or caught in Python. So the worker ends, and what
Python's fault handler wrote before tells the reason; neither needs the interpreter to be free.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LIMIT_S = 900.0  # of any work
_INPUT_S = 10.0  # more for each input,
_BYTES_PER_S = 10_000  # and for its bytes: H.264 of low quality is read at ten times this
_HUNG, _CRASHED = "Timeout ", "Fatal Python error: "  # as the fault handler begins its reports

_lock = threading.Lock()
_deadlines: dict[int, tuple[float, IO[bytes]]] = {}  # of what runs in this process, by thread


def limit_of(n_inputs: int, n_bytes: int) -> float:
    """Return the seconds that reading `n_inputs` of `n_bytes` in all may take.

    Ordinary work takes less than a tenth of it on a slow machine.
    """
    return LIMIT_S + _INPUT_S * n_inputs + n_bytes / _BYTES_PER_S


def limit_of_file(path: Path) -> float:
    """Return the `limit_of` reading one file."""
    try:
        return limit_of(1, path.stat().st_size)
    except (OSError, ValueError):  # there is no such file, which is noticed when it is read
        return limit_of(1, 0)


@contextmanager
def watched(report: Path, limit_s: float) -> Iterator[None]:
    """Make the file `report`, and end this process if the block takes longer than the limit.

    The file stays empty unless that happens, or the block crashes in a library; see `fate_of`.
    """
    was_enabled = faulthandler.is_enabled()
    thread = threading.get_ident()
    with report.open("wb", buffering=0) as file:
        faulthandler.enable(file)
        _watch(thread, (time.monotonic() + limit_s, file))
        try:
            yield
        finally:
            _watch(thread, None)
            faulthandler.disable()
            if was_enabled and sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)


def _watch(thread: int, deadline: tuple[float, IO[bytes]] | None) -> None:
    """Set or remove the deadline of a thread; the fault handler has one timer for all of them."""
    with _lock:
        _deadlines.pop(thread, None)
        if deadline is not None:
            _deadlines[thread] = deadline
        faulthandler.cancel_dump_traceback_later()
        if _deadlines:
            at, file = min(_deadlines.values(), key=lambda each: each[0])
            rest = max(at - time.monotonic(), 0.001)
            faulthandler.dump_traceback_later(rest, file=file, exit=True)


def fate_of(report: Path, limit_s: float) -> str | None:
    """Return what ended the worker that made a report; None if the report does not say."""
    try:
        first = report.read_text("utf-8", "replace").partition("\n")[0]
    except OSError:
        return None
    if first.startswith(_HUNG):
        return f"not finished in {limit_s:.0f} s: its decoder hangs, or its disk does not answer"
    if first.startswith(_CRASHED):
        return f"its decoder crashes: {first.removeprefix(_CRASHED)}"
    return None
