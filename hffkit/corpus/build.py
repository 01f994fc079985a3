"""`hffkit build`: a source's images and videos to a corpus."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from hffkit.corpus.retry import check_retry, seed_parts
from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.execution.assemble import Beside, Surplus, WorkPlan, assemble, share
from hffkit.execution.versions import versions
from hffkit.extraction.family import build_family
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.images import build_images
from hffkit.extraction.trim import surplus
from hffkit.extraction.units import Crop, ImageBlock, Settings, Unit, identity, weight
from hffkit.faces.detector import FaceRule, read_boxes
from hffkit.faces.landmarks import predictor_of
from hffkit.manifest.pairs import MASKS, quality_of
from hffkit.manifest.samples import SPLITS, split_named
from hffkit.manifest.splits import SplitRatio
from hffkit.sources.ffpp import read_dfd, read_ffpp
from hffkit.sources.ffpp_tree import FfppOptions, pair_of, plain_quality
from hffkit.sources.folders import read_celeba, read_faces_hq, read_folder, read_hff
from hffkit.sources.listing import Listing, SourceOptions, check_groups
from hffkit.sources.lists import read_celeb_df, read_dfdc, read_list
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance, masks_path
from hffkit.storage.parts import PartWriter, Record, read_part
from hffkit.storage.record import check_size
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
class BuildRequest:
    """The arguments of `hffkit build SOURCE`; those that decide bytes go into corpus.json."""

    source: str  # a name of SOURCES
    src: Path
    real: tuple[str, ...] = ()
    fake: tuple[str, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()  # (class, folder) where they differ
    group_by: str | None = None
    split_ratio: str = "75/5/20"
    split: str = "all"
    paper_split: bool = False
    qualities: tuple[str, ...] = ()  # of FaceForensics++; none named: those of `pair`, or c23
    pair: tuple[str, ...] = ()  # two qualities: the same frames of both, or none
    masks: bool = False  # with `pair`: also the masks of its forgeries, as a corpus of their own
    methods: tuple[str, ...] = ()  # classes of FaceForensics++ to build
    detect_on: str | None = None  # a quality, or "each" for every video by itself
    list_file: Path | None = None
    strip_prefix: str = ""  # what the list's paths begin with before the path below src
    frames: str = "32"
    crop: Crop | None = None  # None: faces from videos, images whole
    size: int | None = None
    upsample: int = 1
    ffpp_compat: bool = False
    boxes: Path | None = None
    landmarks: Path | None = None
    seed: int = 0

    @property
    def all_qualities(self) -> tuple[str, ...]:
        """The qualities to build, as they were named."""
        return self.pair or self.qualities or ("c23",)

    def options(self) -> dict[str, Any]:
        """Return the arguments as JSON values."""
        row = {**asdict(self), "qualities": self.all_qualities}
        for name in ("list_file", "boxes", "landmarks"):
            path: Path | None = row[name]
            row[name] = None if path is None else hashlib.sha256(_bytes(path)).hexdigest()
        return {**row, "src": str(self.src)}


SOURCES: Mapping[str, Callable[[BuildRequest, SourceOptions], Listing]] = {
    "ff++": lambda request, options: read_ffpp(options, _ffpp(request)),
    "dfd": lambda request, options: read_dfd(options, _ffpp(request)),
    "hff": lambda _, options: read_hff(options),
    "folder": lambda _, options: read_folder(options),
    "list": lambda request, options: read_list(options, _list_file(request), request.strip_prefix),
    "faces-hq": lambda _, options: read_faces_hq(options),
    "celeba": lambda _, options: read_celeba(options),
    "celeb-df": lambda _, options: read_celeb_df(options),
    "dfdc": lambda _, options: read_dfdc(options),
}


_FFPP = ("ff++", "dfd")
_VIDEOS = (*_FFPP, "folder", "list", "celeb-df", "dfdc")
# What not every source can do something with: by field, its option and those that can.
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "folders": ("--class", ("hff", "folder", "list", "faces-hq")),
    "paper_split": ("--paper-split", ("hff",)),
    "qualities": ("--quality", _FFPP),
    "pair": ("--pair", _FFPP),
    "masks": ("--masks", _FFPP),
    "methods": ("--method", _FFPP),
    "detect_on": ("--detect-on", _FFPP),
    "list_file": ("--list", ("list",)),
    "strip_prefix": ("--strip-prefix", ("list",)),
    "frames": ("--frames", _VIDEOS),
    "boxes": ("--boxes", _VIDEOS),
    "ffpp_compat": ("--ffpp-compat", _VIDEOS),
}


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A request that was found sound: what there is to build, and how."""

    request: BuildRequest
    listing: Listing
    settings: Settings


def prepare(request: BuildRequest) -> BuildJob:
    """Look at the source and check every argument; write nothing.

    Raises
    ------
    CorpusError, ManifestError, UnknownNameError
        If the source is not what the request says, or an argument is wrong.
    """
    if request.source not in SOURCES:
        raise UnknownNameError("source", request.source, SOURCES)
    _check_fields(request)
    options = SourceOptions(
        root=request.src,
        real=request.real,
        fake=request.fake,
        folders=dict(request.folders),
        group_by=request.group_by,
        ratio=SplitRatio.parse(request.split_ratio),
        splits=SPLITS if request.split == "all" else (split_named(request.split),),
        seed=request.seed,
        paper_split=request.paper_split,
    )
    plan = FramePlan.parse(request.frames)
    if request.frames == "paper" and request.source != "ff++":
        raise ArgumentError("--frames paper names FaceForensics++'s totals: only ff++ has them.")
    if request.pair and request.landmarks is not None:
        raise ArgumentError(
            "--landmarks outlines each image by itself, and would part the two of a --pair."
        )
    check_size(request.size)
    if request.boxes is not None:
        read_boxes(request.boxes)
    listing = SOURCES[request.source](request, options)
    check_groups(listing)
    settings = Settings(
        root=request.src,
        classes=listing.classes,
        plan=plan,
        rule=FaceRule(request.upsample, first=request.ffpp_compat),
        crop_images=request.crop or "none",
        crop_videos=request.crop or "face",
        size=request.size,
        boxes_file=request.boxes,
        detect_each=request.detect_on == "each",
        outline=None if request.landmarks is None else predictor_of(request.landmarks),
    )
    if request.boxes is not None:
        has_faces = any(isinstance(unit, ImageBlock) for unit in listing.units)
        if request.crop == "none" or (has_faces and request.crop == "face"):
            raise ArgumentError("--boxes gives crops of videos: not for --crop none or images.")
    return BuildJob(request, listing, settings)


def _check_fields(request: BuildRequest) -> None:
    """Raise ArgumentError if something is asked for that the source does not have."""
    defaults = {field.name: field.default for field in fields(BuildRequest)}
    for name, (option, sources) in OPTIONS.items():
        if getattr(request, name) != defaults[name] and request.source not in sources:
            raise ArgumentError(f"{option} is for {', '.join(sources)}, not for {request.source}.")


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
    if retry_failed and job.request.masks:
        raise ArgumentError(
            "--retry-failed does one corpus anew, and --masks makes two: delete both and build "
            "them again."
        )
    provenance = Provenance(
        classes=listing.classes,
        layout="native" if settings.size is None else "packed",
        size=settings.size,
        labels="multi",
        verb="build",
        options={
            **job.request.options(),
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
    if not job.request.masks:
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


def _ffpp(request: BuildRequest) -> FfppOptions:
    lender = None if request.detect_on == "each" else request.detect_on
    qualities = tuple(dict.fromkeys(map(plain_quality, request.all_qualities)))
    if request.pair:
        if request.qualities:
            raise ArgumentError("--pair names both qualities: leave out --quality.")
        qualities = pair_of(request.pair)
    elif request.masks:
        raise ArgumentError("--masks goes with --pair, such as --pair c23,c40.")
    return FfppOptions(qualities, request.methods, lender, bool(request.pair), request.masks)


def _list_file(request: BuildRequest) -> Path:
    if request.list_file is None:
        raise CorpusError("build list needs --list FILE: `path label` lines, or a CSV.")
    return request.list_file


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}.") from None
