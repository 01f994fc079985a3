"""The decision of a run, format 1: decision.json, with the thresholds of scores.

A decision.json may come from anybody, so everything that is read is checked.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import ArgumentError, WeightsError, reason_of
from hffkit.fields import shown
from hffkit.input_files import is_there, read_object
from hffkit.manifest.samples import SPLITS, json_text
from hffkit.runs.scores import tempered
from hffkit.storage.staging import write_durably

FORMAT = 1
DECISION_FILE = "decision.json"
Verdict = Literal["fake", "real", "undecided"]
MistakeKind = Literal["false_alarm", "miss"]
TRIAL = (
    "A trial is a group: it has a false alarm if any of its real files is called fake, and a miss "
    "if any of its fake files is called real. A file is an image, or a video by the mean score of "
    "its frames."
)
_DIGESTS = ("manifest_sha256", "sources_sha256")  # the second is missing in older decisions
# The true kind of a group's files, and the wrong verdict on one of them.
MISTAKES: Mapping[MistakeKind, tuple[str, str]] = {
    "false_alarm": ("real", "fake"),
    "miss": ("fake", "real"),
}


def per_cent(share: float) -> str:
    """Return a share as text with up to three digits: 0.1 %, 12.5 %."""
    return f"{100 * share:.3g} %"


def confidence_text(confidence: float | None) -> str:
    """Return how sure a rate is kept, as text: with 95 % confidence, or on average."""
    return "on average" if confidence is None else f"with {per_cent(confidence)} confidence"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A bound on the share of groups with a mistake, and what was counted on its data."""

    mistake: MistakeKind
    rate: float  # at most, in (0, 1)
    confidence: float | None  # that the rate is kept; None: it is kept on average
    n_groups: int  # with real files, or for misses with fake ones
    n_mistakes: int  # groups among them
    upper_bound: float | None  # of the share, at the confidence

    @property
    def promise(self) -> str:
        """The bound in words."""
        kind, called = MISTAKES[self.mistake]
        how = confidence_text(self.confidence)
        return f"{how} at most {per_cent(self.rate)} of {kind} groups have a file called {called}"

    @property
    def text(self) -> str:
        """The bound and the counts as a sentence."""
        bound = "" if self.upper_bound is None else f", upper bound {per_cent(self.upper_bound)}"
        return (
            f"{self.promise[0].upper()}{self.promise[1:]} "
            f"({self.n_mistakes} of {self.n_groups} there{bound})."
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """Thresholds of a run's score, their guarantees, and the data that these hold for."""

    threshold: float  # a score of at least this is fake
    real_below: float  # a lower score is real; from here to the threshold it is undecided
    guarantees: tuple[Guarantee, ...]
    temperature: float | None  # of the score's log odds; None: not calibrated
    weights_sha256: str
    data: tuple[Mapping[str, str], ...]  # path and digests of each corpus
    split: str  # or all
    n_files: Mapping[str, int]  # real and fake
    notes: tuple[str, ...]  # to know before relying on it
    versions: Mapping[str, str]

    def verdicts(self, scores: Floats64) -> list[Verdict]:
        """Return the verdict on each score (N,)."""
        values = rounded(scores)
        is_fake, is_real = values >= self.threshold, values < self.real_below
        return [
            "fake" if fake else "real" if real else "undecided"
            for fake, real in zip(is_fake, is_real, strict=True)
        ]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict on one score."""
        return self.verdicts(np.array([score]))[0]

    def calibrated(self, score: float) -> float | None:
        """Return the calibrated probability of fake; None if there is no temperature."""
        if self.temperature is None:
            return None
        return float(tempered(np.array([score]), self.temperature)[0])

    def note_on(self, digests: Collection[str], splits: Collection[str]) -> str | None:
        """Return a note if it was made on samples of these splits.

        `digests` are those of the manifests and sources of their corpora. A corpus that `pack` or
        `degrade` made has the sources of the other.
        """
        known = {row[name] for row in self.data for name in _DIGESTS if name in row}
        if (self.split == "all" or self.split in splits) and not known.isdisjoint(digests):
            return "The decision was made on some of these samples, so they cannot test it."
        return None

    @property
    def rule(self) -> str:
        """The thresholds as a sentence."""
        if self.real_below == self.threshold:
            return f"A score of {self.threshold:.6g} or more is fake, a lower one real."
        return (
            f"A score of {self.threshold:.6g} or more is fake, one below {self.real_below:.6g} "
            "real; between them is undecided."
        )

    @property
    def origin(self) -> str:
        """The data as a sentence."""
        where = ", ".join(row["path"] for row in self.data)
        what = "all splits" if self.split == "all" else f"split {self.split}"
        return f"It holds for groups like those of {what} of {where}."

    @property
    def texts(self) -> tuple[str, ...]:
        """Thresholds, guarantees and data as sentences."""
        return (self.rule, *(each.text for each in self.guarantees), self.origin)

    def to_json(self) -> dict[str, object]:
        """Return the decision as JSON values."""
        return {"format": FORMAT, "trial": TRIAL, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write decision.json into a run folder; an older one stays until it is whole."""
        write_durably(folder / DECISION_FILE, json_text(self.to_json()))


def threshold_above(score: float) -> float:
    """Return the least threshold that a score does not reach, at the resolution of scores."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def rounded(scores: Floats64) -> Floats64:
    """Return scores at the resolution of a network's output.

    The sum over fake classes and the mean over frames have more digits in one place than in
    another, and a threshold is the score of a sample.
    """
    return scores.astype(np.float32).astype(np.float64)


def check_decided(folder: Path) -> None:
    """Raise ArgumentError if a run has no decision to recheck, before it is loaded."""
    if not (folder / DECISION_FILE).exists():
        raise ArgumentError(
            f"{folder}: `recheck` needs a decision, and the run has none. Find one with "
            "`hffkit decide` first."
        )


def read_decision(folder: Path, weights_sha256: str) -> Decision | None:
    """Return the decision of the run with some weights; None if it has none.

    Raises
    ------
    WeightsError
        If it is damaged, of another version, or was made with other weights.
    """
    path = folder / DECISION_FILE
    again = "Run `hffkit decide` again, or delete it."
    if not is_there(path):
        return None
    try:
        row = read_object(path, WeightsError)
    except WeightsError as error:
        raise WeightsError(f"{error} {again}") from None
    version = row.get("format")
    if version != FORMAT:
        raise WeightsError(f"{path}: format must be {FORMAT}, got {shown(version)}. {again}")
    try:
        decision = _parsed(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged: {reason_of(error)}. {again}") from None
    if decision.weights_sha256 != weights_sha256:
        raise WeightsError(
            f"{path}: made with other weights ({decision.weights_sha256[:12]}) than those of the "
            f"run ({weights_sha256[:12]}), so its thresholds mean nothing. {again}"
        )
    return decision


def _parsed(row: Mapping[str, Any]) -> Decision:
    fields = {name: value for name, value in row.items() if name not in ("format", "trial")}
    fields["guarantees"] = tuple(Guarantee(**each) for each in fields["guarantees"])
    fields["data"], fields["notes"] = tuple(fields["data"]), tuple(fields["notes"])
    found = Decision(**fields)
    if not 0 <= _number(found.real_below) <= _number(found.threshold) <= 1:
        raise ValueError(f"thresholds are {shown(found.real_below)} and {shown(found.threshold)}")
    if found.temperature is not None and not _number(found.temperature) > 0:
        raise ValueError(f"temperature is {shown(found.temperature)}")
    for each in found.guarantees:
        _check_guarantee(each)
    keys = {"path", "content_sha256", "manifest_sha256"}
    texts = [
        found.weights_sha256,
        *found.notes,
        *(each[key] for each in found.data for key in keys | (each.keys() & set(_DIGESTS))),
    ]
    if found.split not in (*SPLITS, "all") or not all(isinstance(text, str) for text in texts):
        raise ValueError("weights, data, split or notes are no text")
    if not (isinstance(found.versions, dict) and {"real", "fake"} <= found.n_files.keys()):
        raise ValueError("versions or n_files are no object")
    return found


def _check_guarantee(each: Guarantee) -> None:
    shares = [each.rate, *(x for x in (each.confidence, each.upper_bound) if x is not None)]
    if each.mistake not in get_args(MistakeKind) or not all(0 < _number(x) <= 1 for x in shares):
        raise ValueError(f"a guarantee is {shown(each)}")
    counts = (each.n_mistakes, each.n_groups)
    if {type(count) for count in counts} != {int} or not 0 <= each.n_mistakes <= each.n_groups:
        raise ValueError(
            f"the counts of a guarantee are {shown(each.n_groups)}, {shown(each.n_mistakes)}"
        )


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{shown(value)} is no number")
    return float(value)
