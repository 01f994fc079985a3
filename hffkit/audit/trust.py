"""Trust: records against the manifest, and recorded operations against what can be measured."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from hffkit.audit.audited import Audited
from hffkit.audit.check import AuditCheck
from hffkit.audit.collected import Collected, collected
from hffkit.audit.exhibits import Exhibits
from hffkit.audit.findings import Evidence, Finding, SampleRef, equalize_command
from hffkit.audit.stored_facts import FACTS
from hffkit.audit.trivial_pixels import shows_quality
from hffkit.corpus.verify import verify
from hffkit.errors import HffkitError
from hffkit.manifest.samples import Sample
from hffkit.reports.text_table import Table
from hffkit.storage.corpus import Corpus
from hffkit.wording import counted

_N_SHOWN = 12
_VISIBLE = 85  # quality up to which quantisation is seen in nearly every image
_MOST_WRONG = 0.05  # share of claims: an image of few details shows no quantisation
_MOST_DIFFERENCE = 0.1  # in the share of a processing between fake and real
_WIDTH = [fact.name for fact in FACTS].index("width")


@dataclass(frozen=True, slots=True)
class TrustMeasured:
    """Records that contradict the manifest, and recorded operations that contradict pixels."""

    n_problems: int
    problems: tuple[str, ...]  # the first ones
    unreadable: tuple[Evidence, ...]  # of the drawn samples
    n_without_detector: int  # crops whose box has no recorded origin
    n_claims: int  # recorded operations that were measured, in the drawn samples
    false_claims: tuple[Evidence, ...]
    processings: Mapping[str, Mapping[str, int]]  # samples by operations, then fake or real
    names: str

    def to_json(self) -> dict[str, object]:
        """Return the numbers as JSON values."""
        return {
            "n_problems": self.n_problems,
            "problems": list(self.problems),
            "n_unreadable": len(self.unreadable),
            "n_without_detector": self.n_without_detector,
            "n_claims": self.n_claims,
            "n_false_claims": len(self.false_claims),
            "operations": {name: dict(counts) for name, counts in self.processings.items()},
        }

    def exhibits(self) -> Exhibits:
        """Return the table of recorded operations."""
        rows = tuple(
            (name or "none", str(counts["real"]), str(counts["fake"]))
            for name, counts in self.processings.items()
        )
        table = Table(("operations", "real", "fake"), rows)
        return Exhibits(tables=(("Recorded operations, samples of each.", table),))


def measure(data: Audited) -> TrustMeasured:
    """Verify every record, and compare recorded operations with the drawn samples."""
    n_problems, problems = _verified(data)
    processings: dict[str, Counter[str]] = {}
    n_without_detector = 0
    for corpus in data.corpora:
        for sample in corpus.samples():
            names = "+".join(str(each["op"]) for each in sample.operations)
            kind = "fake" if data.table[sample.cls].is_fake else "real"
            processings.setdefault(names, Counter())[kind] += 1
            n_without_detector += sample.box is not None and sample.detector is None
    found, unreadable = _collected(data)
    n_claims, false = (0, ()) if found is None else _claims(data, found)
    return TrustMeasured(
        n_problems, problems, unreadable, n_without_detector, n_claims, false,
        dict(sorted(processings.items())), data.names,
    )  # fmt: skip


def _verified(data: Audited) -> tuple[int, tuple[str, ...]]:
    """Count the problems that `verify` reports, and return the first ones."""
    problems: list[str] = []
    n = 0
    try:
        for problem in verify(data.request.corpora, n_workers=data.n_workers):
            n += 1
            if n <= _N_SHOWN:
                problems.append(f"{problem.key}: {problem.reason}")
    except HffkitError as error:
        return n + 1, (*problems, str(error))
    return n, tuple(problems)


def _collected(data: Audited) -> tuple[Collected | None, tuple[Evidence, ...]]:
    try:
        found = data.shared(collected)
    except HffkitError as error:
        return None, (Evidence(str(error)),)
    at = np.array([place for place, _ in found.unreadable], np.int64)
    reasons = (reason for _, reason in found.unreadable)
    shown = zip(data.refs(at), reasons, strict=True)
    return found, tuple(Evidence(f"{ref.key}: {reason}") for ref, reason in shown)


def _claims(data: Audited, found: Collected) -> tuple[int, tuple[Evidence, ...]]:
    """Compare the recorded JPEG quality and size of the drawn samples with those found."""
    n, false = 0, []
    for place, (corpus, sample) in enumerate(data.items(found.at)):
        for is_true, text in _compared(corpus, sample, float(found.stored[place, _WIDTH])):
            n += 1
            if not is_true:
                false.append(Evidence(text, (SampleRef.of(corpus, sample),)))
    return n, tuple(false)


def _compared(corpus: Corpus, sample: Sample, width: float) -> Iterator[tuple[bool, str]]:
    """Yield True and a text for each claim that holds, False for each that does not."""
    made = corpus.provenance
    if not sample.operations or (made.size is not None and made.options.get("stage") != "input"):
        return  # pixels were resized after the operations
    last = sample.operations[-1]
    claimed = last.get("quality")
    if isinstance(claimed, int) and str(last["op"]).partition(":")[0] == "jp":
        is_true = claimed > _VISIBLE or shows_quality(corpus.grey(sample), claimed)
        yield is_true, f"JPEG {claimed} is recorded, and the pixels do not show it"
    if sample.box is not None and made.size is None:
        expected = _size(sample.box[2], sample.operations)
        is_true = abs(width - expected) <= len(sample.operations) + 1
        yield is_true, f"{expected:.0f} px are recorded, the image has {width:.0f}"


def _size(size: float, operations: tuple[Mapping[str, Any], ...]) -> float:
    for each in operations:
        if str(each["op"]).partition(":")[0] in ("sc", "sc-cubic"):
            size = round(size * (100 + each.get("percent", 0)) / 100)
        elif "size" in each:  # of equalize
            size = each["size"]
    return size


def judge(found: TrustMeasured) -> Iterator[Finding]:
    """Yield findings on damaged records, false claims, and unequal processing."""
    if found.n_problems:
        yield Finding(
            CHECK.name, "high", "Records differ from the manifest",
            counted(found.n_problems, "problem"), tuple(map(Evidence, found.problems)),
            "Digests, labels and splits of these samples are not what the corpus says.",
            f"hffkit verify {found.names}",
        )  # fmt: skip
    if found.unreadable and not found.n_problems:
        yield Finding(
            CHECK.name, "medium", "Records have a damaged header",
            counted(len(found.unreadable), "sample"), found.unreadable[:_N_SHOWN],
            "Other decoders may refuse them, and no other check can judge them.", "",
        )  # fmt: skip
    if len(found.false_claims) > _MOST_WRONG * found.n_claims:
        yield Finding(
            CHECK.name, "medium", "Recorded operations are not those that the pixels show",
            f"{len(found.false_claims)} of {counted(found.n_claims, 'claim')}",
            found.false_claims[:_N_SHOWN],
            "Results for the named operations were measured on others.", "",
        )  # fmt: skip
    yield from _unequal(found)
    if found.n_without_detector:
        yield Finding(
            CHECK.name, "low", "Crops have no record of their detector",
            counted(found.n_without_detector, "sample"), (),
            "The crops cannot be reproduced.", "",
        )  # fmt: skip


def _unequal(found: TrustMeasured) -> Iterator[Finding]:
    n = Counter[str]()
    for counts in found.processings.values():
        n.update(counts)
    if not n["fake"] or not n["real"]:
        return
    different = {
        name: counts["fake"] / n["fake"] - counts["real"] / n["real"]
        for name, counts in found.processings.items()
    }
    worst = max(different, key=lambda name: abs(different[name]))
    if abs(different[worst]) > _MOST_DIFFERENCE:
        shown = tuple(
            Evidence(f"{name or 'no operation'}: {counts['fake']} fake, {counts['real']} real")
            for name, counts in islice(found.processings.items(), _N_SHOWN)
        )
        yield Finding(
            CHECK.name, "high", "Fake and real samples were processed differently",
            f"{100 * abs(different[worst]):.0f} % of one side more have "
            f"{worst or 'no operation'}", shown,
            "A detector learns the operation in place of the forgery.",
            equalize_command(found.names),
        )  # fmt: skip


CHECK = AuditCheck("trust", "Records and recorded operations", "trust", measure, judge)
