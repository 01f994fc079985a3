"""The literal table of checks: a new check is a file with its `CHECK`, and a row here."""

from collections.abc import Mapping
from typing import Any

from hffkit.audit import (
    balance,
    equal_pixels,
    near_duplicates,
    official_split,
    origins,
    pixel_shortcuts,
    score,
    shortcuts,
    trust,
)
from hffkit.audit.check import AuditCheck

CHECKS: Mapping[str, AuditCheck[Any]] = {
    check.name: check
    for check in (
        shortcuts.CHECK,
        pixel_shortcuts.CHECK,
        equal_pixels.CHECK,
        near_duplicates.CHECK,
        origins.CHECK,
        official_split.CHECK,
        balance.CHECK,
        trust.CHECK,
        score.CHECK,
    )
}
