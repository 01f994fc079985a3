"""Checks of a decision under suites of operations: `robustness` keeps them, `eval` shows them."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hffkit.errors import StorageError
from hffkit.evaluation.decision_check import ConditionCheck, GuaranteeCheck, SuiteCheck
from hffkit.fields import Fields
from hffkit.inference.detector import Detector
from hffkit.inference.shelf import Shelf
from hffkit.input_files import read_object
from hffkit.runs.decision import Decision, Guarantee
from hffkit.storage.staging import write_durably

FORMAT = 1
_DIGEST = "sha256"  # of the other fields


class KeptChecks:
    """The checks of one decision on some samples: a file for each suite, the newest."""

    def __init__(self, shelf: Shelf, detector: Detector, decision: Decision) -> None:
        """Take the decision of a detector, and the shelf of the samples."""
        self._shelf, self._decision = shelf, decision
        self._digest = shelf.digest(detector, format=FORMAT, decision=decision.to_json())

    def write(self, check: SuiteCheck) -> None:
        """Keep a check in place of an earlier one under a suite of this name."""
        if self._shelf.is_writable:
            row = check.to_json()
            text = json.dumps({**row, _DIGEST: _digest_of(row)}, indent=1, sort_keys=True) + "\n"
            write_durably(self._path(check.suite), text)

    def read(self) -> tuple[SuiteCheck, ...]:
        """Return the checks, by the name of the suite; damaged files are left out."""
        found = []
        for path in self._shelf.folder.glob(f"{self._digest}-*.json"):
            with suppress(StorageError):
                found.append(self._parsed(path))
        return tuple(sorted(found, key=lambda check: check.suite))

    def _path(self, suite: str) -> Path:
        name = hashlib.sha256(suite.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return self._shelf.folder / f"{self._digest}-{name}.json"

    def _parsed(self, path: Path) -> SuiteCheck:
        found = read_object(path, StorageError)
        row = Fields(found, str(path), StorageError)
        if found.pop(_DIGEST, None) != _digest_of(found):
            raise StorageError(f"{path}: damaged.")
        known: dict[str, Guarantee] = {each.mistake: each for each in self._decision.guarantees}
        conditions = tuple(
            ConditionCheck(
                each.take("condition", str),
                tuple(_check_of(one, known) for one in each.rows("guarantees")),
            )
            for each in row.rows("conditions")
        )
        digest, seed = row.take("suite_sha256", str), row.whole("seed")
        return SuiteCheck(row.take("suite", str), digest, seed, conditions)


def _digest_of(row: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def _check_of(row: Fields, known: Mapping[str, Guarantee]) -> GuaranteeCheck:
    n_groups = row.whole("n_groups", 1)
    guarantee = known[row.one_of("mistake", known)]
    return GuaranteeCheck(guarantee, n_groups, row.whole("n_mistakes", 0, n_groups))
