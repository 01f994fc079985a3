"""Numbers spaced evenly over a range."""

from collections.abc import Sequence


def evenly(numbers: Sequence[int], n: int) -> list[int]:
    """Return the numbers in the middles of `n` equal stretches, or all if there are fewer."""
    if n >= len(numbers):
        return list(numbers)
    return [numbers[int((i + 0.5) * len(numbers) / n)] for i in range(n)]
