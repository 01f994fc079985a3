"""Findings of an audit: what is wrong with a corpus, with its evidence and the remedy."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


@dataclass(frozen=True, slots=True)
class SampleRef:
    """A sample named by a finding: enough to read its record again."""

    corpus: str  # path
    key: str
    record: str  # key in data.mdb

    @classmethod
    def of(cls, corpus: Corpus, sample: Sample) -> "SampleRef":
        """Return the reference to a sample of a corpus."""
        return cls(str(corpus.path), sample.key, corpus.lmdb_key(sample).decode())


@dataclass(frozen=True, slots=True)
class Evidence:
    """Samples that show one instance of a finding, such as a cluster of equal images."""

    caption: str
    samples: tuple[SampleRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, as a check judged it."""

    check: str  # name of the check
    severity: Severity
    title: str  # what is wrong, as a sentence
    number: str  # the measured value, with its unit and interval
    evidence: tuple[Evidence, ...]  # a choice, the clearest first
    why: str  # why it matters, in one sentence
    mend: str  # the command that mends it; empty if none does
    drop: tuple[str, ...] = ()  # keys of samples that `hffkit subset` can leave out to mend it

    def to_json(self) -> dict[str, object]:
        """Return the finding as JSON values."""
        return asdict(self)


def equalize_command(names: str) -> str:
    """Return the command that gives corpora, as words of a shell, one history for all classes."""
    return f"hffkit equalize {names} --out fair.lmdb"


def is_at_least(severity: Severity, limit: Severity) -> bool:
    """Return True if a severity is as bad as `limit`, or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)


def worst_of(findings: tuple[Finding, ...]) -> Severity | None:
    """Return the worst severity of findings; None if there are none."""
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    return SEVERITIES[min(ranks)] if ranks else None
