"""The page of an audit: findings with thumbnails, then what each check measured."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hffkit.audit.audited import AuditRequest
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding, SampleRef
from hffkit.audit.outcomes import AuditResult, Outcome
from hffkit.errors import HffkitError
from hffkit.media.image import Image
from hffkit.reports.audit_page import AuditPage, CheckSection, Exhibit, FindingCard, render_audit
from hffkit.reports.html import Figure
from hffkit.storage.corpus import Corpus
from hffkit.storage.datum import decode_datum
from hffkit.wording import counted

_NONE_FOUND = "nothing found"


def page_of(result: AuditResult) -> str:
    """Return the page as HTML; the same result gives the same text."""
    images = _Images()
    titles = {outcome.name: outcome.title for outcome in result.outcomes}
    return render_audit(
        AuditPage(
            title=f"hffkit audit: {' '.join(result.request.corpora)}",
            facts=tuple(_facts(result)),
            findings=tuple(_card(each, titles, images) for each in result.findings),
            checks=tuple(map(_section, result.outcomes)),
        )
    )


class _Images:
    """Reads the images of references; each corpus is opened once."""

    def __init__(self) -> None:
        self._corpora: dict[str, Corpus] = {}

    def of(self, evidence: Evidence) -> Iterator[tuple[str, Image]]:
        """Yield the key and image of each sample that can be read."""
        for ref in evidence.samples:
            with suppress(HffkitError):
                yield ref.key, self._read(ref)

    def _read(self, ref: SampleRef) -> Image:
        corpus = self._corpora.setdefault(ref.corpus, Corpus(Path(ref.corpus)))
        return decode_datum(corpus.records.get(ref.record.encode())).image()


def _facts(result: AuditResult) -> Iterator[tuple[str, str]]:
    request: AuditRequest = result.request
    yield "samples", f"{result.n_samples:,}"
    yield "drawn for facts", f"up to {request.samples:,} of each class, seed {request.seed}"
    yield from (("manifest_sha256", each["manifest_sha256"]) for each in result.data)
    yield from (("against", name) for name in request.against)
    if request.run is not None:
        yield "run", str(request.run)


def _card(finding: Finding, titles: dict[str, str], images: _Images) -> FindingCard:
    return FindingCard(
        finding.severity,
        finding.title,
        finding.number,
        finding.why,
        finding.mend,
        _anchor(finding.check),
        titles[finding.check],
        tuple(Exhibit(each.caption, tuple(images.of(each))) for each in finding.evidence),
    )


def _section(outcome: Outcome) -> CheckSection:
    shown = Exhibits() if outcome.measured is None else outcome.measured.exhibits()
    return CheckSection(
        _anchor(outcome.name),
        outcome.title,
        outcome.light,
        _verdict(outcome),
        shown.tables,
        tuple(_figures(shown)),
        shown.notes,
    )


def _anchor(name: str) -> str:
    return f"check-{name}"


def _verdict(outcome: Outcome) -> str:
    if outcome.reason is not None:
        return f"not done: {outcome.reason}"
    n = len(outcome.findings)
    return counted(n, "finding") if n else _NONE_FOUND


def _figures(shown: Exhibits) -> Iterator[Figure]:
    from hffkit.reports import plots  # late: matplotlib takes a second

    if shown.pairs is not None and len(shown.pairs[0]) > 2:
        yield Figure(
            "Leakage of class pairs",
            "AUC in per cent; 50 is chance.",
            "Heat map of the leakage score of each pair of classes; the table has the figures.",
            plots.heat_map(*shown.pairs, lowest=50),
        )
    if shown.distributions:
        multiples = [
            plots.Multiple(each.name, each.values, each.labels) for each in shown.distributions
        ]
        yield Figure(
            "Distributions by class",
            "Shares of each class. Real classes are solid, fake ones dashed.",
            f"Histograms by class of {', '.join(each.name for each in shown.distributions)}.",
            plots.small_multiples(multiples),
        )
