"""`hffkit degrade`: apply operations to corpora, or to folders of images or videos."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hffkit.degrade.chain import check_for_images
from hffkit.degrade.folder import FileSelection, FolderInfo, degrade_folder
from hffkit.degrade.own import OwnOperations, read_chain, read_own
from hffkit.degrade.rework import PixelStage, Rework, Treatment, plan_of
from hffkit.degrade.suites import read_severity
from hffkit.errors import ArgumentError
from hffkit.execution.assemble import WorkPlan, assemble, share
from hffkit.execution.versions import LIBRARIES, versions
from hffkit.json_types import JsonObject
from hffkit.manifest.samples import SPLITS, Split
from hffkit.options import Seed
from hffkit.storage.corpora import identities, is_dataset, joint_classes, open_corpora
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance
from hffkit.storage.record import check_packed_size
from hffkit.storage.selection import RecordBlock, drawn, places_of


@dataclass(frozen=True, slots=True)
class DegradeRequest:
    """Arguments of `hffkit degrade`; provenance records all of them."""

    ops: tuple[str, ...] = ()  # names of operations, in the order of their application
    suite: str | None = None  # NAME:SEVERITY, of which a chain is drawn for each image; or `ops`
    stage: PixelStage | None = None  # None: native pixels, or those of a packed source
    size: int | Literal["native"] | None = None  # px of the output; None: as the source
    splits: tuple[Split, ...] = ()  # none: all
    classes: tuple[str, ...] = ()  # none: all
    limit: int | None = None  # samples, drawn by the seed
    seed: Seed = 0
    operations: Path | None = None  # a Python file with operations of the user's own
    quality: str | None = None  # of videos in a FaceForensics++ tree; None: it holds only one
    accept_damaged: bool = False  # damaged images of a folder are degraded too


def degrade(
    sources: Sequence[str],
    out: Path | None,
    request: DegradeRequest,
    *,
    n_workers: int,
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
) -> tuple[Path, CorpusInfo | FolderInfo]:
    """Apply operations to every image of corpora, or of a folder; return the output.

    Parameters
    ----------
    sources : sequence of str
        Corpora, folders of corpora or globs, treated as one; or one folder of images or videos.
    out : Path, optional
        The output, which must not exist. By default beside the first source, with the operations
        in its name: data.lmdb becomes data-jp-mix.lmdb.
    n_workers : int
        Processes, not threads: the encoder of JPEG 2000 holds the interpreter lock.
    scheduler : str, optional
        Address or file of a Dask scheduler, whose workers do the work instead.
    shard : (I, N), optional
        Process only the I-th of N shares of corpora; `merge` joins them.

    Returns
    -------
    (Path, CorpusInfo or FolderInfo)
        The output, and the contents of its corpus.json or degrade.json.
    """
    for source in sources:
        if Path(source).is_file():
            raise ArgumentError(f"{source} is a file. Name a corpus or a folder, or `preview` it.")
    own = read_own(request.operations)
    if out is None:
        out = _default_out(sources, _name(request, own), shard)
    if len(sources) != 1 or not is_dataset(Path(sources[0])):
        if request.quality is not None:
            raise ArgumentError(
                "`quality` is for folders of videos: select samples of a corpus by `splits` and "
                "`classes`."
            )
        if request.accept_damaged:
            raise ArgumentError("`accept_damaged` is for folders of images.")
        work = _corpora_work(open_corpora(sources), request, own, shard)
        return out, assemble(out, *work, n_workers=n_workers, scheduler=scheduler)
    if request.splits or request.classes or shard is not None:
        raise ArgumentError(
            "`splits`, `classes` and `shard` are for corpora: a folder has no splits and classes."
        )
    treatment = treatment_of(request, own, is_folder=True)
    selection = FileSelection(
        Path(sources[0]), request.quality, request.limit, request.accept_damaged
    )
    about = _pixel_options(request, treatment)
    info = degrade_folder(
        selection, out, treatment, about, n_workers=n_workers, scheduler=scheduler
    )
    return out, info


def _name(request: DegradeRequest, own: OwnOperations | None) -> str:
    if request.suite is not None:
        return read_severity(request.suite, own).name
    return read_chain(request.ops, own).name


def _default_out(sources: Sequence[str], ops: str, shard: tuple[int, int] | None) -> Path:
    """Return the output beside the only source, named after the operations."""
    if len(sources) != 1 or glob.has_magic(sources[0]):
        raise ArgumentError("Name the output of several sources with `out`.")
    source = Path(sources[0]).resolve()
    part = "" if shard is None else f"-{shard[0]}of{shard[1]}"
    # jp:60 becomes jp60, but jp2:4.0 becomes jp2-4.0, because jp24.0 would be ambiguous.
    done = re.sub("([0-9]):", r"\1-", ops).replace(":", "")
    return source.parent / f"{source.stem}-{done}{part}{source.suffix}"


def _corpora_work(
    corpora: Sequence[Corpus],
    request: DegradeRequest,
    own: OwnOperations | None,
    shard: tuple[int, int] | None,
) -> tuple[Provenance, WorkPlan[RecordBlock]]:
    """Return the provenance of the degraded corpus, and the work that makes it.

    Keys, splits, groups and classes stay, so that a degraded corpus pairs with its source.
    """
    first = corpora[0].provenance
    treatment = treatment_of(request, own, packed_size=first.size)
    classes = joint_classes(corpora)
    if request.classes:
        classes = classes.only(request.classes)
    wanted, splits = frozenset(classes.names), request.splits or SPLITS
    is_part = bool(request.classes or request.splits)
    keep = (lambda s: s.cls in wanted and s.split in splits) if is_part else None
    places = places_of(corpora, keep)
    if request.limit is not None:
        places = drawn(corpora, places, request.limit, request.seed)
    provenance = Provenance(
        classes=classes,
        size=treatment.size,
        labels=first.labels,
        verb="degrade",
        options={
            **identities(corpora),
            **_pixel_options(request, treatment),
            "splits": list(splits),
            "classes": list(request.classes),
        },
        versions=versions(*LIBRARIES),
        shard=shard,
        holds=first.holds,
    )
    work = Rework(tuple(corpus.name for corpus in corpora), provenance, treatment)
    return provenance, plan_of(work, places[share(len(places), shard)], "degrade")


def treatment_of(
    request: DegradeRequest,
    own: OwnOperations | None,
    *,
    packed_size: int | None = None,
    is_folder: bool = False,
) -> Treatment:
    """Return the treatment of each image, with the defaults of the source filled in.

    `packed_size` is the size in px of a packed source, None if it has native pixels. A folder may
    hold videos, so operations on these are allowed there.

    Raises
    ------
    ArgumentError
        If the request contradicts itself or its source.
    """
    if request.ops and request.suite is not None:
        raise ArgumentError("`ops` and `suite` exclude each other.")
    if not request.ops and request.suite is None:
        raise ArgumentError("Name at least one operation in `ops`, such as jp-mix, or a `suite`.")
    if request.limit is not None and request.limit < 1:
        raise ArgumentError(f"`limit` must be at least 1, got {request.limit}.")
    if packed_size is not None and request.stage == "native":
        raise ArgumentError("`stage` native is impossible: a packed corpus has no native pixels.")
    stage = request.stage or ("native" if packed_size is None else "input")
    size = packed_size if request.size is None else request.size
    if stage == "input" and packed_size is None and not isinstance(size, int):
        raise ArgumentError("`stage` input resizes first: give a `size`, such as 128.")
    size = None if size == "native" else size
    check_packed_size(size)
    suite = None if request.suite is None else read_severity(request.suite, own)
    if suite is not None:
        names: tuple[str, ...] = (suite.name,)
    else:
        names = tuple(step.name for step in read_chain(request.ops, own).steps)
    treatment = Treatment(names, own, stage, size, request.seed, suite)
    if not is_folder:
        check_for_images(treatment.chain())
    return treatment


def _pixel_options(request: DegradeRequest, treatment: Treatment) -> JsonObject:
    """Return the options that decide pixels, as JSON values."""
    return {
        "ops": list(treatment.names),
        **({} if treatment.suite is None else {"suite": treatment.suite.sha256}),
        "operations": None if treatment.own is None else treatment.own.sha256,
        "stage": treatment.stage,
        "limit": request.limit,
        "seed": request.seed,
    }
