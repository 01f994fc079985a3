"""Estimate the cost of a build by building one of its units, or a part of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from hffkit.corpus.build import BuildJob, BuildWork
from hffkit.errors import CorpusError
from hffkit.execution.assemble import share
from hffkit.execution.temporary import temporary_folder
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import ImageBlock, Unit, weight
from hffkit.media.spacing import evenly
from hffkit.storage.parts import PartWriter, Record, read_part

_MAX_TRIALS = 5  # units that are built until one gives a sample
_N_IMAGES = 32  # of a block of images that are built


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    """The cost of a build, scaled by bytes from those files of a unit that were built."""

    n_units: int
    n_files: int
    n_samples: int
    n_bytes: int
    hours: float
    measured_on: tuple[str, ...]  # files that were built
    seconds: float  # that it took


def estimate(
    job: BuildJob,
    *,
    n_workers: int,
    shard: tuple[int, int] | None = None,
    on_trial: Callable[[tuple[str, ...]], object] = lambda _: None,
) -> BuildEstimate:
    """Estimate a build by building a family of about the median weight, or some images.

    `on_trial` is called with the files before they are built, which takes seconds for videos.

    Raises
    ------
    CorpusError
        If none of the units that were tried gives a sample.
    """
    root = job.settings.root
    units = job.listing.units[share(len(job.listing.units), shard)]
    weights = sorted((weight(unit, root), number) for number, unit in enumerate(units))
    total = sum(row[0] for row in weights)
    from_the_middle = sorted(weights, key=lambda row: abs(row[0] - weights[len(weights) // 2][0]))
    for _, number in from_the_middle[:_MAX_TRIALS]:
        unit = _part_of(units[number])
        on_trial(unit.paths)
        n_samples, n_bytes, seconds = _measure(unit, job.settings)
        if n_samples:
            scale = total / max(weight(unit, root), 1)
            return BuildEstimate(
                n_units=len(units),
                n_files=sum(len(unit.paths) for unit in units),
                n_samples=round(n_samples * scale),
                n_bytes=round(n_bytes * scale),
                hours=seconds * scale / n_workers / 3600,
                measured_on=unit.paths,
                seconds=seconds,
            )
    raise CorpusError(f"{root}: none of the inputs that were tried gave a sample.")


def _part_of(unit: Unit) -> Unit:
    """Return a block of a few images; the videos of a family depend on each other."""
    if isinstance(unit, ImageBlock):
        return ImageBlock(tuple(evenly(unit.items, _N_IMAGES)))
    return unit


def _measure(unit: Unit, settings: Settings) -> tuple[int, int, float]:
    """Build a unit and return the samples and bytes that it gives, and the seconds it takes."""
    with temporary_folder() as folder:
        path = folder / "unit.part"
        begin = time.perf_counter()
        with PartWriter(path) as part:
            BuildWork(settings)(unit, part)
        seconds = time.perf_counter() - begin
        n_samples = sum(isinstance(e, Record) for e in read_part(path, with_values=False))
        return n_samples, path.stat().st_size, seconds
