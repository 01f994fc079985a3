"""Items spaced evenly over a sequence, such as the frames of a video."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(items: Sequence[T], n: int) -> list[T]:
    """Return the items in the middles of `n` equal stretches, or all if there are fewer."""
    if n >= len(items):
        return list(items)
    return [items[int((i + 0.5) * len(items) / n)] for i in range(n)]
