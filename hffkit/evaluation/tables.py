"""Tables of metrics: by level, by class, and across corpora.

What is not defined is a dash, with the reason in the notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hffkit.evaluation.levels import Estimate, Evaluation, Level
from hffkit.evaluation.metrics import METRICS, STRICTEST_FPR, UNDEFINED, LevelName, Metric
from hffkit.reports.text_table import Table
from hffkit.wording import counted

_LEVELS: Mapping[LevelName, str] = {
    "frame": "Images",
    "video_mean": "Videos, mean of frames",
    "video_vote": "Videos, vote of frames",
}


def estimate_text(name: str, estimate: Estimate) -> str:
    """Return a metric of METRICS with its 95 % interval; see `interval_text`."""
    return interval_text(METRICS[name], estimate)


def interval_text(metric: Metric, estimate: Estimate) -> str:
    """Return a metric with its 95 % interval: `96.16 % [95.90, 96.41]`."""
    interval = estimate.interval
    text = metric.text(estimate.value)
    if interval is None:
        return text
    low, high = (metric.text(bound).removesuffix(" %") for bound in (interval.low, interval.high))
    return f"{text} [{low}, {high}]"


def levels_table(levels: Mapping[LevelName, Level]) -> Table:
    """Return a table with a row per metric and a column per level, below rows of counts."""
    rows = [
        ("Real + fake", *(f"{level.n_real} + {level.n_fake}" for level in levels.values())),
        ("Groups", *(str(level.n_groups) for level in levels.values())),
    ]
    for name, metric in METRICS.items():
        if metric.levels:
            each = (level.estimates.get(name) for level in levels.values())
            cells = (UNDEFINED if found is None else estimate_text(name, found) for found in each)
            rows.append((metric.title, *cells))
    heads = [_LEVELS[name] for name in levels]
    return Table(("Metric [95 % interval over groups]", *heads), tuple(rows))


def level_notes(levels: Mapping[LevelName, Level]) -> tuple[str, ...]:
    """Return notes to the table: undefined metrics, resamples left out, few real samples."""
    notes: list[str] = []
    for name, level in levels.items():
        notes += [f"{_LEVELS[name]}: {text}" for text in _notes(level)]
    if "video_vote" in levels:
        notes.append("A vote has no score, so no metric of a ranking.")
    return tuple(notes)


def level_title(name: LevelName) -> str:
    """Return the title of a level."""
    return _LEVELS[name]


def confusion_table(names: Sequence[str], level: Level, title: str) -> Table:
    """Return the confusion matrix as counts and per cent of the row, the true class."""
    rows = []
    for name, counts, percent in zip(names, level.confusion, level.row_percent, strict=True):
        shares = percent if percent is not None else [None] * len(counts)
        cells = [
            f"{count} ({UNDEFINED if share is None else f'{share:.2f} %'})"
            for count, share in zip(counts, shares, strict=True)
        ]
        rows.append((name, *cells))
    return Table((f"{title}: true / predicted", *names), tuple(rows))


def recall_table(levels: Mapping[LevelName, Level]) -> Table:
    """Return a table of the corpus's classes: kind, images, and recall by level.

    The recall is the share of a class whose predicted class, or fake and real if the detector
    distinguishes no more, is right.
    """
    found = {name: {row.name: row for row in level.methods} for name, level in levels.items()}
    rows = []
    for row in levels["frame"].methods:
        each = (rows_of_level.get(row.name) for rows_of_level in found.values())
        recalls = (METRICS["accuracy"].text(None if one is None else one.recall) for one in each)
        called = METRICS["accuracy"].text(row.called_fake)
        kind = "fake" if row.is_fake else "real"
        rows.append((row.name, kind, str(row.n_samples), called, *recalls))
    heads = (f"Recall: {_LEVELS[name].lower()}" for name in levels)
    return Table(("Class of the corpus", "Kind", "Images", "Called fake", *heads), tuple(rows))


def evaluation_markdown(evaluation: Evaluation) -> str:
    """Return the tables of metrics, classes and confusion as Markdown."""
    parts = [levels_table(evaluation.levels).to_markdown()]
    if notes := level_notes(evaluation.levels):
        parts.append("\n".join(f"- {note}" for note in notes))
    parts.append(recall_table(evaluation.levels).to_markdown())
    for name, level in evaluation.levels.items():
        parts.append(
            confusion_table(evaluation.classes.names, level, level_title(name)).to_markdown()
        )
    return "\n\n".join(parts) + "\n"


# Of an accuracy: the balanced one, and the share of the largest class.
_BESIDE = {
    "accuracy": ("class_mean_accuracy", "majority_accuracy"),
    "binary_accuracy": ("binary_class_mean_accuracy", "binary_majority_accuracy"),
}


@dataclass(frozen=True, slots=True)
class CrossTable:
    """Evaluations by the run, or what it was trained on, and the corpus tested on."""

    cells: Mapping[tuple[str, str], Evaluation]  # (trained on, tested on); pairs may be missing
    training: frozenset[tuple[str, str]] = frozenset()  # cells with training samples among them

    @property
    def accuracy(self) -> str:
        """Name of the accuracy that all cells show.

        It is fake against real if the detectors do not distinguish the same classes, since the
        accuracies of three classes and of two are not comparable.
        """
        kinds = {
            frozenset((row.name, row.is_fake) for row in found.classes)
            for found in self.cells.values()
        }
        return "accuracy" if len(kinds) == 1 else "binary_accuracy"

    def to_json(self) -> list[dict[str, object]]:
        """Return a row per pair: trained, tested, and metrics with their intervals.

        These are `accuracy`, the balanced one, its baseline, and the AUC. `training_figures` is
        true if the run was trained on some of the samples.
        """
        names = (*_BESIDE[self.accuracy], self.accuracy, "auc")
        return [
            {
                "trained_on": trained,
                "tested_on": tested,
                "training_figures": (trained, tested) in self.training,
                **{name: found.frame.estimates[name].to_json() for name in names},
            }
            for (trained, tested), found in self.cells.items()
        ]

    def to_table(self) -> Table:
        """Return the table, below a row of baselines.

        A cell is balanced accuracy, accuracy and AUC of images with 95 % intervals.
        """
        trained = dict.fromkeys(pair[0] for pair in self.cells)
        tested = tuple(dict.fromkeys(pair[1] for pair in self.cells))
        balanced, baseline = _BESIDE[self.accuracy]
        first = (METRICS[baseline].title, *(self._baseline(baseline, other) for other in tested))
        rows = ((one, *(self._cell(one, other, balanced) for other in tested)) for one in trained)
        corner = f"Trained on / tested on: {METRICS[self.accuracy].title.lower()}; AUC"
        return Table((corner, *tested), (first, *rows))

    def _baseline(self, name: str, tested: str) -> str:
        found = (cell for (_, other), cell in self.cells.items() if other == tested)
        return estimate_text(name, next(found).frame.estimates[name])

    def _cell(self, trained: str, tested: str, balanced: str) -> str:
        found = self.cells.get((trained, tested))
        if found is None:
            return UNDEFINED
        shown = {balanced: "balanced", self.accuracy: "accuracy", "auc": "AUC"}
        texts = [
            f"{word} {estimate_text(name, found.frame.estimates[name])}"
            for name, word in shown.items()
        ]
        only = found.frame.only_prediction(found.classes.names)
        remarks = [
            *(["training figures"] if (trained, tested) in self.training else []),
            *([f"all predictions are {only}"] if only is not None else []),
        ]
        return "; ".join(texts) + (f" ({', '.join(remarks)})" if remarks else "")


def _notes(level: Level) -> list[str]:
    reasons = [found.reason for found in level.estimates.values() if found.reason]
    notes = list(dict.fromkeys(reasons))
    if level.n_groups < 2:
        notes.append("one group only, so no intervals.")
    undefined: dict[int, list[str]] = {}
    for name, found in level.estimates.items():
        if found.interval and found.interval.n_left_out:
            undefined.setdefault(found.interval.n_left_out, []).append(METRICS[name].title)
    for n_left_out, titles in undefined.items():
        notes.append(f"{', '.join(titles)}: {n_left_out} resamples without a value are left out.")
    if level.n_fake and 0 < level.n_real * STRICTEST_FPR < 1 and "auc" in level.estimates:
        notes.append(
            f"{counted(level.n_real, 'real')}: no false alarm is allowed at an FPR below "
            f"{100 / level.n_real:.3g} %."
        )
    return notes
