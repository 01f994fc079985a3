"""The end of a command when the system cannot read a page of a file that is mapped into memory."""

import ctypes
import os
import signal
import sys

_TEXT = (
    b"Error: A file that was being read was cut short by another program, or its disk failed (bus "
    b"error). Copy the file again, and run the same command again: it names a corpus that is cut "
    b"short. Finished work is kept.\n"
)


def say_bus_errors() -> None:
    """End this process with a message at a bus error, instead of without a word.

    A handler of Python's `signal` would wait for the end of the instruction that failed, which is
    repeated for ever, so the handler is the C library's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).signal(signal.SIGBUS, _HANDLER)


def _end(_: int) -> None:
    os.write(2, _TEXT)
    os._exit(1)


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end)
