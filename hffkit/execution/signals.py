"""Ctrl-C and SIGTERM, kept from the middle of steps that must not be cut."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C or SIGTERM to the end of the block; a second one acts at once.

    Yields a function that tells if one is waiting, for blocks that can end early. Python handles
    signals in the main thread alone, so in other threads the block does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = 0
    # An ignored signal stays ignored, and None is a handler of another language.
    handlers = {each: signal.getsignal(each) for each in ENDING}
    before = {each: old for each, old in handlers.items() if old not in (signal.SIG_IGN, None)}

    def note(number: int, _: object) -> None:
        nonlocal came
        came = number
        signal.signal(number, before[signal.Signals(number)])

    try:
        for each in before:
            signal.signal(each, note)
        yield lambda: came != 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came)
