"""The protocol of checks: a measurement, its judgement, and its tables and plots."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from hffkit.audit.audited import Audited
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Finding

Area = Literal["shortcuts", "leaks", "balance", "trust", "score"]


class Measured(Protocol):
    """The measurement of a check."""

    def to_json(self) -> dict[str, object]:
        """Return the measurement as JSON values."""

    def exhibits(self) -> Exhibits:
        """Return the tables and plots of the measurement, for the page."""


M = TypeVar("M", bound=Measured)


@dataclass(frozen=True, slots=True)
class AuditCheck(Generic[M]):
    """One row of the table of checks.

    `measure` reads the corpora and raises HffkitError if it cannot be done, such as AUC on one
    class; the audit reports the reason and goes on. `judge` depends on the measurement alone.
    """

    name: str
    title: str
    area: Area
    measure: Callable[[Audited], M]
    judge: Callable[[M], Iterable[Finding]]
    needs_run: bool = False  # left out without one
