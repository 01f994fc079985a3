"""The mean and spread of the profiles of each class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hffkit.manifest.classes import ClassTable
from hffkit.reports.page import Figure
from hffkit.spectrum.cache import profiles_of_items
from hffkit.spectrum.features import FeatureSpec, resampled
from hffkit.storage.labels import Items

if TYPE_CHECKING:
    from hffkit.reports.plots import Curve


def curves_of(
    items: Items, table: ClassTable, spec: FeatureSpec, *, n_workers: int
) -> "list[Curve]":
    """Return a curve for each class that has samples, real ones first, in the table's order.

    Raises
    ------
    ImageError
        If images have no spectrum, or profiles of several lengths that are not resampled.
    """
    from hffkit.reports.plots import Curve  # late: matplotlib takes a second

    features = resampled(profiles_of_items(items, spec, n_workers=n_workers), spec)
    names = np.array([sample.cls for _, sample in items])
    curves = []
    for row in sorted(table, key=lambda row: row.is_fake):
        chosen = features[names == row.name]
        if len(chosen):
            mean, spread = chosen.mean(axis=0), chosen.std(axis=0)
            curves.append(Curve(row.name, row.is_fake, len(chosen), mean, spread))
    return curves


def value_of(spec: FeatureSpec) -> str:
    """Return what the profiles of a spec are of, for an axis."""
    return "mean of 20 ln|F|" + (", first value 1" if spec.first_bin else "")


def figure_of(items: Items, table: ClassTable, spec: FeatureSpec, *, n_workers: int) -> Figure:
    """Return the curves as a figure of a page."""
    from hffkit.reports.plots import profile_plot

    curves = curves_of(items, table, spec, n_workers=n_workers)
    return Figure(
        "Spectra",
        f"Mean profile of each class and one standard deviation to each side ({spec}).",
        f"Radially averaged power spectra of {', '.join(curve.name for curve in curves)}.",
        profile_plot(curves, value_of(spec)),
    )


def curves_json(curves: "Sequence[Curve]") -> list[dict[str, Any]]:
    """Return curves as JSON values."""
    return [
        {
            "class": curve.name,
            "is_fake": curve.is_fake,
            "n_pictures": curve.n_images,
            "mean": curve.mean.tolist(),
            "spread": curve.spread.tolist(),
        }
        for curve in curves
    ]
