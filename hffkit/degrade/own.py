"""A user's own operations, from a Python file, beside those of the table."""

import functools
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from hffkit.degrade.chain import Chain, ChainStep, chain
from hffkit.degrade.operation import OWN_MODULE, ErrorsOfOwnCode, Operation
from hffkit.degrade.parameter import Choice, Interval
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError, OwnCodeError
from hffkit.input_files import read_bounded
from hffkit.reports.text_table import Table

_MAX_BYTES = 1 << 20


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
    return OwnOperations(path, read_bounded(path, ArgumentError, _MAX_BYTES))


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
    module = ModuleType(f"{OWN_MODULE}{hashlib.sha256(source).hexdigest()}")
    sys.modules[module.__name__] = module
    code = _compiled(path, source)
    with ErrorsOfOwnCode():
        exec(code, vars(module))
        added = getattr(module, "OPERATIONS", None)
        if not isinstance(added, Mapping) or not added:
            raise ArgumentError(f"{path}: OPERATIONS must be a dict of codes and operations.")
        for name, operation in added.items():
            _check_own(path, name, operation)
        return {**OPERATIONS, **added}


def _compiled(path: Path, source: bytes) -> CodeType:
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise OwnCodeError(f"{path}:{error.lineno or 1}: SyntaxError: {error.msg}.") from None
    except (MemoryError, RecursionError, ValueError) as error:
        reason = str(error) or "too deeply nested"
        raise OwnCodeError(f"{path}: cannot be compiled: {reason}.") from None


def _check_own(path: Path, code: Any, operation: Any) -> None:
    if code in OPERATIONS:
        raise ArgumentError(f"{path}: an operation {code!r} exists already. Rename yours.")
    if not isinstance(code, str) or not re.fullmatch("[a-z]+(-[a-z]+)*", code):
        raise ArgumentError(f"{path}: code {code!r} must be lower-case letters, such as 'vig'.")
    parameter = getattr(operation, "parameter", None)
    has_all = all(hasattr(operation, name) for name in ("title", "code", "apply"))
    if not has_all or not isinstance(parameter, Choice | Interval):
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] is no operation, such as a Filter.")
    values = parameter.shown
    if not values or not all(isinstance(each, int | float) for each in values):
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] must list values that are numbers.")
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
