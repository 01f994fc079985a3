"""Inputs that gave no sample, or fewer than expected, with the reason."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hffkit.errors import ManifestError
from hffkit.fields import Fields
from hffkit.input_files import read_json_lines
from hffkit.manifest.samples import json_line, printable

FailureKind = Literal[
    "unreadable",
    "damaged",
    "damage-kept",
    "no-face",
    "short-read",
    "own-boxes",
    "unpaired",
    "duplicate",
    "other-numbers",
    "misnamed",
]
FATAL: Collection[FailureKind] = ("unreadable", "damaged")  # of which the input gave no sample


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of failures.jsonl.

    Errors (exit code 3) are `unreadable`, `damaged` (of an image pixels can be decoded, but not all
    as they were encoded), and in `build` and `merge` a file or image that is in two classes or
    splits (`duplicate`). The other kinds are recorded facts: a damaged image that was accepted all
    the same (`damage-kept`), a frame without a face (`no-face`), a video with fewer frames than its
    header states (`short-read`), a derived video that is not aligned with its target and was
    cropped by its own detections (`own-boxes`), a video without the partner that a pair needs
    (`unpaired`), frames left out because the rest of the family lacks their numbers
    (`other-numbers`), and a file whose content is not what its suffix says (`misnamed`).
    """

    kind: FailureKind
    path: str  # relative to the source's root
    frame: int | None
    reason: str

    def to_line(self) -> str:
        """Return the failure as one line of JSON."""
        return json_line({**asdict(self), "path": printable(self.path)})


def damage_of(path: str, frame: int | None, reason: str, *, is_kept: bool) -> Failure:
    """Return the line for a damaged image, which still becomes a sample if it `is_kept`."""
    return Failure("damage-kept" if is_kept else "damaged", path, frame, reason)


def n_fatal(counts: Mapping[str, int]) -> int:
    """Return how many of the failures, counted by kind, are errors."""
    return sum(counts.get(kind, 0) for kind in FATAL)


def read_failures(path: Path) -> Iterator[Failure]:
    """Yield the failures in a failures.jsonl, in order."""
    for number, row in enumerate(read_json_lines(path, ManifestError), 1):
        yield failure_of(row, f"{path}:{number}")


def failure_of(row: Any, where: str) -> Failure:
    """Build a failure from a parsed line; a ManifestError begins with `where`, its place."""
    found = Fields.of(row, where, ManifestError)
    found.check_known([each.name for each in fields(Failure)])
    return Failure(
        kind=cast(FailureKind, found.one_of("kind", get_args(FailureKind))),
        path=found.take("path", str),
        frame=None if found.optional("frame", int) is None else found.whole("frame"),
        reason=found.take("reason", str),
    )
