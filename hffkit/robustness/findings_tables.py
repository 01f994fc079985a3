"""Findings as Markdown tables and as CSV."""

from collections.abc import Iterator, Mapping, Sequence

from hffkit.degrade.suites import Suite
from hffkit.evaluation.levels import Estimate
from hffkit.evaluation.metrics import METRICS, UNDEFINED, LevelName, Metric
from hffkit.evaluation.tables import interval_text, level_title
from hffkit.reports.text_table import Table
from hffkit.robustness.conditions import CLEAN
from hffkit.robustness.findings import (
    AREA_METRICS,
    LevelFindings,
    RobustnessResult,
    RunFindings,
    SuiteFindings,
)
from hffkit.robustness.values import MEASURED
from hffkit.storage.csv_files import csv_text
from hffkit.storage.outputs import CONDITIONS

_PLAIN = ("accuracy", "auc", "eer", "calibration_error")  # columns of tables
_SIGNED = Metric("difference", "fraction", METRICS["auc"].compute)


def markdown_of(result: RobustnessResult) -> str:
    """Return the tables as Markdown: over suites, then by operation and severity."""
    parts = [f"{overview(result).to_markdown()}\n"]
    parts += [f"- {note}\n" for note in notes_of(result)]
    for run in result.runs:
        for level, found in run.levels.items():
            for one in found.suites:
                title = f"{one.suite.name}: {run.name}, {level_title(level).lower()}"
                parts.append(f"## {title}\n")
                parts.append(f"{conditions_table(found, one).to_markdown()}\n")
        for suite in result.suites if run.decisions else ():
            parts.append(f"## {suite.name}: decision of {run.name}\n")
            parts.append(f"{decisions_table(run, suite).to_markdown()}\n")
    return "\n".join(parts)


def notes_of(result: RobustnessResult) -> list[str]:
    """Return what to know before reading the figures."""
    each = ((run, note) for run in result.runs for note in (run.overlap.note, run.collapse))
    return [*(f"{run.name}: {note}" for run, note in each if note), *result.notes]


def overview(result: RobustnessResult) -> Table:
    """Return a table with a row for each run, level and suite."""
    rows = [
        _overview_row(run, level, found, one)
        for run in result.runs
        for level, found in run.levels.items()
        for one in found.suites
    ]
    header = (
        "Run", "Level", "Suite", "Clean AUC", "Robust AUC",
        "less clean", "Lowest AUC", "under", "Right under all",
    )  # fmt: skip
    return Table(header, tuple(rows), left=(0, 1, 2, 7))


def _overview_row(
    run: RunFindings, level: LevelName, found: LevelFindings, one: SuiteFindings
) -> tuple[str, ...]:
    worst = one.worst
    lowest = ("", "") if worst is None else (_auc(worst.estimates["auc"]), worst.entry.title)
    return (
        run.name,
        level_title(level),
        one.suite.name,
        _auc(found.clean["auc"]),
        _auc(one.robust_auc),
        difference_text(one.robust_auc_difference),
        *lowest,
        interval_text(METRICS["accuracy"], one.always_right),
    )


def conditions_table(found: LevelFindings, one: SuiteFindings) -> Table:
    """Return a table with a row for the clean images, for each condition and each area."""
    heads = [MEASURED[name].title for name in _PLAIN]
    heads.insert(2, "AUC less clean")
    limits = [each.limit for each in found.thresholds]
    heads += [f"TPR (FPR) at clean FPR {100 * limit:g} %" for limit in limits]
    clean = _cells(found.clean, None, limits)
    rows = [("clean", "0", "", *clean)]
    for each in one.conditions:
        entry = each.entry
        cells = _cells(each.estimates, each.differences["auc"], limits)
        rows.append((entry.operation, str(entry.severity), entry.chain.name, *cells))
    for operation, areas in one.areas.items():
        n_empty = len(clean) - 2
        texts = [interval_text(MEASURED[name], areas[name]) for name in AREA_METRICS]
        rows.append((operation, "area", "", *texts, *([""] * n_empty)))
    return Table(("Operation", "Severity", "Chain", *heads), tuple(rows), left=(0, 2))


def decisions_table(run: RunFindings, suite: Suite) -> Table:
    """Return whether the guarantees of a run's decision are kept, clean and by condition."""
    chains = {"clean": CLEAN}
    chains |= {entry.title: entry.chain.name for entry in suite.entries}
    rows = []
    for title, name in chains.items():
        check = run.decisions[name]
        rows += [(title, *row) for row in check.to_table().rows[: len(check.guarantees)]]
    header = ("Condition", "Mistake", "Promised", "Here [95 % interval]", "Outcome")
    return Table(header, tuple(rows), left=(0, 1, 4))


def _cells(
    estimates: Mapping[str, Estimate], difference: Estimate | None, limits: Sequence[float]
) -> list[str]:
    cells = [interval_text(MEASURED[name], estimates[name]) for name in _PLAIN]
    cells.insert(2, UNDEFINED if difference is None else difference_text(difference))
    for limit in limits:
        tpr, fpr = (f"{rate}_at_clean_fpr_{limit:g}" for rate in ("tpr", "fpr"))
        reached = MEASURED[fpr].text(estimates[fpr].value)
        cells.append(f"{interval_text(MEASURED[tpr], estimates[tpr])} ({reached})")
    return cells


def difference_text(estimate: Estimate) -> str:
    """Return a difference of fractions with its sign and interval."""
    text = interval_text(_SIGNED, estimate)
    return f"+{text}" if estimate.value is not None and estimate.value > 0 else text


def _auc(estimate: Estimate) -> str:
    return interval_text(METRICS["auc"], estimate)


def csv_of(result: RobustnessResult) -> str:
    """Return a line for each run, level, condition and metric, the clean images first."""
    return csv_text((CONDITIONS.names, *_lines(result)))


def _lines(result: RobustnessResult) -> Iterator[tuple[object, ...]]:
    for run in result.runs:
        for level, found in run.levels.items():
            for name, estimate in found.clean.items():
                numbers = (*_numbers(estimate), "", "", "")
                yield run.name, level, "", "clean", 0, "", name, *numbers
            for one in found.suites:
                yield from ((run.name, level, one.suite.name, *row) for row in _csv_rows(one))


def _csv_rows(one: SuiteFindings) -> Iterator[tuple[object, ...]]:
    for each in one.conditions:
        entry = each.entry
        for name, estimate in each.estimates.items():
            numbers = (*_numbers(estimate), *_numbers(each.differences[name]))
            yield entry.operation, entry.severity, entry.chain.name, name, *numbers


def _numbers(estimate: Estimate) -> Sequence[str]:
    interval = estimate.interval
    bounds = (None, None) if interval is None else (interval.low, interval.high)
    return ["" if value is None else f"{value:.9g}" for value in (estimate.value, *bounds)]
