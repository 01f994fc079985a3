"""Results of `hffkit audit` as JSON values and as text, the worst finding first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hffkit.audit.audited import Audited, AuditRequest
from hffkit.audit.check import Area, Measured
from hffkit.audit.findings import SEVERITIES, Finding, Severity, is_at_least, worst_of
from hffkit.audit.leakage import Leakage
from hffkit.audit.pixel_shortcuts import PixelShortcutsMeasured
from hffkit.audit.shortcuts import ShortcutsMeasured
from hffkit.manifest.samples import json_text, printable
from hffkit.storage.audits import FORMAT, AuditSummary
from hffkit.wording import counted

_N_SAMPLES = 3  # of a piece of evidence, in the text
_N_EVIDENCE = 3  # pieces of a finding, in the text
_LIGHTS = {"high": "red", "medium": "amber", "low": "yellow", None: "green"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measurement and the findings of one check."""

    name: str
    title: str
    area: Area
    findings: tuple[Finding, ...]
    measured: Measured | None  # None: the check could not be done
    reason: str | None = None  # why it could not

    @property
    def light(self) -> str:
        """The traffic light: red, amber, yellow, green, or grey if it was not done."""
        return "grey" if self.measured is None else _LIGHTS[worst_of(self.findings)]

    def to_json(self) -> dict[str, object]:
        """Return the outcome as JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "area": self.area,
            "light": self.light,
            "reason": self.reason,
            "measured": None if self.measured is None else self.measured.to_json(),
        }


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The outcomes of all checks."""

    request: AuditRequest
    data: tuple[dict[str, str], ...]  # digests of the audited corpora
    n_samples: int
    outcomes: tuple[Outcome, ...]

    @property
    def findings(self) -> list[Finding]:
        """All findings, the worst first; equally bad ones in the order of the table."""
        found = [finding for outcome in self.outcomes for finding in outcome.findings]
        return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

    def has(self, limit: Severity) -> bool:
        """Return True if a finding is as bad as `limit`, or worse."""
        return any(is_at_least(finding.severity, limit) for finding in self.findings)

    @property
    def summary(self) -> AuditSummary:
        """The numbers that other commands repeat."""
        findings = self.findings
        return AuditSummary(
            {name: sum(f.severity == name for f in findings) for name in SEVERITIES},
            findings[0].title if findings else None,
            dict(self._leakage()),
        )

    def _leakage(self) -> Iterator[tuple[str, tuple[float, float, float]]]:
        scores: list[tuple[str, Leakage | None]] = []
        for outcome in self.outcomes:
            if isinstance(outcome.measured, ShortcutsMeasured):
                scores.append(("stored facts", outcome.measured.scores.overall))
            elif isinstance(outcome.measured, PixelShortcutsMeasured):
                scores.append(("pixel history", outcome.measured.history.overall))
        yield from ((name, (s.auc, s.low, s.high)) for name, s in scores if s is not None)

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        request = self.request
        return {
            "format": FORMAT,
            "corpora": list(request.corpora),
            "against": list(request.against),
            "run": None if request.run is None else str(request.run),
            "samples_of_each_class": request.samples,
            "seed": request.seed,
            "data": list(self.data),
            "n_samples": self.n_samples,
            "summary": self.summary.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "checks": [outcome.to_json() for outcome in self.outcomes],
        }

    def to_text(self) -> str:
        """Return the findings, the worst first, and the checks without any."""
        findings = self.findings
        lines = [line for finding in findings for line in _finding_lines(finding)]
        clean = [o.title for o in self.outcomes if o.measured is not None and not o.findings]
        if clean:
            lines.append(f"nothing found: {'; '.join(clean)}")
        lines += [f"not done: {o.title}: {o.reason}" for o in self.outcomes if o.reason]
        counts = {name: sum(f.severity == name for f in findings) for name in SEVERITIES}
        shown = ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "none"
        lines.append(
            f"{counted(self.n_samples, 'sample')} in {' '.join(self.request.corpora)}; "
            f"findings: {shown}"
        )
        return "\n".join(lines)

    def to_report(self) -> bytes:
        """Return the JSON values as a file."""
        return printable(json_text(self.to_json())).encode()


def result_of(data: Audited, outcomes: Sequence[Outcome]) -> AuditResult:
    """Return the result of checks of some corpora."""
    digests = tuple(corpus.identity() for corpus in data.corpora)
    n_samples = sum(corpus.n_samples for corpus in data.corpora)
    return AuditResult(data.request, digests, n_samples, tuple(outcomes))


def _finding_lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.upper():<6} {finding.title}"
    yield f"       {finding.number}"
    for evidence in finding.evidence[:_N_EVIDENCE]:
        keys = [ref.key for ref in evidence.samples[:_N_SAMPLES]]
        more = len(evidence.samples) - len(keys)
        listed = ", ".join([*keys, *([f"{more} more"] if more else [])])
        yield f"       - {evidence.caption}{f': {listed}' if listed else ''}"
    if len(finding.evidence) > _N_EVIDENCE:
        yield f"       - and {len(finding.evidence) - _N_EVIDENCE} more"
    yield f"       why: {finding.why}"
    if finding.mend:
        yield f"       mend: {finding.mend}"
    yield ""
