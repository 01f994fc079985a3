"""Progress bars on stderr."""

import sys

from tqdm import tqdm


class Progress:
    """A bar with rate, time left and failures so far; silent unless stderr is a terminal."""

    def __init__(self, total: int, *, unit: str, label: str, done: int = 0) -> None:
        """Begin a bar of `total` units, `done` of which were finished earlier."""
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            desc=label,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._failures = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.close()

    def step(self, n: int, failures: int = 0) -> None:
        """Advance by `n` units, in which `failures` inputs could not be read."""
        self._failures += failures
        if self._failures:
            self._bar.set_postfix(unreadable=self._failures, refresh=False)
        self._bar.update(n)

    def note(self, **values: object) -> None:
        """Show values after the bar."""
        self._bar.set_postfix(values, refresh=False)
