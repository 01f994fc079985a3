"""Plots: the styles by which classes are told apart."""

import numpy as np
from matplotlib.colors import to_rgb

from hffkit.manifest.classes import FFPP, HFF_8
from hffkit.reports.plots import Curve, Multiple, line_styles, small_multiples


def curves(kinds: list[bool]) -> list[Curve]:
    return [Curve(f"{i}", is_fake, 1, np.ones(3), np.ones(3)) for i, is_fake in enumerate(kinds)]


def test_every_class_of_a_dataset_has_a_colour_of_its_own() -> None:
    for table in (HFF_8, FFPP):
        styles = line_styles(curves([row.is_fake for row in table]))
        colours = np.array([to_rgb(colour) for colour, _ in styles])
        gaps = np.abs(colours[:, None] - colours[None]).max(axis=2) + np.eye(len(colours))
        assert gaps.min() > 0.1, [row.name for row in table]
        assert [dashes == "--" for _, dashes in styles] == [row.is_fake for row in table]


def test_sixteen_classes_of_a_kind_differ() -> None:
    assert len(set(line_styles(curves([True] * 16 + [False] * 16)))) == 32


def test_small_multiples_take_missing_constant_and_categorical_values() -> None:
    empty, whole = np.full(3, np.nan), np.array([75.0, 75, 95])
    rows = (
        Multiple("quality", (("gan", True, empty), ("photo", False, whole))),
        Multiple(
            "container", (("gan", True, np.ones(3)), ("photo", False, np.zeros(3))), ("a", "b")
        ),
        Multiple("constant", (("gan", True, np.full(2, 0.5)), ("photo", False, np.full(2, 0.5)))),
        Multiple("unknown", (("gan", True, empty), ("photo", False, empty))),
    )
    plot = small_multiples(rows)
    assert plot == small_multiples(rows)
    assert plot.startswith(b"<?xml")
