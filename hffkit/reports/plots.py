"""Plots as SVG; the same numbers give the same bytes. The import takes a second.

Figures are drawn on white, with letters as outlines: they look alike in every browser and on
paper. Class names are text of the user's, never mathematics.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle, product, zip_longest
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.reports.colours import FAKE, REAL, UNDECIDED
from hffkit.wording import displayable

_QUIET = "#c8ccd2"
_REALS = (REAL, "#56b4e9", "#009e73", "#332288", "#44aa99", "#117733", "#6699cc", "#004488")
_FAKES = (FAKE, "#e69f00", "#cc79a7", "#882255", "#a65628", "#999933", "#aa4499", "#ee3377")
_PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")
_STYLE: dict[str, object] = {
    "svg.hashsalt": "hffkit",  # else the names of clip paths are random
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_PANEL_COLUMNS = 4
_LONGEST_LEVEL = 4  # characters below a column of a table
_MOST_MISSING = 3  # classes whose share of missing values a small plot notes
_LONGEST_NAME = 22  # characters; the table beside it has all of them


def confusion_plot(names: Sequence[str], counts: Ints) -> bytes:
    """Plot a confusion matrix, (C, C) with rows of true classes: per cent of rows, and counts."""
    totals = counts.sum(axis=1, keepdims=True)
    percent = 100.0 * counts / np.maximum(totals, 1)
    side = 1.9 + 0.62 * len(names)
    with _style():
        figure, axes = _shaded(names, names, percent, (side + 0.5, side))
        for (row, column), count in np.ndenumerate(counts):
            share = percent[row, column]
            text = f"{share:.1f}\n{count}" if totals[row, 0] else "–"  # noqa: RUF001
            colour = "white" if share > 55 else "#666666" if count == 0 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        axes.set(xlabel="predicted class", ylabel="true class", title="% of true class, images")
        return _encoded(figure)


def heat_map(
    rows: Sequence[str], columns: Sequence[str], percent: Floats64, *, lowest: float = 0
) -> bytes:
    """Plot a table of (R, C) percentages as colours and numbers; NaN stays empty.

    Colours begin at `lowest`.
    """
    size = (2.2 + 0.68 * len(columns), 1.3 + 0.36 * len(rows))
    with _style():
        figure, axes = _shaded(rows, columns, percent, size, lowest)
        dark = lowest + 0.55 * (100 - lowest)
        for (row, column), share in np.ndenumerate(percent):
            if np.isfinite(share):
                text, colour = f"{share:.1f}", "white" if share > dark else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        return _encoded(figure)


def roc_plot(fpr: Floats64, tpr: Floats64) -> bytes:
    """Plot a ROC curve twice: linear, and in steps over a logarithmic FPR from 0.01 %."""
    left = 1e-4
    with _style():
        figure = Figure(figsize=(7.2, 3.4))
        linear, logarithmic = figure.subplots(1, 2)
        _plot_diagonal(linear, [0, 1])
        linear.plot(fpr, tpr, color=FAKE, linewidth=1.6)
        linear.set(xlim=(-0.01, 1.01), aspect="equal")
        _plot_diagonal(logarithmic, np.geomspace(left, 1, 50))
        logarithmic.step(np.maximum(fpr, left), tpr, where="post", color=FAKE, linewidth=1.6)
        logarithmic.set(xscale="log", xlim=(left, 1))
        logarithmic.xaxis.set_major_formatter(_PERCENT)
        for axes in (linear, logarithmic):
            axes.set(ylim=(-0.01, 1.01), xlabel="FPR: real called fake")
            axes.grid(color="#eeeeee")
            axes.set_axisbelow(True)
        linear.set_ylabel("TPR: fake called fake")
        return _encoded(figure)


def score_plot(real: Floats64, fake: Floats64, name: str) -> bytes:
    """Plot histograms of the scores, in [0, 1], of real and of fake images, each summing to 1.

    `name` says what a score is.
    """
    edges = np.linspace(0, 1, 41)
    with _style():
        figure = Figure(figsize=(4.6, 3.1))
        axes = figure.subplots()
        for kind, scores, colour in (("real", real, REAL), ("fake", fake, FAKE)):
            share = np.histogram(scores, edges)[0] / max(len(scores), 1)
            label = f"{kind} ({len(scores)})"
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
            axes.stairs(share, edges, color=colour, linewidth=1.4, label=label)
        axes.axvline(0.5, color=UNDECIDED, linestyle="--", linewidth=1)
        axes.set(xlim=(0, 1), xlabel=f"score: {name}", ylabel="share of the images")
        axes.yaxis.set_major_formatter(_PERCENT)
        figure.legend(loc="outside upper center", ncols=2)
        return _encoded(figure)


def scores_over_time(
    frames: Ints, scores: Floats64, is_largest: Bools, limits: Sequence[float]
) -> bytes:
    """Plot scores (N,) in [0, 1] of faces over the number of their frame, in order.

    The largest faces of the frames are connected by a line; dashed lines are at the limits.
    """
    with _style():
        figure = Figure(figsize=(6.4, 2.2))
        axes = figure.subplots()
        for limit in limits:
            axes.axhline(limit, color=UNDECIDED, linestyle="--", linewidth=1)
        axes.plot(frames[is_largest], scores[is_largest], color=FAKE, marker="o", markersize=3)
        axes.plot(frames[~is_largest], scores[~is_largest], "x", color=REAL, markersize=4)
        axes.set(ylim=(-0.03, 1.03), xlabel="frame", ylabel="score of fake")
        return _encoded(figure)


def calibration_plot(counts: Ints, confidence: Floats64, accuracy: Floats64) -> bytes:
    """Plot accuracy over confidence for (B,) bins of equal width, above their counts."""
    edges = np.linspace(0, 1, len(counts) + 1)
    filled = counts > 0
    with _style():
        figure = Figure(figsize=(3.6, 4.0))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _plot_diagonal(upper, [0, 1])
        sizes = 8 + 60 * counts[filled] / counts.max()  # bins of few images are unreliable
        upper.scatter(
            confidence[filled], accuracy[filled], sizes, color=REAL, clip_on=False, zorder=3
        )
        upper.set(xlim=(0, 1), ylim=(-0.03, 1.03), ylabel="share that is right")
        upper.grid(color="#eeeeee")
        lower.stairs(counts, edges, fill=True, color=_QUIET)
        lower.set(xlabel="confidence of the predicted class", ylabel="images")
        figure.align_ylabels()
        return _encoded(figure)


@dataclass(frozen=True, slots=True)
class Curve:
    """The mean profile of a class and its standard deviation."""

    name: str
    is_fake: bool
    n_images: int
    mean: Floats64  # (P,)
    spread: Floats64  # (P,)

    def to_json(self) -> dict[str, object]:
        """Return the curve as JSON values."""
        return {
            "class": self.name,
            "is_fake": self.is_fake,
            "n_pictures": self.n_images,  # an earlier name of the count
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
        }


def line_styles(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Return the colour and dashes of each curve, different for up to 16 classes of a kind."""
    fakes = cycle(product(("--", ":"), _FAKES))
    reals = cycle(product(("-", "-."), _REALS))
    styles = (next(fakes if curve.is_fake else reals) for curve in curves)
    return [(colour, dashes) for dashes, colour in styles]


def profile_plot(curves: Sequence[Curve], value: str, kind: Literal["svg", "png"] = "svg") -> bytes:
    """Plot the mean profile of each class, with a band of one standard deviation to each side.

    Real classes are drawn solid in blues and greens, fake ones dashed in warm colours; `value` is
    the title of the axis of profile values.
    """
    with _style():
        figure = Figure(figsize=(7.2, 4.0))
        axes = figure.subplots()
        for curve, (colour, dashes) in zip(curves, line_styles(curves), strict=True):
            places = np.arange(1, len(curve.mean) + 1)
            label = f"{_plain(curve.name)} ({curve.n_images})"
            low, high = curve.mean - curve.spread, curve.mean + curve.spread
            axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                places, curve.mean, color=colour, linewidth=1.5, linestyle=dashes, label=label
            )
        axes.set(xlabel="point of the profile: low to high frequency", ylabel=value)
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
        figure.legend(loc="outside upper center", ncols=3)
        return _encoded(figure, kind)


@dataclass(frozen=True, slots=True)
class Multiple:
    """The values of one fact by class, for one of several small plots."""

    title: str
    values: tuple[tuple[str, bool, Floats64], ...]  # class, True if fake, its values
    labels: tuple[str, ...] = ()  # of the values of a category, by number


def small_multiples(multiples: Sequence[Multiple]) -> bytes:
    """Plot the distributions of facts by class in small plots of one legend.

    The share of NaN stands below a plot. Real classes are drawn solid, fake ones dashed, in the
    colours of `profile_plot`.
    """
    n_columns = min(4, len(multiples))
    n_rows = -(-len(multiples) // n_columns)
    classes = [(name, is_fake) for name, is_fake, _ in multiples[0].values]
    n_lines = -(-len(classes) // n_columns)  # of the legend
    empty = np.zeros(0)
    styles = line_styles([Curve(name, fake, 0, empty, empty) for name, fake in classes])
    with _style():
        figure = Figure(figsize=(2.4 * n_columns, 0.3 + 0.2 * n_lines + 1.8 * n_rows))
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for axes, multiple in zip_longest(grid.flat, multiples):
            if multiple is None:
                axes.set_axis_off()
            else:
                _plot_multiple(axes, multiple, styles)
        for (name, _), (colour, dashes) in zip(classes, styles, strict=True):
            label = _plain(name)
            grid.flat[0].plot([], [], color=colour, linestyle=dashes, label=label)
        figure.legend(loc="outside upper center", ncols=n_columns)
        return _encoded(figure)


def _plot_multiple(axes: Axes, multiple: Multiple, styles: Sequence[tuple[str, str]]) -> None:
    known = [values[np.isfinite(values)] for _, _, values in multiple.values]
    everything = np.concatenate([*known, np.zeros(0)])
    low, high = (everything.min(), everything.max()) if len(everything) else (0, 0)
    edges = np.linspace(low, high if high > low else low + 1, 31)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if high - low <= 60 and not np.any(everything % 1):  # a bin for each whole number
        edges = np.arange(low - 0.5, high + 1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    for values, (_, _, given), (colour, dashes) in zip(known, multiple.values, styles, strict=True):
        share = np.histogram(values, edges)[0] / max(len(given), 1)
        axes.stairs(share, edges, color=colour, linewidth=1.4, linestyle=dashes)
    if multiple.labels:
        places = range(int(low), int(high) + 1)
        axes.set_xticks(places, [multiple.labels[place] for place in places])
    axes.set_title(multiple.title, parse_math=False)
    _note_missing(axes, [values for _, _, values in multiple.values], [row[0] for row in styles])
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.tick_params(labelsize=7)
    axes.set_ylim(bottom=0)


def _note_missing(axes: Axes, classes: Sequence[Floats64], colours: Sequence[str]) -> None:
    """Write the share of NaN below a plot, in the colours of the classes with the most."""
    shares = [float(np.isnan(values).mean()) if len(values) else 0.0 for values in classes]
    most = sorted(range(len(shares)), key=lambda place: -shares[place])[:_MOST_MISSING]
    shown = [place for place in sorted(most) if shares[place] >= 0.005]
    for column, place in enumerate(shown):
        axes.annotate(
            f"{100 * shares[place]:.0f} % none", (column / _MOST_MISSING, -0.26),
            xycoords="axes fraction", color=colours[place], fontsize=7, va="top",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeverityCurve:
    """A metric over the severities of an operation, from 0 for clean images; NaN: not defined."""

    name: str
    severities: Sequence[int]  # (S + 1,) ascending
    values: Floats64  # (S + 1,)
    low: Floats64  # (S + 1,) the bounds of a band
    high: Floats64


def severity_plot(panels: Mapping[str, Sequence[SeverityCurve]], value: str) -> bytes:
    """Plot curves with their bands, a panel for each operation; `value` is the metric's name.

    Curves of one name have one colour in all panels.
    """
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    colours = dict(zip(names, cycle((REAL, FAKE, *_REALS[1:], *_FAKES[1:])), strict=False))
    n_columns = min(len(panels), _PANEL_COLUMNS)
    n_rows = -(-len(panels) // n_columns)
    with _style():
        figure = Figure(figsize=(1.0 + 2.2 * n_columns, 0.7 + 1.9 * n_rows))
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            for curve in curves:
                places, colour = np.array(curve.severities), colours[curve.name]
                axes.fill_between(
                    places, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0
                )
                axes.plot(places, curve.values, color=colour, marker="o", markersize=2.5)
            axes.set_title(_short(title), parse_math=False)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.grid(color="#eeeeee")
            axes.set_axisbelow(True)
        figure.supxlabel("severity; 0 is the clean image", fontsize=9)
        figure.supylabel(value, fontsize=9)
        handles = [Line2D([], [], color=colours[name], label=_plain(name)) for name in names]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
        return _encoded(figure)


def _plain(name: str) -> str:
    """Return a name that matplotlib does not take for mathematics."""
    return _short(name).replace("$", r"\$")


def _style() -> AbstractContextManager[None]:
    return matplotlib.style.context(_STYLE, after_reset=True)


def _shaded(
    rows: Sequence[str],
    columns: Sequence[str],
    percent: Floats64,
    size: tuple[float, float],
    lowest: float = 0,
) -> tuple[Figure, Axes]:
    """Return a figure of `size` inches with a labelled table (R, C) of percentages as colours."""
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=lowest, vmax=100, aspect="auto")
    is_slanted = max(map(len, columns)) > _LONGEST_LEVEL
    axes.set_xticks(
        range(len(columns)),
        [_short(name) for name in columns],
        rotation=35 if is_slanted else 0,
        ha="right" if is_slanted else "center",
        rotation_mode="anchor",
        parse_math=False,
    )
    axes.set_yticks(range(len(rows)), [_short(name) for name in rows], parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _plot_diagonal(axes: Axes, places: Sequence[float] | Floats64) -> None:
    axes.plot(places, places, color=_QUIET, linestyle="--", linewidth=1)


def _short(name: str) -> str:
    shown = displayable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def _encoded(figure: Figure, kind: Literal["svg", "png"] = "svg") -> bytes:
    """Draw a figure; equal figures give equal bytes.

    `savefig` would draw it twice, the first time to compute its layout.
    """
    image = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure) if kind == "svg" else FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as boxes
        if kind == "svg":
            canvas.print_svg(image, metadata={"Date": None, "Creator": "hffkit"})
        else:
            figure.set_dpi(150)
            canvas.print_png(image, metadata={"Software": "hffkit"})
    return image.getvalue()
