"""Scores of the samples of corpora."""

from pathlib import PurePosixPath

from hffkit.arrays import Floats32, Floats64, Ints
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.samples import Sample
from hffkit.media.files import IMAGE_SUFFIXES
from hffkit.runs.scores import Scored
from hffkit.storage.labels import Items


def scored_items(
    items: Items,
    outputs: ClassTable,
    labels: Ints,
    probabilities: Floats32,
    margins: Floats64 | None = None,
    *,
    is_probability: bool = True,
) -> Scored:
    """Return samples with the probabilities (N, C) of `outputs`; the others as in Scored."""
    return Scored(
        outputs,
        labels,
        probabilities,
        tuple(sample.key for _, sample in items),
        tuple(sample.group for _, sample in items),
        tuple(video_of(sample) for _, sample in items),
        margins,
        tuple(sample.cls for _, sample in items),
        is_probability,
    )


def video_of(sample: Sample) -> str | None:
    """Return the video that a sample is a frame of; None for an image.

    A frame that was stored as an image belongs to the folder that stands for its video.
    """
    if sample.frame is None:
        return None
    source = PurePosixPath(sample.source)
    return str(source.parent if source.suffix.lower() in IMAGE_SUFFIXES else source)
