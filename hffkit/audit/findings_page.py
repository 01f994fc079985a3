"""The page of an audit: findings with thumbnails, then what each check measured."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding
from hffkit.audit.outcomes import AuditResult, Outcome
from hffkit.errors import HffkitError
from hffkit.reports.html import Figure, html_of, thumbnail
from hffkit.storage.corpus import Corpus
from hffkit.storage.datum import decode_datum
from hffkit.wording import counted

_TILE = 112  # px of a thumbnail


def page_of(result: AuditResult) -> str:
    """Return the page as HTML; the same result gives the same text."""
    corpora: dict[str, Corpus] = {}
    titles = {outcome.name: outcome.title for outcome in result.outcomes}
    cards = [
        {"finding": finding, "check": titles[finding.check], **_evidence(finding, corpora)}
        for finding in result.findings
    ]
    return html_of(
        "audit.html.j2",
        title=f"hffkit audit: {' '.join(result.request.corpora)}",
        facts=list(_facts(result)),
        cards=cards,
        checks=list(map(_section, result.outcomes)),
    )


def _evidence(finding: Finding, corpora: dict[str, Corpus]) -> dict[str, object]:
    """Return the evidence with its thumbnails, and the number of samples that it shows."""
    rows = [(each.caption, list(_thumbnails(each, corpora))) for each in finding.evidence]
    n_samples = sum(len(images) for _, images in rows)
    entries = counted(len(rows), "entry", "entries")
    return {"evidence": rows, "shown": counted(n_samples, "sample") if n_samples else entries}


def _thumbnails(evidence: Evidence, corpora: dict[str, Corpus]) -> Iterator[tuple[str, str]]:
    """Yield the key and the thumbnail, a data URI, of each sample that can be read.

    `corpora` are those opened so far, by path.
    """
    for ref in evidence.samples:
        with suppress(HffkitError):
            if ref.corpus not in corpora:
                corpora[ref.corpus] = Corpus(Path(ref.corpus))
            record = corpora[ref.corpus].records.get(ref.record.encode())
            yield ref.key, thumbnail(decode_datum(record).image(), _TILE)


def _facts(result: AuditResult) -> Iterator[tuple[str, str]]:
    request = result.request
    yield "samples", f"{result.n_samples:,}"
    yield "drawn for facts", f"up to {request.samples:,} of each class, seed {request.seed}"
    yield from (("manifest_sha256", each["manifest_sha256"]) for each in result.data)
    yield from (("against", name) for name in request.against)
    if request.run is not None:
        yield "run", str(request.run)


def _section(outcome: Outcome) -> dict[str, object]:
    """Return what the template shows of a check."""
    shown = Exhibits() if outcome.measured is None else outcome.measured.exhibits()
    return {
        "outcome": outcome,
        "verdict": _verdict(outcome),
        "shown": shown,
        "figures": list(_figures(shown)),
    }


def _verdict(outcome: Outcome) -> str:
    if outcome.reason is not None:
        return f"not done: {outcome.reason}"
    n = len(outcome.findings)
    return counted(n, "finding") if n else "nothing found"


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
            "Shares of each class; none: of the samples without the fact. Real classes are solid, "
            "fake ones dashed.",
            f"Histograms by class of {', '.join(each.name for each in shown.distributions)}.",
            plots.small_multiples(multiples),
        )
