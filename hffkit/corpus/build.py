"""Build a corpus from the images and videos of a dataset."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, replace
from functools import partial
from pathlib import Path

from hffkit.corpus.retry import check_retry, seed_parts
from hffkit.errors import ArgumentError, CorpusError, StorageError, reading_from
from hffkit.execution.assemble import Beside, Surplus, WorkPlan, assemble, share
from hffkit.execution.versions import versions
from hffkit.extraction.family import build_family
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.images import build_images
from hffkit.extraction.settings import Settings
from hffkit.extraction.trim import shortfall, surplus
from hffkit.extraction.units import ImageBlock, Unit, identity, weight
from hffkit.faces.detection import FaceRule, read_boxes
from hffkit.faces.landmarks import predictor_of
from hffkit.fields import Fields
from hffkit.json_types import JsonObject
from hffkit.manifest.pairs import MASKS, quality_of
from hffkit.manifest.samples import SPLITS
from hffkit.media.files import sha256_of
from hffkit.options import options_of
from hffkit.sources.ffpp_tree import FfppOptions
from hffkit.sources.listing import Listing
from hffkit.sources.options import SourceOptions, VideoOptions
from hffkit.sources.table import SOURCES, read_source
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance, masks_path
from hffkit.storage.parts import PartWriter
from hffkit.storage.staging import restore


@dataclass(frozen=True, slots=True)
class BuildWork:
    """Work on one unit, in a worker."""

    settings: Settings

    def __call__(self, unit: Unit, part: PartWriter) -> None:
        """Write the unit's samples, failures and boxes to `part`."""
        if isinstance(unit, ImageBlock):
            build_images(unit, self.settings, part)
        else:
            build_family(unit, self.settings, part)

    def paths(self, unit: Unit) -> Sequence[str]:
        """Return the files that the unit reads."""
        return unit.paths


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A dataset that was listed and the settings to build it with."""

    options: SourceOptions
    listing: Listing
    settings: Settings

    @property
    def makes_masks(self) -> bool:
        """True if the masks of forgeries become a second corpus."""
        return isinstance(self.options, FfppOptions) and self.options.masks


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
        accept_damaged=options.accept_damaged,
        outline=None if options.landmarks is None else predictor_of(options.landmarks),
    )
    return BuildJob(options, listing, settings)


def recorded(options: SourceOptions) -> JsonObject:
    """Return the options of all sources as JSON values for corpus.json.

    Options that the source does not have are recorded with their defaults, and files by their
    SHA-256.
    """
    declared = [each for source in SOURCES.values() for each in options_of(source.options)]
    defaults = {each.field: None if each.default is MISSING else each.default for each in declared}
    row = {**defaults, **asdict(options)}
    of_qualities = options if isinstance(options, FfppOptions) else FfppOptions("")
    row["qualities"] = of_qualities.named_qualities
    src = str(row.pop("src"))
    if not options.accept_damaged:  # corpora of before there was this option have no such key
        del row["accept_damaged"]
    for name, value in row.items():
        if isinstance(value, Path):
            with reading_from(value, CorpusError):
                row[name] = sha256_of(value)
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

    Masks become a second corpus at `masks_path(out)`, which gets its final name first; the result
    then has the contents of both.

    Parameters
    ----------
    out : Path
        The corpus folder; it must not exist. Unfinished work lies in `out`.partial, and the same
        call resumes it.
    scheduler : str, optional
        Address or file of a Dask cluster that does the work in place of `n_workers` processes.
    shard : (I, N), optional
        Build only the I-th of N shares; `merge` joins them, and cuts to the paper's totals.
    retry_failed : bool
        `out` is a corpus that the same call built: read its unreadable inputs again, keep its
        other samples, and replace it.

    Raises
    ------
    HffkitError
        If `out` cannot be written, holds unfinished work of another call, or would be empty.
    """
    if retry_failed and job.makes_masks:
        raise ArgumentError(
            "`retry_failed` replaces one corpus, and `masks` makes two: delete both and build them "
            "again."
        )
    provenance = _provenance(job, shard)
    seed = None
    if retry_failed:
        restore(out)
        old = Corpus(out)
        check_retry(old, provenance)
        seed = partial(seed_parts, old)
    listing, root = job.listing, job.settings.root
    plan = WorkPlan(
        units=listing.units[share(len(listing.units), shard)],
        name=lambda unit: identity(unit, root),
        weight=lambda unit: weight(unit, root),
        size=lambda unit: len(unit.paths),
        work=BuildWork(job.settings),
        label="build",
        counted="files",
        failures=listing.failures if shard is None or shard[0] == 0 else (),
        surplus=paper_surplus(provenance) if shard is None else None,
        seed=seed,
    )
    beside = None
    if job.makes_masks:
        of_masks = replace(provenance, holds="masks")
        beside = Beside(masks_path(out), of_masks, lambda key: quality_of(key) == MASKS)
    return assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler, beside=beside)


def _provenance(job: BuildJob, shard: tuple[int, int] | None) -> Provenance:
    settings, units = job.settings, job.listing.units
    # Shards of different trees would leave gaps: the digest of all units keeps them apart.
    text = json.dumps([asdict(unit) for unit in units], sort_keys=True) if shard else ""
    return Provenance(
        classes=settings.classes,
        size=settings.size,
        labels="multi",
        verb="build",
        options={
            **recorded(job.options),
            "keeps_index": any(unit.keeps_index for unit in units),
            "listing": hashlib.sha256(text.encode()).hexdigest() if shard else None,
        },
        versions=versions("dlib", "libdeflate", "av"),
        shard=shard,
    )


def paper_surplus(provenance: Provenance) -> Surplus | None:
    """Return the selection of samples over the paper's totals; None unless `frames` is paper."""
    if provenance.options.get("frames") != "paper":
        return None
    seed = Fields(provenance.options, "options of the build", StorageError).whole("seed")
    return lambda samples: surplus(((s.key, s.split) for s in samples), seed=seed)


def shortfall_text(corpus: Corpus) -> str:
    """Return what a finished build with `frames` paper lacks of the paper's totals; else nothing.

    Masks have the same frames as their forgeries, and shards are cut when they are merged.
    """
    made = corpus.provenance
    if made.verb != "build" or made.options.get("frames") != "paper" or made.shard is not None:
        return ""
    options = made.options
    named = [name for option in ("methods", "real", "fake") for name in options.get(option, ())]
    splits = SPLITS if options.get("split", "all") == "all" else (options["split"],)
    found = shortfall(((sample.key, sample.split) for sample in corpus.samples()), named, splits)
    rows = [
        f"{quality} {name} {split} {n:,} of {total:,}"
        for (quality, name, split), (n, total) in found.items()
    ]
    return f"fewer samples than in the paper: {', '.join(rows)}" if rows else ""
