"""The errors that hffkit raises on purpose. A message says what is wrong, where, and what to do.

A message names parameters in backticks, as docstrings do, and never command-line options:
``ArgumentError("`limit` must be at least 1, got 0.")``. The command line prints each as the option
that sets it: "--limit must be at least 1, got 0."
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from hffkit.wording import first_of

T = TypeVar("T")
Kinds = type[BaseException] | tuple[type[BaseException], ...]
_MOST = 4000  # characters of a message
_N_NAMES = 100  # that a message lists
_PARAMETER = re.compile(r"`(\w+)`")


def with_options(text: str, names: Mapping[str, str]) -> str:
    """Return a message with `names` in place of the parameters that it names."""
    return _PARAMETER.sub(lambda match: names.get(match[1], match[0]), text)


class HffkitError(Exception):
    """An error that the user can correct; the command line prints one line and exits with 1."""

    def message(self, names: Mapping[str, str]) -> str:
        """Return the message with `names` in place of the parameters that it names.

        The middle of a very long one, which quotes a file, is left out.
        """
        text = with_options(str(self), names)
        return text if len(text) <= _MOST else f"{text[: _MOST - 500]} … {text[-490:]}"


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a cluster sends before a job's time is over; it acts as Ctrl-C does."""


class ArgumentError(HffkitError):
    """An argument that is invalid or contradicts another; the command line exits with 2."""


class OwnCodeError(ArgumentError):
    """An error of the user's own code, wrong for every image; the command line exits with 1."""


class CorpusError(HffkitError):
    """A source tree, list or corpus folder that the command cannot use."""


class ImageError(HffkitError):
    """Bytes that are no image, or one too large to decode."""


class VideoError(HffkitError):
    """A file or folder of frames that no frame can be read from."""


class ManifestError(HffkitError):
    """A manifest, class table or split that contradicts itself."""


class StorageError(HffkitError):
    """A record, database or folder that cannot be read or written."""


class MetricError(HffkitError):
    """A metric that is undefined for these labels or scores."""


class WeightsError(HffkitError):
    """A file of weights that cannot be read, or does not fit the network."""


class RecipeError(HffkitError):
    """A recipe file with a missing, unknown or impossible value."""


class TrainingError(HffkitError):
    """A training that cannot continue."""


class ExplainError(HffkitError):
    """A network, layer or image that an explanation method does not apply to."""


class UnknownNameError(HffkitError):
    """A name that is not in a table."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self._named = (kind, name, list(known))
        known = self._named[2]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Known: {first_of(known, _N_NAMES) or 'none'}."
        if close:
            hint = f"Did you mean {close[0]!r}?"
        super().__init__(f"No {kind} named {name[:200]!r}. {hint}")

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, str, list[str]]]:
        return UnknownNameError, self._named  # else it cannot come back from a worker


def named(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return the row of a table that has a name, or raise UnknownNameError."""
    if name not in table:
        raise UnknownNameError(kind, name, table)
    return table[name]


def cannot_write(path: Path, error: Exception, advice: str = "") -> StorageError:
    """Return the error for a path that cannot be written."""
    reason = str(getattr(error, "strerror", None) or error).rstrip(".")
    return StorageError(f"{path}: cannot be written: {reason}.{advice}")


def reason_of(error: Exception) -> str:
    """Describe an error that parsing raised: of a missing key Python names the key alone."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


class Replacing:
    """A context in whose block errors of some kinds are replaced.

    It is a class because an error that leaves a generator keeps the variables of its callers, open
    corpora among them, alive until garbage is collected, in CPython 3.12 and 3.13.
    """

    def __init__(self, kinds: Kinds, replacement: Callable[[Any], HffkitError]) -> None:
        self._kinds = kinds
        self._replacement = replacement

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._kinds):
            raise self._replacement(error) from None


def located(where: object, kind: type[HffkitError]) -> Replacing:
    """Put `where` before the message of an error of `kind` in the block."""
    return Replacing(kind, lambda error: kind(f"{where}: {error}"))


def writing_to(path: Path, advice: str = "") -> Replacing:
    """Raise an OSError of the block as the StorageError of `cannot_write`."""
    return Replacing(OSError, lambda error: cannot_write(path, error, advice))


def reading_from(path: Path | Traversable, kind: type[HffkitError]) -> Replacing:
    """Raise an OSError of the block as an error of `kind` that names the path.

    So is a ValueError, which a path raises that no file can have: with a NUL, or half of a
    surrogate pair.
    """

    def replacement(error: OSError | ValueError) -> HffkitError:
        if isinstance(error, OSError):
            return kind(f"{path}: cannot be read: {error.strerror or error}.")
        return kind(f"{str(path)!r}: cannot be read: {error}.")

    return Replacing((OSError, ValueError), replacement)
