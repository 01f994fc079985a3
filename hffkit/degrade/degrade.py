"""`hffkit degrade`: post-processing of corpora, or of folders of images and videos."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hffkit.degrade.folder import FileSelection, degrade_folder
from hffkit.degrade.own import read_chain, read_own
from hffkit.degrade.rework import PixelStage, Rework, Treatment, plan_of
from hffkit.errors import ArgumentError
from hffkit.execution.assemble import assemble, share
from hffkit.execution.versions import LIBRARIES, versions
from hffkit.manifest.samples import SPLITS, Split
from hffkit.options import Seed
from hffkit.storage.corpora import joint_classes, open_corpora
from hffkit.storage.corpus import CORPUS_FILE, CorpusInfo, Provenance
from hffkit.storage.record import check_size
from hffkit.storage.selection import drawn, places_of


@dataclass(frozen=True, slots=True)
class DegradeRequest:
    """The arguments of `hffkit degrade`; all of them go into what it writes."""

    ops: tuple[str, ...]
    stage: PixelStage | None = None  # None: native pixels where there are such
    size: int | Literal["native"] | None = None  # px of the output; None: as the source
    splits: tuple[Split, ...] = ()  # none: all
    classes: tuple[str, ...] = ()  # none: all
    limit: int | None = None  # samples
    seed: Seed = 0
    operations: Path | None = None  # a Python file with operations of one's own
    quality: str | None = None  # of the videos in a FaceForensics++ tree; None: there is one


def degrade(
    sources: Sequence[str],
    out: Path | None,
    request: DegradeRequest,
    *,
    n_workers: int,
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
) -> tuple[Path, CorpusInfo | dict[str, Any]]:
    """Put operations to every image of corpora, or of a folder; return what was written.

    Parameters
    ----------
    sources : sequence of str
        Corpora, folders of corpora or globs, taken as one; or one folder of images or videos.
    out : Path, optional
        Where to write; it must not exist. By default beside the first source, with the operations
        in its name: data.lmdb gives data-jp-mix.lmdb.
    request : DegradeRequest
        What to do to which samples.
    n_workers : int
        Processes. They do what threads would, and JPEG 2000 as well, whose encoder holds the
        interpreter lock.
    scheduler : str, optional
        Of a Dask cluster that does the work instead.
    shard : (I, N), optional
        Only the I-th of N shares of corpora; `merge` joins them.

    Returns
    -------
    (Path, CorpusInfo or dict)
        The output, and the contents of its corpus.json or degrade.json.
    """
    for source in sources:
        if Path(source).is_file():
            raise ArgumentError(f"{source}: a file. Name a corpus or a folder, or --preview it.")
    ops = read_chain(request.ops, read_own(request.operations)).name
    if out is None:
        if len(sources) != 1 or glob.has_magic(sources[0]):
            raise ArgumentError("Several sources: name what is written with --out.")
        first = Path(sources[0]).resolve()
        share = "" if shard is None else f"-{shard[0]}of{shard[1]}"
        # jp60, but jp2-4.0: the parser would not know which of them is which either.
        done = re.sub("([0-9]):", r"\1-", ops).replace(":", "")
        out = first.with_name(f"{first.stem}-{done}{share}{first.suffix}")
    if _is_folder_of_files(sources):
        if request.splits or request.classes or shard is not None:
            raise ArgumentError(
                "--split, --class and --shard are for corpora: a folder does not say what its "
                "files are."
            )
        treatment = treatment_of(request, None)
        selection = FileSelection(Path(sources[0]), request.quality, request.limit)
        about = options_of(request, treatment)
        return out, degrade_folder(
            selection, out, treatment, about, n_workers=n_workers, scheduler=scheduler
        )
    if request.quality is not None:
        raise ArgumentError("--quality is for folders of videos: a corpus has --split and --class.")
    return out, degrade_corpora(
        sources, out, request, n_workers=n_workers, scheduler=scheduler, shard=shard
    )


def _is_folder_of_files(sources: Sequence[str]) -> bool:
    """Tell whether the source is one folder in which, and right under which, no corpus lies."""
    if len(sources) != 1 or not Path(sources[0]).is_dir():
        return False
    folder = Path(sources[0])
    is_lmdb = any((folder / name).exists() for name in (CORPUS_FILE, "data.mdb"))
    return not is_lmdb and not any(folder.glob(f"*/{CORPUS_FILE}"))


def degrade_corpora(
    names: Sequence[str],
    out: Path,
    request: DegradeRequest,
    *,
    n_workers: int,
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
) -> CorpusInfo:
    """Write the corpus `out` and return its contents.

    Keys, splits, groups and classes stay, so that a degraded corpus pairs with its source.
    """
    corpora = open_corpora(names)
    treatment = treatment_of(request, corpora[0].provenance.size)
    classes = joint_classes(corpora)
    if request.classes:
        classes = classes.only(request.classes)
    wanted, splits = frozenset(classes.names), request.splits or SPLITS
    if request.classes or request.splits:
        places = places_of(corpora, lambda s: s.cls in wanted and s.split in splits)
    else:
        places = places_of(corpora)
    if request.limit is not None:
        places = drawn(corpora, places, request.limit, request.seed)
    places = places[share(len(places), shard)]
    provenance = Provenance(
        classes=classes,
        layout="native" if treatment.size is None else "packed",
        size=treatment.size,
        labels=corpora[0].provenance.labels,
        verb="degrade",
        options={
            "content_sha256": [corpus.content_sha256 for corpus in corpora],
            "manifest_sha256": [corpus.manifest_sha256() for corpus in corpora],
            **options_of(request, treatment),
            "splits": list(splits),
            "classes": list(request.classes),
        },
        versions=versions(*LIBRARIES),
        shard=shard,
        holds=corpora[0].provenance.holds,
    )
    work = Rework(tuple(corpus.path for corpus in corpora), provenance, treatment)
    plan = plan_of(work, places, "degrade")
    return assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler)


def treatment_of(request: DegradeRequest, packed: int | None) -> Treatment:
    """Return how images are treated; `packed` is the size that the source's pixels have already.

    Raises
    ------
    ArgumentError
        If the request contradicts itself or its source.
    """
    if not request.ops:
        raise ArgumentError("Name at least one --op, such as jp-mix; --list shows all.")
    if request.limit is not None and request.limit < 1:
        raise ArgumentError(f"--limit must be at least 1, got {request.limit}.")
    if packed is not None and request.stage == "native":
        raise ArgumentError("--stage native: a packed corpus has no native pixels any more.")
    stage = request.stage or ("native" if packed is None else "input")
    size = packed if request.size is None else request.size
    if stage == "input" and packed is None and not isinstance(size, int):
        raise ArgumentError("--stage input resizes first: say to what, such as --size 128.")
    size = None if size == "native" else size
    check_size(size)
    own = read_own(request.operations)
    names = tuple(step.name for step in read_chain(request.ops, own).steps)
    return Treatment(names, own, stage, size, request.seed)


def options_of(request: DegradeRequest, treatment: Treatment) -> dict[str, Any]:
    """Return what decides the pixels, as JSON values."""
    return {
        "ops": list(treatment.names),
        "operations": None if treatment.own is None else treatment.own.sha256,
        "stage": treatment.stage,
        "limit": request.limit,
        "seed": request.seed,
    }
