"""Inputs that gave no sample, or fewer than expected, with the reason."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hffkit.manifest.samples import json_line, printable, read_json_lines

FailureKind = Literal["unreadable", "no-face", "short-read", "own-boxes", "unpaired", "duplicate"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of failures.jsonl.

    Errors (exit code 3) are `unreadable`, and in `build` and `merge` a file or image that is in two
    classes or splits (`duplicate`). The other kinds are recorded facts: a frame without a face
    (`no-face`), a video with fewer frames than its header states (`short-read`), a derived video
    that is not aligned with its target and was cropped by its own detections (`own-boxes`), and a
    video without the partner that a pair needs (`unpaired`).
    """

    kind: FailureKind
    path: str  # relative to the source's root
    frame: int | None
    reason: str

    def to_line(self) -> str:
        """Return the failure as one line of JSON."""
        return json_line({**asdict(self), "path": printable(self.path)})


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the failures in a failures.jsonl, in order."""
    for row in read_json_lines(path):
        yield Failure(**row)
