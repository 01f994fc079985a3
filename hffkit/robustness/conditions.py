"""Conditions of a measurement: the operations of suites by severity, and the clean images."""

from collections.abc import Sequence

from hffkit.degrade.chain import check_for_images, every_value, split_chain
from hffkit.degrade.own import OwnOperations, known_operations, read_chain
from hffkit.degrade.rework import PixelStage, Treatment
from hffkit.degrade.suites import Suite, SuiteEntry, read_part
from hffkit.errors import ArgumentError

DEFAULT_SUITE = "table-ix"
CLEAN = ""  # the name of the chain without an operation
OPERATIONS_NAME = "operations"  # of the suite that `ops` make


def suites_of(
    names: Sequence[str], ops: Sequence[str], own: OwnOperations | None = None
) -> tuple[Suite, ...]:
    """Return suites by their names or files, and one of the operations `ops` if there are some.

    NAME:SEVERITY is one severity of a suite.

    An operation is a code such as jp, which stands for all its listed values; a value, such as
    jp:60 or jp-mix; or several of these joined by plus signs.

    Raises
    ------
    HffkitError
        If a suite or an operation is unknown or for whole videos, or a value impossible.
    """
    if not names and not ops:
        names = (DEFAULT_SUITE,)
    suites = [read_part(name, own) for name in names]
    if ops:
        entries = tuple(entry for op in ops for entry in _entries(op.strip().lower(), own))
        text = "the operations given"
        suites.append(
            Suite(OPERATIONS_NAME, text, text, "Severities are in the order given.", entries)
        )
    known = [suite.name for suite in suites]
    for name in known:
        if known.count(name) > 1:
            raise ArgumentError(f"`suites` name {name!r} twice.")
    return tuple(suites)


def _entries(op: str, own: OwnOperations | None) -> list[SuiteEntry]:
    operations = known_operations(own)
    is_code = op in operations
    chains = every_value(operations[op]) if is_code else [read_chain(split_chain(op), own)]
    for each in chains:
        check_for_images(each)
    return [
        SuiteEntry(op if is_code else each.name, severity, each)
        for severity, each in enumerate(chains, 1)
    ]


def treatments_of(
    suites: Sequence[Suite], own: OwnOperations | None, packed_size: int | None, seed: int
) -> dict[str, Treatment]:
    """Return the treatment of each different chain of suites by its name, the clean one first.

    They are those of `degrade` with the same operations: on native pixels, or on packed ones of
    `packed_size` px, to which the results are resized.
    """
    stage: PixelStage = "native" if packed_size is None else "input"
    chains = {entry.chain.name: entry.chain for suite in suites for entry in suite.entries}
    names = {name: tuple(step.name for step in chain.steps) for name, chain in chains.items()}
    return {
        name: Treatment(steps, own, stage, packed_size, seed)
        for name, steps in {CLEAN: (), **names}.items()
    }
