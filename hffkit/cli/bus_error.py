"""Handler of bus errors: the system cannot read a page of a memory-mapped file."""

import ctypes
import os
import signal
import sys

_TEXT = (
    b"Error: A file was cut short by another program while it was read, or its disk failed (bus "
    b"error). Copy the file again and run the same command again; if a corpus is cut short, the "
    b"error names it. Finished work is kept.\n"
)


def say_bus_errors() -> None:
    """Install a handler that reports a bus error and ends the process.

    A handler of Python's `signal` would wait for the end of the instruction that failed, which is
    repeated for ever, so the handler is the C library's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).signal(signal.SIGBUS, _HANDLER)


def _end(_: int) -> None:
    os.write(2, _TEXT)
    os._exit(1)


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end)
