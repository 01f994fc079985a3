"""Colours of fake and real, distinguishable with colour blindness (Okabe and Ito)."""

REAL, FAKE, UNDECIDED = "#0072b2", "#d55e00", "#888888"


def rgb(colour: str) -> tuple[int, ...]:
    """Return the values, from 0 to 255, of a colour such as #d55e00."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))
