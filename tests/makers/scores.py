"""Scored samples without a detector."""

from collections.abc import Sequence

import numpy as np

from hffkit.manifest.classes import BINARY
from hffkit.runs.scores import Scored, binary_probabilities


def scored_groups(rows: Sequence[tuple[str, str | None, float, bool]]) -> Scored:
    """Return samples of a group, a video or None, a score, and whether they are fake."""
    scores = np.array([row[2] for row in rows])
    return Scored(
        BINARY,
        np.array([0 if row[3] else 1 for row in rows], np.int64),
        binary_probabilities(scores),
        tuple(f"k{place}" for place in range(len(rows))),
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
    )
