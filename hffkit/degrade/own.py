"""A user's own operations, from a Python file, beside those of the table."""

import functools
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hffkit.degrade.chain import Chain, ChainStep, chain
from hffkit.degrade.operation import Operation
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError, reading_from
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class OwnOperations:
    """A user's Python file as it was read; workers run this text, not the file."""

    path: Path
    source: bytes

    @property
    def sha256(self) -> str:
        """Digest of the file, which provenance records with the operations' names."""
        return hashlib.sha256(self.source).hexdigest()


def read_own(path: Path | None) -> OwnOperations | None:
    """Read a file of operations; raise ArgumentError if it cannot be read."""
    if path is None:
        return None
    with reading_from(path, ArgumentError):
        return OwnOperations(path, path.read_bytes())


def read_chain(names: Sequence[str], own: OwnOperations | None) -> Chain:
    """Parse the names of operations, some of which `own` may define."""
    return chain(*names, operations=known_operations(own))


def known_operations(own: OwnOperations | None) -> Mapping[str, Operation[Any]]:
    """Return the table of operations, with those of a Python file's OPERATIONS.

    Raises
    ------
    ArgumentError
        If the file defines no such mapping.
    """
    return OPERATIONS if own is None else _with_own(own.path, own.source)


@functools.cache
def _with_own(path: Path, source: bytes) -> Mapping[str, Operation[Any]]:
    if path.suffix != ".py":
        raise ArgumentError(f"{path} is no Python file: its name must end in .py.")
    # Not imported, because the import cache identifies a file by time and size alone.
    module = ModuleType(f"hffkit_operations_{hashlib.sha256(source).hexdigest()}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, path, "exec"), vars(module))
    except (SyntaxError, ImportError) as error:
        raise ArgumentError(f"{path}: {error}") from None
    added = getattr(module, "OPERATIONS", None)
    if not isinstance(added, Mapping) or not added:
        raise ArgumentError(f"{path}: OPERATIONS must be a dict of codes and operations.")
    for code, operation in added.items():
        _check_own(path, code, operation)
    return {**OPERATIONS, **added}


def _check_own(path: Path, code: Any, operation: Any) -> None:
    if code in OPERATIONS:
        raise ArgumentError(f"{path}: an operation {code!r} exists already. Rename yours.")
    if not isinstance(code, str) or not re.fullmatch("[a-z]+(-[a-z]+)*", code):
        raise ArgumentError(f"{path}: code {code!r} must be lower-case letters, such as 'vig'.")
    if any(not hasattr(operation, name) for name in ("title", "parameter", "apply")):
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] is no operation, such as a Filter.")
    if operation.code != code:
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] must have the code {code!r}.")


def operations_table(own: OwnOperations | None = None) -> Table:
    """Return the table of operations, as the README shows it."""
    header = ("name", "operation", "parameter", "drawn by `-mix`", "possible")
    rows = []
    for code, operation in known_operations(own).items():
        parameter = operation.parameter
        example = ChainStep(operation, parameter.shown[0]).name
        source = "" if code in TABLE_IX else " (not in Table IX)"
        rows.append(
            (
                f"`{example}`, `{code}-mix`",
                f"{operation.title}{source}",
                parameter.name,
                parameter.domain,
                parameter.rule.text,
            )
        )
    return Table(header, tuple(rows), left=tuple(range(len(header))))
