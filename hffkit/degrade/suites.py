"""Suites: named lists of operations, or chains of them, by severity."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hffkit.degrade.chain import AnyChain, Chain, chain, check_for_images, split_chain
from hffkit.degrade.own import OwnOperations, read_chain
from hffkit.errors import ArgumentError, HffkitError, RecipeError, located
from hffkit.fields import shown
from hffkit.input_files import read_toml
from hffkit.recipe_files import recipe_path

_TEXTS = ("title", "source", "ours")
_CHAINS = "chains"
_PREFIX = "suite:"  # of a suite among the names of operations


@dataclass(frozen=True, slots=True)
class SuiteEntry:
    """One operation of a suite at one severity."""

    operation: str  # its name in the suite, such as "saturation" or "messenger"
    severity: int  # from 1
    chain: Chain

    @property
    def title(self) -> str:
        """Operation, severity and chain: "jpeg 3 (jp:60)"."""
        return f"{self.operation} {self.severity} ({self.chain.name})"


@dataclass(frozen=True)
class Suite:
    """Operations by severity, and where they come from."""

    name: str
    title: str
    source: str  # where the values were published
    ours: str  # what the source does not state, or what differs from it
    entries: tuple[SuiteEntry, ...]  # in the order of the file, severities ascending

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations, each once."""
        return tuple(dict.fromkeys(entry.operation for entry in self.entries))

    @property
    def severities(self) -> tuple[int, ...]:
        """All severities, ascending; not every operation has each of them."""
        return tuple(sorted({entry.severity for entry in self.entries}))

    @cached_property
    def sha256(self) -> str:
        """Digest of names, severities and chains, but not of the texts."""
        rows = [(entry.operation, entry.severity, entry.chain.name) for entry in self.entries]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def at(self, severity: int) -> tuple[SuiteEntry, ...]:
        """Return the entries of one severity.

        Raises
        ------
        ArgumentError
            If the suite has no such severity.
        """
        entries = tuple(entry for entry in self.entries if entry.severity == severity)
        if not entries:
            least, most = self.severities[0], self.severities[-1]
            raise ArgumentError(
                f"suite {self.name} has severities {least} to {most}, got {severity}."
            )
        return entries


@dataclass(frozen=True, slots=True)
class SuiteSeverity:
    """One severity of a suite, as names, which travel to workers."""

    name: str  # "deeperforensics:3"
    sha256: str  # of the suite
    chains: tuple[tuple[str, ...], ...]  # names of the operations of each chain


def split_severity(text: str) -> tuple[str, int | None]:
    """Return the suite and the severity of NAME:SEVERITY, or of NAME, which has none.

    Raises
    ------
    ArgumentError
        If the severity is no whole number.
    """
    name, colon, severity = text.rpartition(":")
    if not colon or text.endswith(".toml"):
        return text, None
    if not (name and severity.isascii() and severity.isdigit()):
        raise ArgumentError(
            f"the severity of a suite must be a whole number, as in deeperforensics:3, got {text}."
        )
    return name, int(severity)


def read_severity(text: str, own: OwnOperations | None = None) -> SuiteSeverity:
    """Return a severity named NAME:SEVERITY, such as "deeperforensics:3" or "mine.toml:1".

    Raises
    ------
    ArgumentError
        If the severity is missing, or the suite has no such severity.
    UnknownNameError, RecipeError
        As `read_suite`.
    """
    name, severity = split_severity(text)
    if severity is None:
        raise ArgumentError(
            f"`suite` must be NAME:SEVERITY, such as deeperforensics:3, got {text}."
        )
    suite = read_suite(name, own)
    entries = suite.at(severity)
    chains = tuple(tuple(step.name for step in entry.chain.steps) for entry in entries)
    return SuiteSeverity(f"{suite.name}:{severity}", suite.sha256, chains)


def read_part(text: str, own: OwnOperations | None = None) -> Suite:
    """Return a suite for images named NAME, or one severity of it named NAME:SEVERITY.

    Raises
    ------
    ArgumentError
        If the suite has no such severity, or operations for whole videos.
    UnknownNameError, RecipeError
        As `read_suite`.
    """
    name, severity = split_severity(text)
    suite = read_suite(name, own)
    if severity is not None:
        suite = replace(suite, name=f"{suite.name}:{severity}", entries=suite.at(severity))
    for entry in suite.entries:
        with located(f"suite {suite.name}: {entry.operation}", ArgumentError):
            check_for_images(entry.chain)
    return suite


def augmentation(names: Sequence[str]) -> Chain | AnyChain:
    """Return the operations for training images.

    Parameters
    ----------
    names
        Operations, applied in this order; or suites of hffkit, `suite:social-feed` or
        `suite:social-feed:2`, of which one chain of any, or of one severity, is drawn for each
        image.

    Raises
    ------
    ArgumentError
        If names of both kinds are given, a suite is a file, or as `chain` and `read_severity`.
    UnknownNameError
        If there is no such operation or suite.
    """
    suites = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
    if not suites:
        found = chain(*names)
        check_for_images(found)
        return found
    if len(suites) < len(names):
        raise ArgumentError(
            f"{', '.join(names)}: suites and operations exclude each other, because one chain of "
            "the suites is drawn for each image."
        )
    for name in suites:
        if split_severity(name)[0].endswith(".toml"):
            raise ArgumentError(f"{name}: a run records the name of a suite; list its operations.")
    entries = [entry for name in suites for entry in read_part(name).entries]
    return AnyChain("+".join(names), tuple(entry.chain for entry in entries))


def read_suite(name: str, own: OwnOperations | None = None) -> Suite:
    """Return a suite of hffkit by its name, or of a file by a path that ends in .toml.

    Parameters
    ----------
    own
        Operations of the user's own that chains of the suite may name.

    Raises
    ------
    UnknownNameError
        If no suite has this name.
    RecipeError
        If the file cannot be read, or a value of it is missing, unknown or impossible.
    """
    path = recipe_path(name, "suites", Path())
    if Path(str(path)).suffix != ".toml":
        raise RecipeError(f"{path}: a suite is a TOML file.")
    rows = read_toml(path, RecipeError)
    _check_keys(path, rows)
    entries = tuple(
        entry
        for operation, texts in rows[_CHAINS].items()
        for entry in _entries(path, operation, texts, own)
    )
    return Suite(Path(str(path)).stem, **{key: rows[key] for key in _TEXTS}, entries=entries)


def _check_keys(path: Traversable, rows: dict[str, Any]) -> None:
    known = (*_TEXTS, _CHAINS)
    missing, unknown = [k for k in known if k not in rows], [k for k in rows if k not in known]
    if missing:
        raise RecipeError(f"{path}: missing {', '.join(missing)}. Every key is required.")
    if unknown:
        raise RecipeError(f"{path}: unknown {', '.join(unknown)}. Known: {', '.join(known)}.")
    for key in _TEXTS:
        if not isinstance(rows[key], str) or not rows[key].strip():
            raise RecipeError(f"{path}: {key} must be a text, got {shown(rows[key])}.")
    if not isinstance(rows[_CHAINS], dict) or not rows[_CHAINS]:
        raise RecipeError(f"{path}: [{_CHAINS}] must hold at least one operation.")


def _entries(
    path: Traversable, operation: str, texts: Any, own: OwnOperations | None
) -> Iterator[SuiteEntry]:
    """Yield the entries of one operation: its chains, from severity 1 on."""
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise RecipeError(
            f"{path}: {_CHAINS}.{operation} must be a list of chains, one for each severity, such "
            f'as ["jp:90", "jp:70"], got {shown(texts)}.'
        )
    for severity, text in enumerate(texts, 1):
        try:
            parsed = read_chain(split_chain(text), own)
        except HffkitError as error:
            raise RecipeError(f"{path}: {_CHAINS}.{operation}: {error}") from None
        yield SuiteEntry(operation, severity, parsed)
