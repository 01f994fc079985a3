"""Wording that messages and reports share."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural unless it is one: 1 file, 2 files, 0 families.

    `plural` is the noun with an s by default.
    """
    return f"{n} {noun}" if n == 1 else f"{n} {plural or f'{noun}s'}"
