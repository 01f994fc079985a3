"""Ctrl-C and SIGTERM, as a command handles them."""

import atexit
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from hffkit.errors import Terminated
from hffkit.execution.signals import ENDING

_IMPORTS = "<frozen importlib._bootstrap>"
_RETRY_SECONDS = 0.02
_PATIENCE = 3.0  # seconds, of whoever presses Ctrl-C


class Interrupts:
    """Raise KeyboardInterrupt at Ctrl-C and Terminated at SIGTERM, but not amid an import.

    Python ignores an error in the callbacks of its imports, libraries ignore one where they look
    for optional modules, and the command would go on. So signals wait for the end of an import; one
    that comes when the first has waited for `_PATIENCE` seconds ends the process.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that was raised last: an error after it is its effect
        self._waiting = 0  # the number of a signal
        self._since = 0.0

    def begin(self) -> None:
        """Handle the signals, unless the program was started to ignore Ctrl-C."""
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGALRM, self._handle_again)

    def end(self) -> None:
        """End the process at the next signal."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _exit_at_once)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not _is_importing(frame):
            self._act(number)
        if not self._waiting:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _PATIENCE:
            _exit_at_once(number, frame)
        self._waiting = number
        signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)

    def _handle_again(self, _: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)
        elif self._waiting:
            number, self._waiting = self._waiting, 0
            signal.raise_signal(number)  # it may be deferred now

    def _act(self, number: int) -> NoReturn:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._waiting, self.number = 0, number
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORTS:
        frame = frame.f_back
    return frame is not None


def exit_beside_threads(code: int) -> NoReturn:
    """End this process although threads may be at work.

    A second Ctrl-C ends the wait for them. Python's own exit would then end them at any place,
    where PyTorch aborts the process.
    """
    for finish in (atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):
        with suppress(Exception):
            finish()
    os._exit(code)


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ended, as shells count."""
    return 128 + number


def _exit_at_once(number: int, _: object) -> None:
    os._exit(exit_code(number))
