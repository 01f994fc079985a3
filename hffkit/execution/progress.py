"""Progress on stderr: a bar on a terminal, lines in a log."""

import sys
import threading
import time
from collections.abc import Mapping

from tqdm import tqdm

_SECONDS = 30.0  # between lines, at least


def announce(text: str) -> None:
    """Write a line above the bars."""
    tqdm.write(text, file=sys.stderr)


class Progress:
    """A bar with rate, time left and failures so far.

    Where stderr is no terminal, such as in the log of a cluster's job, it is a line every 30 s,
    whether units finish or not.
    """

    def __init__(self, total: int, *, unit: str, label: str, done: int = 0) -> None:
        """Begin a bar of `total` units, `done` of which were finished earlier."""
        self._is_log = not sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            desc=label,
            disable=self._is_log,
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._label, self._unit, self._total = label, unit, total
        self._first = self._done = done
        self._begin = self._last_line = time.monotonic()
        self._failures = 0
        self._notes: dict[str, object] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> "Progress":
        if self._is_log:
            threading.Thread(target=self._beat, name="progress", daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._ended.set()
        self._bar.close()

    def step(self, n: int, failures: int = 0) -> None:
        """Advance by `n` units, in which `failures` inputs could not be read."""
        self._done += n
        self._failures += failures
        if self._failures:
            self.note(unreadable=self._failures)
        self._bar.update(n)
        if self._is_log:
            self._write_line_if_due()

    def note(self, **values: object) -> None:
        """Show values after the bar, or in the next line, until they are replaced."""
        self._notes = self._notes | values
        self._bar.set_postfix(self._notes, refresh=False)

    def report(self, **values: object) -> None:
        """Show values as `note` does, in a log at once."""
        self.note(**values)
        if self._is_log:
            with self._lock:
                self._write_line()

    def _beat(self) -> None:
        """Write the lines that are due while no unit finishes."""
        while not self._ended.wait(self._last_line + _SECONDS - time.monotonic()):
            self._write_line_if_due()

    def _write_line_if_due(self) -> None:
        with self._lock:
            is_due = time.monotonic() - self._last_line >= _SECONDS
            if is_due and not self._ended.is_set():
                self._write_line()

    def _write_line(self) -> None:
        self._last_line = time.monotonic()
        elapsed = self._last_line - self._begin
        n_new, n_left = self._done - self._first, self._total - self._done
        left = tqdm.format_interval(elapsed * n_left / n_new) if n_new else "?"
        sys.stderr.write(
            f"{self._label}: {self._done}/{self._total} {self._unit}, "
            f"{tqdm.format_interval(elapsed)} elapsed, {left} left{_text_of(self._notes)}\n"
        )
        sys.stderr.flush()


def _text_of(notes: Mapping[str, object]) -> str:
    return "".join(f", {name} {value}" for name, value in notes.items())
