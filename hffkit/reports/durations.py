"""Durations as text."""

_UNITS = (("days", 86_400), ("hours", 3600), ("minutes", 60))


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit of which it holds at least 1.5: `94 s`, `2.5 hours`."""
    for unit, length in _UNITS:
        if seconds >= 1.5 * length:
            n = seconds / length
            return f"{n:.1f} {unit}" if n < 10 else f"{n:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.95 or not seconds else f"{seconds:.1f} s"
