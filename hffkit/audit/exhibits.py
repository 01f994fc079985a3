"""The tables, heat map and distributions of a measurement on the page of an audit."""

from dataclasses import dataclass

from hffkit.arrays import Floats64
from hffkit.reports.text_table import Table


@dataclass(frozen=True, slots=True)
class Distribution:
    """The values of one fact by class: a small multiple."""

    name: str  # of the fact, with its unit
    values: tuple[tuple[str, bool, Floats64], ...]  # class, True if fake, its values
    labels: tuple[str, ...] = ()  # of the values of a category, by number


@dataclass(frozen=True, slots=True)
class Exhibits:
    """Tables with their captions, a heat map of class pairs, and distributions."""

    tables: tuple[tuple[str, Table], ...] = ()
    pairs: tuple[tuple[str, ...], tuple[str, ...], Floats64] | None = None  # rows, columns, percent
    distributions: tuple[Distribution, ...] = ()
    notes: tuple[str, ...] = ()
