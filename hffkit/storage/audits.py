"""The summary of an audit that lies beside a corpus, as data-audit.json beside data.lmdb."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hffkit.errors import StorageError
from hffkit.input_files import read_object
from hffkit.json_types import JsonObject
from hffkit.storage.corpus import Corpus
from hffkit.wording import counted

FORMAT = 1
_SEVERITIES = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """The numbers of an audit that other commands repeat."""

    findings: Mapping[str, int]  # by severity, the worst first
    worst: str | None  # title of the worst finding
    leakage: Mapping[str, tuple[float, float, float]]  # AUC, low and high of fake / real, by facts

    def to_json(self) -> JsonObject:
        """Return the summary as JSON values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The summary in a line."""
        n = sum(self.findings.values())
        shown = ", ".join(f"{k} {severity}" for severity, k in self.findings.items() if k)
        parts = [f"audit: {counted(n, 'finding')}{f' ({shown})' if n else ''}"]
        parts += [
            f"leakage AUC by {name} {auc:.3f} ({low:.3f} to {high:.3f})"
            for name, (auc, low, high) in self.leakage.items()
        ]
        if self.worst:
            parts.append(f"worst: {self.worst}")
        return "; ".join(parts)


def audit_path(corpus: Path) -> Path:
    """Return where the audit of a corpus lies: data-audit.json beside data.lmdb."""
    corpus = corpus if corpus.name else corpus.absolute()  # "." has no name
    return corpus.parent / f"{corpus.stem}-audit.json"


def read_summary(corpus: Corpus) -> AuditSummary | None:
    """Return the summary of the audit beside a corpus; None if there is no audit of it alone.

    An audit of several corpora, or of an earlier state of this one, does not count.
    """
    try:
        row = read_object(audit_path(corpus.path), StorageError)
        if row["format"] != FORMAT or row["data"] != [corpus.identity()]:
            return None
        found = row["summary"]
        leakage = {name: tuple(map(float, value)) for name, value in found["leakage"].items()}
        if any(len(value) != 3 for value in leakage.values()):
            return None
        return AuditSummary(
            {name: int(found["findings"][name]) for name in _SEVERITIES},
            None if found["worst"] is None else str(found["worst"]),
            {name: (auc, low, high) for name, (auc, low, high) in leakage.items()},
        )
    except (StorageError, ValueError, KeyError, TypeError, AttributeError):
        return None
