"""`hffkit build`: a source's images and videos to a corpus."""

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hffkit.corpus.retry import check_retry, seed_parts
from hffkit.errors import ArgumentError, CorpusError
from hffkit.execution.assemble import Beside, Surplus, WorkPlan, assemble, share
from hffkit.execution.versions import versions
from hffkit.extraction.family import build_family
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.images import build_images
from hffkit.extraction.settings import Settings
from hffkit.extraction.trim import surplus
from hffkit.extraction.units import ImageBlock, Unit, identity, weight
from hffkit.faces.detection import FaceRule, read_boxes
from hffkit.faces.landmarks import predictor_of
from hffkit.manifest.pairs import MASKS, quality_of
from hffkit.options import options_of
from hffkit.sources.ffpp_tree import FfppOptions
from hffkit.sources.listing import Listing
from hffkit.sources.options import SourceOptions, VideoOptions
from hffkit.sources.table import SOURCES, read_source
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance, masks_path
from hffkit.storage.parts import PartWriter, Record, read_part
from hffkit.storage.staging import restore

_TRIED_FOR_ESTIMATE = 5  # units, until one gives a sample


@dataclass(frozen=True, slots=True)
class BuildWork:
    """Builds one unit; what workers are sent."""

    settings: Settings

    def __call__(self, unit: Unit, part: PartWriter) -> None:
        """Write the unit's samples, failures and boxes to `part`."""
        if isinstance(unit, ImageBlock):
            build_images(unit, self.settings, part)
        else:
            build_family(unit, self.settings, part)

    def paths(self, unit: Unit) -> Sequence[str]:
        """Return the files the unit reads."""
        return unit.paths


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A dataset that was listed and the settings to build it with."""

    options: SourceOptions
    listing: Listing
    settings: Settings


def prepare(options: SourceOptions) -> BuildJob:
    """List the dataset and check that it can be built as the options ask; write nothing.

    Raises
    ------
    ArgumentError, CorpusError, ManifestError, UnknownNameError
        If the dataset is not as its source expects, or contradicts the options.
    """
    # Sources of images may hold videos: these are read with the default options.
    videos = options if isinstance(options, VideoOptions) else VideoOptions(options.source)
    if videos.boxes is not None:
        read_boxes(videos.boxes)
    listing = read_source(options)
    has_images = any(isinstance(unit, ImageBlock) for unit in listing.units)
    if videos.boxes is not None and has_images and options.crop == "face":
        raise ArgumentError("`boxes` gives crops of videos: not for `crop` none or images.")
    settings = Settings(
        root=options.src,
        classes=listing.classes,
        plan=FramePlan.parse(videos.frames),
        rule=FaceRule(options.upsample, first=videos.ffpp_compat),
        crop=options.crop,
        size=options.size,
        boxes_file=videos.boxes,
        detect_each=isinstance(options, FfppOptions) and options.detect_on == "each",
        outline=None if options.landmarks is None else predictor_of(options.landmarks),
    )
    return BuildJob(options, listing, settings)


def recorded(options: SourceOptions) -> dict[str, Any]:
    """Return the options of all sources as JSON values for corpus.json.

    Options that the source does not have are recorded with their defaults, and files by their
    SHA-256.
    """
    declared = [each for source in SOURCES.values() for each in options_of(source.options)]
    defaults = {each.field: None if each.default is MISSING else each.default for each in declared}
    row = {**defaults, "qualities": FfppOptions("").named_qualities, **asdict(options)}
    if isinstance(options, FfppOptions):
        row["qualities"] = options.named_qualities
    src = str(row.pop("src"))
    for name, value in row.items():
        if isinstance(value, Path):
            row[name] = hashlib.sha256(_bytes(value)).hexdigest()
    return {**row, "src": src}


def build(
    job: BuildJob,
    out: Path,
    *,
    n_workers: int,
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
) -> CorpusInfo:
    """Build the corpus `out` and return its contents.

    With masks these are a second corpus, at `masks_path(out)`, which has its name before the first
    one has; the result then has the contents of both.

    Parameters
    ----------
    job : BuildJob
        From `prepare`.
    out : Path
        The corpus folder; it must not exist. Work goes on in `out`.partial, and running the same
        command again goes on with it.
    n_workers : int
        Processes.
    scheduler : str, optional
        Of a Dask cluster that does the work instead.
    shard : (I, N), optional
        Build only the I-th of N shares; `merge` joins them. The paper's totals then wait for it.
    retry_failed : bool
        `out` is a corpus that this very request built: do again what could not be read, keep the
        rest, and put the new corpus in its place.
    """
    settings, listing = job.settings, job.listing
    holds_masks = isinstance(job.options, FfppOptions) and job.options.masks
    if retry_failed and holds_masks:
        raise ArgumentError(
            "`retry_failed` replaces one corpus, and `masks` makes two: delete both and build them "
            "again."
        )
    provenance = Provenance(
        classes=listing.classes,
        layout="native" if settings.size is None else "packed",
        size=settings.size,
        labels="multi",
        verb="build",
        options={
            **recorded(job.options),
            "keeps_index": keeps_index(listing),
            "listing": None if shard is None else listing_digest(listing),
        },
        versions=versions("dlib", "libdeflate"),
        shard=shard,
    )
    seed = None
    if retry_failed:
        restore(out)
        old = Corpus(out)
        check_retry(old, provenance)
        seed = partial(seed_parts, old)
    plan = WorkPlan(
        units=listing.units[share(len(listing.units), shard)],
        name=lambda unit: identity(unit, settings.root),
        weight=lambda unit: weight(unit, settings.root),
        size=lambda unit: len(unit.paths),
        work=BuildWork(settings),
        label="build",
        counted="files",
        failures=listing.failures if shard is None or shard[0] == 0 else (),
        surplus=paper_surplus(provenance) if shard is None else None,
        seed=seed,
    )
    if not holds_masks:
        return assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler)
    beside = Beside(masks_path(out), replace(provenance, holds="masks"), _is_mask)
    return assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler, beside=beside)


def _is_mask(key: str) -> bool:
    return quality_of(key) == MASKS


def listing_digest(listing: Listing) -> str:
    """Return a digest of all units: shards of different trees would leave gaps between them."""
    text = json.dumps([asdict(unit) for unit in listing.units], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def keeps_index(listing: Listing) -> bool:
    """Tell whether the records keep the numbers of a list's lines."""
    return any(
        isinstance(unit, ImageBlock) and unit.items[0].index is not None for unit in listing.units
    )


def paper_surplus(provenance: Provenance) -> Surplus | None:
    """Return the selection of samples over the paper's totals; None if it was not asked for."""
    if provenance.options.get("frames") != "paper":
        return None
    seed = int(provenance.options["seed"])
    return lambda samples: surplus(((s.key, s.split) for s in samples), seed=seed)


@dataclass(frozen=True, slots=True)
class BuildEstimate:
    """What a build would cost, measured on one of its units."""

    n_units: int
    n_files: int
    n_samples: int
    n_bytes: int
    hours: float
    measured_on: tuple[str, ...]  # the files of the unit that was built for the clock
    seconds: float  # which that took


def estimate(
    job: BuildJob, *, n_workers: int, shard: tuple[int, int] | None = None
) -> BuildEstimate:
    """Return what a build would cost, by building a unit of about median weight for the clock."""
    root = job.settings.root
    units = job.listing.units[share(len(job.listing.units), shard)]
    weights = sorted((weight(unit, root), number) for number, unit in enumerate(units))
    total = sum(row[0] for row in weights)
    from_the_middle = sorted(weights, key=lambda row: abs(row[0] - weights[len(weights) // 2][0]))
    for bytes_in, number in from_the_middle[:_TRIED_FOR_ESTIMATE]:
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
    """Return samples, bytes and seconds of one unit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "unit.part")
        begin = time.perf_counter()
        with PartWriter(path) as part:
            BuildWork(settings)(unit, part)
        seconds = time.perf_counter() - begin
        n_samples = sum(isinstance(e, Record) for e in read_part(path, with_values=False))
        return n_samples, path.stat().st_size, seconds


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}.") from None
