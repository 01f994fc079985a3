"""Levels as tables for people; figures that are not defined are dashes, with the reason beside."""

from collections.abc import Mapping, Sequence

from hffkit.evaluation.levels import Estimate, Level, LevelName
from hffkit.reports.table import Table

UNDEFINED = "–"  # noqa: RUF001 - the dash of tables
FPR_LIMITS: Mapping[str, float] = {
    "tpr_at_fpr_0.001": 0.001,
    "tpr_at_fpr_0.01": 0.01,
    "tpr_at_fpr_0.1": 0.1,
}
_TITLES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "class_mean_accuracy": "Class-mean accuracy",
    "binary_accuracy": "Fake/real accuracy",
    "auc": "AUC",
    "eer": "Equal error rate",
    "average_precision": "Average precision",
    "tpr_at_fpr_0.001": "TPR at FPR 0.1 %",
    "tpr_at_fpr_0.01": "TPR at FPR 1 %",
    "tpr_at_fpr_0.1": "TPR at FPR 10 %",
    "calibration_error": "Calibration error",
}
_AS_FRACTION = frozenset({"auc", "average_precision", "calibration_error"})
_LEVELS: Mapping[LevelName, str] = {
    "frame": "Images",
    "video_mean": "Videos, mean of frames",
    "video_vote": "Videos, vote of frames",
}


def figure(name: str, value: float | None) -> str:
    """Return a metric as text: `96.16 %`, `0.9876`, or a dash."""
    if value is None:
        return UNDEFINED
    return f"{value:.4f}" if name in _AS_FRACTION else f"{100 * value:.2f} %"


def estimate_text(name: str, estimate: Estimate) -> str:
    """Return a metric with its 95 % interval: `96.16 % [95.90, 96.41]`."""
    text = figure(name, estimate.value)
    if estimate.interval is None:
        return text
    bounds = (estimate.interval.low, estimate.interval.high)
    low, high = (figure(name, bound).removesuffix(" %") for bound in bounds)
    return f"{text} [{low}, {high}]"


def levels_table(levels: Mapping[LevelName, Level]) -> Table:
    """Return a table of a row a metric and a column a level, after one of counts."""
    rows = [
        ("Real + fake", *(f"{level.n_real} + {level.n_fake}" for level in levels.values())),
        ("Groups", *(str(level.n_groups) for level in levels.values())),
    ]
    for name, title in _TITLES.items():
        cells = [
            estimate_text(name, level.estimates[name]) if name in level.estimates else UNDEFINED
            for level in levels.values()
        ]
        rows.append((title, *cells))
    heads = [_LEVELS[name] for name in levels]
    return Table(("Metric [95 % interval over groups]", *heads), tuple(rows))


def level_notes(levels: Mapping[LevelName, Level]) -> tuple[str, ...]:
    """Return what a reader of the table must know: missing metrics, resamples, few reals."""
    notes: list[str] = []
    for name, level in levels.items():
        notes += [f"{_LEVELS[name]}: {text}" for text in _notes(level)]
    if "video_vote" in levels:
        notes.append("A vote has no score, so no metric of a ranking.")
    return tuple(notes)


def confusion_table(names: Sequence[str], level: Level) -> Table:
    """Return the confusion matrix as counts and per cent of the row, the true class."""
    rows = []
    for name, counts, percent in zip(names, level.confusion, level.row_percent, strict=True):
        shares = percent if percent is not None else [None] * len(counts)
        cells = [
            f"{count} ({UNDEFINED if share is None else f'{share:.2f} %'})"
            for count, share in zip(counts, shares, strict=True)
        ]
        rows.append((name, *cells))
    return Table(("True class / predicted", *names), tuple(rows))


def recall_table(names: Sequence[str], kinds: Sequence[str], level: Level) -> Table:
    """Return a table of each class, its kind (real or fake), its samples and its recall."""
    totals = (str(sum(counts)) for counts in level.confusion)
    recalls = (figure("recall", value) for value in level.recalls)
    return Table(
        ("Class", "Kind", "Samples", "Recall"),
        tuple(zip(names, kinds, totals, recalls, strict=True)),
    )


def _notes(level: Level) -> list[str]:
    reasons = [found.reason for found in level.estimates.values() if found.reason]
    notes = list(dict.fromkeys(reasons))
    if level.n_groups < 2:
        notes.append("one group only, so no intervals.")
    undefined: dict[int, list[str]] = {}
    for name, found in level.estimates.items():
        if found.interval and found.interval.n_left_out:
            undefined.setdefault(found.interval.n_left_out, []).append(_TITLES[name])
    for n_left_out, titles in undefined.items():
        notes.append(f"{n_left_out} resamples do not define {', '.join(titles)}; left out there.")
    strictest = min(FPR_LIMITS.values())
    if level.n_fake and 0 < level.n_real * strictest < 1 and "auc" in level.estimates:
        notes.append(
            f"{level.n_real} reals allow no false alarm at an FPR below {100 / level.n_real:.2g} %."
        )
    return notes
