"""Plots: the styles by which classes are told apart."""

import numpy as np
from matplotlib.colors import to_rgb

from hffkit.manifest.classes import FFPP, HFF_8
from hffkit.reports.plots import Curve, line_styles


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
