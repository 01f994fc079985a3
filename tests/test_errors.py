"""Errors that take the place of others."""

import contextlib
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from hffkit.errors import Replacing, StorageError, located, reading_from, writing_to


class Held:
    """A variable of the caller, such as an open corpus."""


def fail_in(context: Replacing) -> "weakref.ref[Held]":
    held = Held()
    with contextlib.suppress(StorageError), context:
        Path("/absent").stat()
    return weakref.ref(held)


@pytest.mark.parametrize(
    "context",
    [
        lambda: reading_from(Path("a"), StorageError),
        lambda: writing_to(Path("a")),
        lambda: Replacing(OSError, lambda error: StorageError(str(error))),
    ],
)
def test_a_caught_error_keeps_no_variable_of_its_callers(context: Callable[[], Replacing]) -> None:
    assert fail_in(context())() is None


def test_errors_of_other_kinds_pass() -> None:
    for context in (writing_to(Path("a")), located("a", StorageError)):
        with pytest.raises(ZeroDivisionError), context:
            _ = 1 / 0
    with pytest.raises(StorageError, match=r"^b: wrong$"), located("b", StorageError):
        raise StorageError("wrong")
