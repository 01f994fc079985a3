"""Wording that messages and reports share."""

from collections.abc import Sequence

# Characters that show nothing and change what is shown: controls, which terminals obey, and those
# of bidirectional text, which let a name show another one or reverse the text behind it.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {
    code: f"\\u{code:04x}" for code in (*_CONTROLS, *_DIRECTIONS) if chr(code) not in "\t\n"
}


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural unless it is one: 1 file, 2 files, 0 families.

    `plural` is the noun with an s by default.
    """
    return f"{n} {noun}" if n == 1 else f"{n} {plural or f'{noun}s'}"


def first_of(texts: Sequence[str], n: int) -> str:
    """Return the first `n` of some texts, and the number of the others: a, b and 3 more."""
    more = f" and {len(texts) - n} more" if len(texts) > n else ""
    return ", ".join(texts[:n]) + more


def val_accuracy_text(accuracy: float, baseline: float | None) -> str:
    """Return an accuracy on val beside that of always naming the largest class, if it is known."""
    beside = "" if baseline is None else f" (always the largest class: {100 * baseline:.2f} %)"
    return f"{100 * accuracy:.2f} % of val right{beside}"


def displayable(text: str) -> str:
    r"""Return text with escapes such as \u001b for what would control a terminal or a page.

    Names of files and classes may hold any characters. Undecodable bytes of a name, which UTF-8
    cannot encode, become escapes too. JSON stays JSON of the same values.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)
