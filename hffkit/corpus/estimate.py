"""Estimate the cost of a build by building one of its units."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hffkit.corpus.build import BuildJob, BuildWork
from hffkit.errors import CorpusError
from hffkit.execution.assemble import share
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Unit, weight
from hffkit.storage.parts import PartWriter, Record, read_part

_MAX_TRIALS = 5  # units that are built until one gives a sample


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    """The cost of a build, scaled from one of its units by the bytes it reads."""

    n_units: int
    n_files: int
    n_samples: int
    n_bytes: int
    hours: float
    measured_on: tuple[str, ...]  # files of the unit that was built
    seconds: float  # that it took


def estimate(
    job: BuildJob, *, n_workers: int, shard: tuple[int, int] | None = None
) -> BuildEstimate:
    """Estimate a build by building a unit of about the median weight.

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
    for bytes_in, number in from_the_middle[:_MAX_TRIALS]:
        n_samples, n_bytes, seconds = _measure(units[number], job.settings)
        if n_samples:
            scale = total / max(bytes_in, 1)
            return BuildEstimate(
                n_units=len(units),
                n_files=sum(len(unit.paths) for unit in units),
                n_samples=round(n_samples * scale),
                n_bytes=round(n_bytes * scale),
                hours=seconds * scale / n_workers / 3600,
                measured_on=units[number].paths,
                seconds=seconds,
            )
    raise CorpusError(f"{root}: none of the inputs that were tried gave a sample.")


def _measure(unit: Unit, settings: Settings) -> tuple[int, int, float]:
    """Build a unit and return the samples and bytes that it gives, and the seconds it takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "unit.part")
        begin = time.perf_counter()
        with PartWriter(path) as part:
            BuildWork(settings)(unit, part)
        seconds = time.perf_counter() - begin
        n_samples = sum(isinstance(e, Record) for e in read_part(path, with_values=False))
        return n_samples, path.stat().st_size, seconds
