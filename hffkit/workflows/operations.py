"""The operations at hand: those of hffkit, and a user's own from a Python file."""

import functools
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hffkit.degrade.chain import Chain, Step, chain
from hffkit.degrade.operation import Operation
from hffkit.degrade.table import OPERATIONS, TABLE_IX
from hffkit.errors import ArgumentError


def read_chain(names: Sequence[str], path: Path | None) -> Chain:
    """Return the operations called `names`; `path` may define some of them."""
    return chain(*names, operations=known_operations(path))


def known_operations(path: Path | None) -> Mapping[str, Operation[Any]]:
    """Return the table of operations with those that a Python file adds in its OPERATIONS.

    Raises
    ------
    ArgumentError
        If the file cannot be read or defines no such mapping.
    """
    return OPERATIONS if path is None else _with_own(path, _source_of(path))


@functools.cache
def _with_own(path: Path, source: bytes) -> Mapping[str, Operation[Any]]:
    if path.suffix != ".py":
        raise ArgumentError(f"{path}: no Python file (its name must end in .py).")
    # Not by import: its cache knows a file by time and size alone.
    module = ModuleType(f"hffkit_operations_{hashlib.sha256(source).hexdigest()}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, path, "exec"), vars(module))
    except (SyntaxError, ImportError) as error:
        raise ArgumentError(f"{path}: {error}") from None
    added = getattr(module, "OPERATIONS", None)
    if not isinstance(added, Mapping) or not added:
        raise ArgumentError(f"{path}: it must define OPERATIONS, a dict of code to operation.")
    for code, operation in added.items():
        _check_own(path, code, operation)
    return {**OPERATIONS, **added}


def _check_own(path: Path, code: Any, operation: Any) -> None:
    if code in OPERATIONS:
        raise ArgumentError(f"{path}: there is an operation {code!r} already. Rename yours.")
    if not isinstance(code, str) or not re.fullmatch("[a-z]+(-[a-z]+)*", code):
        raise ArgumentError(f"{path}: code {code!r} must be lower-case letters, such as 'vig'.")
    if any(not hasattr(operation, name) for name in ("title", "parameter", "apply")):
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] is no operation, such as a Filter.")
    if operation.code != code:
        raise ArgumentError(f"{path}: OPERATIONS[{code!r}] must have the code {code!r}.")


def _source_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read: {error.strerror}.") from None


def operations_digest(path: Path | None) -> str | None:
    """Return the SHA-256 of a file of operations: what it does cannot be told by its name."""
    return None if path is None else hashlib.sha256(_source_of(path)).hexdigest()


def operations_table(path: Path | None = None) -> str:
    """Return the table of operations in Markdown, as the README has it."""
    lines = [
        "| name | operation | parameter | drawn by `-mix` | possible |",
        "|---|---|---|---|---|",
    ]
    for code, operation in known_operations(path).items():
        parameter = operation.parameter
        example = Chain((Step(operation, parameter.shown[0]),)).name
        source = "" if code in TABLE_IX else " (not in Table IX)"
        lines.append(
            f"| `{example}`, `{code}-mix` | {operation.title}{source} | {parameter.name} "
            f"| {parameter.domain} | {parameter.rule.text} |"
        )
    return "\n".join(lines)
