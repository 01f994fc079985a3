"""Results of `hffkit eval` as JSON values, Markdown, CSV and an HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hffkit.evaluation.decision_check import DecisionCheck
from hffkit.evaluation.doubts import (
    inversion_note,
    operations_note,
    polarity_note,
    recorded_operations,
)
from hffkit.evaluation.kept_checks import KeptChecks
from hffkit.evaluation.levels import Evaluation
from hffkit.evaluation.overlap import Overlap
from hffkit.evaluation.page import Page, Section, render
from hffkit.evaluation.qualities import QualityRow, quality_table
from hffkit.evaluation.seeds import SeedSummary
from hffkit.evaluation.tables import CrossTable, evaluation_markdown
from hffkit.evaluation.thresholds import Sweep, sweep_csv, sweep_table, threshold_of
from hffkit.explain.illustrations import answer_images, class_figures
from hffkit.inference.detector import Detector
from hffkit.inference.shelf import Shelf
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Split
from hffkit.media.image import Image
from hffkit.runs.scores import Scored, csv_of
from hffkit.storage.audits import read_summary
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items, Task
from hffkit.wording import counted

_DIGITS = 12  # of a digest in a title


@dataclass(frozen=True, slots=True)
class EvalData:
    """The samples of one corpus that are measured."""

    name: str
    corpora: tuple[Corpus, ...]
    manifests: tuple[str, ...]  # digests; unlike content_sha256 they cover splits and groups
    items: Items
    table: ClassTable

    @property
    def audits(self) -> tuple[str, ...]:
        """Summaries of the audits that lie beside the corpora."""
        found = (read_summary(corpus) for corpus in self.corpora)
        return tuple(summary.text for summary in found if summary is not None)

    @property
    def title(self) -> str:
        """The name with the first digits of its manifests' digests."""
        return f"{self.name} (manifest {', '.join(each[:_DIGITS] for each in self.manifests)})"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One detector measured on one corpus."""

    detector: Detector
    data: EvalData
    overlap: Overlap
    scored: Scored
    evaluation: Evaluation
    error_reduction: float | None  # relative to the reference run; None: not defined
    qualities: tuple[QualityRow, ...] = ()  # if samples have several
    n_without_mask: int | None = None  # fake samples; None: masks were not compared
    sweeps: tuple[Sweep, ...] = ()  # over thresholds, if requested
    decision: DecisionCheck | None = None  # if the run has one

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks to read before the figures."""
        notes = (
            self.overlap.note,
            self.overlap.selection_note,
            polarity_note(self.detector.run.classes, self.data.table),
            operations_note(self.data.corpora, [sample for _, sample in self.data.items]),
            inversion_note(self.evaluation),
            self.evaluation.collapse,
            self.warning,
            self.decision_note,
        )
        return tuple(note for note in notes if note is not None)

    @property
    def warning(self) -> str | None:
        """Reason to doubt the figures: an unfinished training, or test images seen in training."""
        if self.detector.run.result is None:
            return "unfinished: these are the best weights so far of a running training."
        groups = {sample.group for _, sample in self.data.items if sample.split == "test"}
        n_seen = len(groups & self.detector.groups)
        if not n_seen:
            return None
        return (
            f"{n_seen} of {len(groups)} test groups have the names of groups that the run was "
            "trained or selected on. If these are the same images, the figures mean nothing."
        )

    @property
    def decision_note(self) -> str | None:
        """A broken guarantee, or that samples cannot break it; None if there is nothing to note."""
        if self.decision is None:
            return None
        splits = {sample.split for _, sample in self.data.items}
        sources = (corpus.info.sources_sha256 for corpus in self.data.corpora)
        note = self.decision.decision.note_on({*self.data.manifests, *sources}, splits)
        if note is not None:
            return note
        broken = [row.guarantee for row in self.decision.guarantees if row.outcome == "broken"]
        return f"Broken on these samples: {broken[0].promise}." if broken else None

    def with_kept_checks(self) -> "Measurement":
        """Return the measurement with what `robustness` kept of the decision on these samples."""
        if self.decision is None:
            return self
        shelf = Shelf(self.data.corpora, self.data.items)
        kept = KeptChecks(shelf, self.detector, self.decision.decision)
        return replace(self, decision=replace(self.decision, under_suites=kept.read()))

    @property
    def operations(self) -> str | None:
        """The recorded operations of the samples; None if there are none."""
        return recorded_operations([sample for _, sample in self.data.items])

    @property
    def mask_note(self) -> tuple[str, ...]:
        """The number of fake samples without a mask, if there are any."""
        if not self.n_without_mask:
            return ()
        return (
            f'"Mask cells right" leaves out {counted(self.n_without_mask, "fake")} without a mask.',
        )

    def to_json(self) -> dict[str, object]:
        """Return the measurement and its data as JSON values."""
        return {
            "run": str(self.detector.path),
            "network": self.detector.run.network,
            "weights_sha256": self.detector.weights_sha256,
            "warning": self.warning,
            "notes": self.notes,
            "data": self.data.name,
            "content_sha256": [corpus.content_sha256 for corpus in self.data.corpora],
            "manifest_sha256": list(self.data.manifests),
            "overlap": self.overlap.to_json(),
            **({"audits": list(self.data.audits)} if self.data.audits else {}),
            **({"operations": self.operations} if self.operations else {}),
            "relative_error_reduction": self.error_reduction,
            **({"qualities": [row.to_json() for row in self.qualities]} if self.qualities else {}),
            **({} if self.n_without_mask is None else {"n_without_mask": self.n_without_mask}),
            **({"thresholds": [each.to_json() for each in self.sweeps]} if self.sweeps else {}),
            **({} if self.decision is None else {"decision": self.decision.to_json()}),
            **self.evaluation.to_json(),
        }


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Measurements of all detectors on all corpora."""

    split: Split | None  # None: all samples
    quality: str | None  # None: all samples
    task: Task
    against: Path | None  # the reference run
    measured: tuple[Measurement, ...]
    over_seeds: tuple[SeedSummary, ...] = ()  # of detectors that differ in their seed only

    @property
    def cross(self) -> CrossTable | None:
        """The table of runs against corpora; None if there is one cell only."""
        if len(self.measured) < 2:
            return None
        cells = {(str(one.detector.path), one.data.title): one for one in self.measured}
        training = {place for place, one in cells.items() if one.overlap.n_training}
        evaluations = {place: one.evaluation for place, one in cells.items()}
        return CrossTable(evaluations, frozenset(training))

    def with_kept_checks(self) -> "EvalResult":
        """Return the result with what `robustness` kept of each decision on the same samples."""
        return replace(self, measured=tuple(one.with_kept_checks() for one in self.measured))

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            "split": self.split or "all",
            **({} if self.quality is None else {"quality": self.quality}),
            "task": self.task,
            "against": None if self.against is None else str(self.against),
            "measured": [one.to_json() for one in self.measured],
            "cross": None if self.cross is None else self.cross.to_json(),
            **(
                {"over_seeds": [one.to_json() for one in self.over_seeds]}
                if self.over_seeds
                else {}
            ),
        }

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        parts = [] if self.cross is None else [f"{self.cross.to_table().to_markdown()}\n"]
        for summary in self.over_seeds:
            parts.append(f"## {summary.title}\n")
            parts += [f"{table.to_markdown()}\n" for table in summary.tables()]
        for one in self.measured:
            parts.append(f"## {one.detector.path} on {one.data.title}\n")
            parts += [f"**{note}**\n" for note in one.notes]
            parts += [f"{audit}\n" for audit in one.data.audits]
            parts += [f"Recorded operations: {one.operations}.\n"] if one.operations else []
            parts.append(evaluation_markdown(one.evaluation))
            if one.qualities:
                parts.append(f"{quality_table(one.qualities).to_markdown()}\n")
            parts += [f"{note}\n" for note in one.mask_note]
            if one.decision is not None:
                parts += [f"{table.to_markdown()}\n" for table in one.decision.tables]
                parts += [f"{one.decision.suites_note}\n"] if one.decision.suites_note else []
            if one.sweeps:
                table = sweep_table(one.sweeps, threshold_of(one.detector))
                parts.append(f"{table.to_markdown()}\n")
            if self.against is not None:
                parts.append(f"Relative error reduction {self._error_reduction(one)}\n")
        return "\n".join(parts)

    def to_html(self) -> str:
        """Return one self-contained page."""
        detectors = {one.detector.path: one.detector for one in self.measured}
        page = Page(
            title=f"hffkit eval: {', '.join(map(str, detectors))}",
            facts=[fact for each in detectors.values() for fact in _facts(each)],
            sections=[self._section(one, n_runs=len(detectors)) for one in self.measured],
            cross=None if self.cross is None else self.cross.to_table(),
            over_seeds=[(one.title, one.tables()) for one in self.over_seeds],
        )
        return render(page)

    def to_csv(self) -> str:
        """Return a CSV line for each sample; the result must be of one run on one corpus."""
        (one,) = self.measured
        more = {"split": one.overlap.splits, "trained_on": one.overlap.column}
        return csv_of(one.scored, more)

    def sweeps_csv(self) -> str | None:
        """Return the sweeps over thresholds as CSV, if they were requested."""
        (one,) = self.measured
        return sweep_csv(one.sweeps) if one.sweeps else None

    def _error_reduction(self, one: Measurement) -> str:
        if one.error_reduction is None:
            return f"against {self.against}: not defined, since that run makes no error"
        return f"against {self.against}: {100 * one.error_reduction:.2f} %"

    def _section(self, one: Measurement, *, n_runs: int) -> Section:
        def images_of(places: Sequence[int]) -> list[tuple[Image, ...]]:
            return answer_images(one.detector, [one.data.items[place] for place in places])

        facts: list[tuple[str, str]] = [("split", self.split or "all")]
        facts += [] if self.quality is None else [("quality", self.quality)]
        facts += [("content_sha256", corpus.content_sha256) for corpus in one.data.corpora]
        facts += [("audit", audit) for audit in one.data.audits]
        facts += [("recorded operations", one.operations)] if one.operations else []
        facts += [("masks", note) for note in one.mask_note]
        facts += [("manifest_sha256", digest) for digest in one.data.manifests]
        if self.against is not None:
            facts.append(("relative error reduction", self._error_reduction(one)))
        return Section(
            one.data.title if n_runs == 1 else f"{one.detector.path} on {one.data.title}",
            one.scored,
            one.evaluation,
            images_of,
            facts=facts,
            figures=class_figures(one.detector, one.data.items, one.data.table),
            qualities=quality_table(one.qualities) if one.qualities else None,
            decision=() if one.decision is None else one.decision.tables,
            decision_note=None if one.decision is None else one.decision.suites_note,
            warnings=one.notes,
        )


def _facts(detector: Detector) -> list[tuple[str, str]]:
    facts = [("run", str(detector.path)), ("network", detector.run.summary)]
    facts += [("weights_sha256", detector.weights_sha256), *detector.run.facts]
    return [fact for fact in facts if fact[1]]
