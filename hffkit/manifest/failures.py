"""What an input did not give, and why."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hffkit.manifest.samples import json_line, printable, read_json_lines

FailureKind = Literal["unreadable", "no-face", "short-read", "own-boxes", "unpaired"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of failures.jsonl.

    Only `unreadable` is an error (exit code 3). A frame without a face (`no-face`), a video that
    holds fewer frames than it claims (`short-read`), a derived video that does not line up with
    its target and so got boxes of its own (`own-boxes`) and one of which a pair lacks a member
    (`unpaired`) are facts worth knowing.
    """

    kind: FailureKind
    path: str  # relative to the source's root
    frame: int | None
    reason: str

    def to_line(self) -> str:
        """Return the failure as one line of JSON."""
        return json_line({**asdict(self), "path": printable(self.path)})


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the failures of a failures.jsonl in order."""
    for row in read_json_lines(path):
        yield Failure(**row)
