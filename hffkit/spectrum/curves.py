"""The mean and spread of the profiles of each class."""

from typing import TYPE_CHECKING

import numpy as np

from hffkit.manifest.classes import ClassTable
from hffkit.reports.html import Figure
from hffkit.spectrum.features import FeatureSpec
from hffkit.spectrum.profiles import Profiler
from hffkit.storage.labels import Items

if TYPE_CHECKING:
    from hffkit.reports.plots import Curve


def curves_of(items: Items, table: ClassTable, profiler: Profiler) -> "list[Curve]":
    """Compute a curve for each class that has samples, real ones first, in the table's order.

    Raises
    ------
    ImageError
        If images have no spectrum, or profiles of several lengths that are not resampled.
    """
    from hffkit.reports.plots import Curve  # late: matplotlib takes a second

    features = profiler.features(items)
    names = np.array([sample.cls for _, sample in items])
    curves = []
    for row in sorted(table, key=lambda row: row.is_fake):
        chosen = features[names == row.name]
        if len(chosen):
            mean, spread = chosen.mean(axis=0), chosen.std(axis=0)
            curves.append(Curve(row.name, row.is_fake, len(chosen), mean, spread))
    return curves


def axis_title(spec: FeatureSpec) -> str:
    """Return the title of the axis of profile values."""
    return "mean of 20 ln|F|" + (", first value 1" if spec.first_bin else "")


def figure_of(items: Items, table: ClassTable, profiler: Profiler) -> Figure:
    """Plot the curves as a figure of a page."""
    from hffkit.reports.plots import profile_plot

    curves = curves_of(items, table, profiler)
    return Figure(
        "Spectra",
        f"Mean profile of each class and one standard deviation to each side ({profiler.spec}).",
        f"Radially averaged power spectra of {', '.join(curve.name for curve in curves)}.",
        profile_plot(curves, axis_title(profiler.spec)),
    )
