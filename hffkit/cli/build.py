"""`hffkit build SOURCE`: one subcommand for each kind of dataset."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import corpus_json, corpus_text, estimate_text

Command = Callable[..., Any]
Options = tuple[Callable[[Command], Command], ...]


@click.group()
def build() -> None:
    """Turn a dataset's videos and images into a face corpus.

    Every source finds what it needs below --src. A corpus is a folder that Caffe can read as an
    LMDB, with a manifest that says where every pixel came from. An interrupted build goes on when
    the same command is run again.
    """


_COMMON = (
    click.option(
        "--src",
        type=click.Path(path_type=Path),
        default=".",
        show_default=True,
        help="The dataset's root.",
    ),
    options.out("data.lmdb"),
    click.option("--real", multiple=True, metavar="CLASS,...", help="Classes that are real."),
    click.option("--fake", multiple=True, metavar="CLASS,...", help="Classes that are fake."),
    click.option(
        "--group-by",
        metavar="REGEX",
        help="What must stay in one split: the first group of REGEX in the path, or its match.",
    ),
    click.option(
        "--split-ratio",
        default="75/5/20",
        show_default=True,
        help="Shares of train, val and test where the dataset has no splits of its own.",
    ),
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test", "all"]),
        default="all",
        show_default=True,
        help="Build only this split.",
    ),
    click.option(
        "--crop",
        type=click.Choice(["face", "none"]),
        help="Crop faces, or take the whole image.  [default: faces from videos, images whole]",
    ),
    click.option(
        "--landmarks",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A 68-point predictor of dlib's (.dat): all outside of the face, jaw to brows, "
        "becomes black.",
    ),
    click.option(
        "--size",
        type=options.Size(),
        default="native",
        show_default=True,
        help="Keep native pixels (PNG, or the untouched file), or pack at this size.",
    ),
    click.option(
        "--upsample",
        type=click.IntRange(0, 3),
        default=1,
        show_default=True,
        help="Doublings before detection: 0 finds faces from 80 px, 1 from 40 px.",
    ),
    options.seed,
    options.workers,
    options.scheduler,
    click.option("--shard", type=options.Shard(), help="Build share I of N; then merge them."),
    options.max_failures,
    click.option(
        "--retry-failed",
        is_flag=True,
        help="OUT is there with unreadable inputs: try these again, keep the rest.",
    ),
    click.option("--dry-run", is_flag=True, help="Tell counts, disk and hours; build nothing."),
    options.as_json,
)

_NAMES = (
    click.option(
        "--class",
        "folders",
        multiple=True,
        type=options.Pair(),
        help="Where a class lies if its folder has another name. Repeatable.",
    ),
)

_VIDEO = (
    click.option(
        "--frames",
        default="32",
        show_default=True,
        metavar="N|REAL/FAKE|all|every:K|paper|cao",
        help="Frames of each video, evenly spaced over the whole of it; paper is 75 real, 20 fake "
        "and the AMTENnet paper's totals; cao is 270 in train, 140 in val and test.",
    ),
    click.option(
        "--boxes",
        type=click.Path(path_type=Path),
        help="Take the crops from this JSON, {video: {frame: [x, y, size]}}; detect nothing.",
    ),
    click.option(
        "--ffpp-compat", is_flag=True, help="Take the first detection, not the largest face."
    ),
)

_FFPP = (
    click.option(
        "--quality",
        "qualities",
        multiple=True,
        metavar="raw,c23,c40",
        help="Compression levels to build.  [default: c23]",
    ),
    click.option(
        "--pair",
        multiple=True,
        metavar="HQ,LQ",
        help="Build two levels, such as c23,c40: of each frame both crops in one box, or none.",
    ),
    click.option(
        "--masks",
        is_flag=True,
        help="With --pair: also the masks of the fakes, in OUT-masks; no fake without its mask.",
    ),
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="CLASS,...",
        help="Classes to build.  [default: those of the paper that are there]",
    ),
    click.option(
        "--detect-on",
        type=click.Choice(["raw", "c23", "c40", "each"]),
        help="Quality of the target videos in which faces are looked for, or each video by "
        "itself.  [default: the best of --quality]",
    ),
)


_NOT_IN_REQUEST = (
    "out", "workers", "scheduler", "shard", "max_failures", "retry_failed", "dry_run", "as_json",
)  # fmt: skip


def _source(
    name: str, *extra: tuple[Callable[[Command], Command], ...]
) -> Callable[[Command], Any]:
    """Make `build NAME` out of a function that only documents it."""

    def decorate(documented: Command) -> Command:
        def run(**arguments: Any) -> None:
            _build(name, **arguments)

        run.__doc__ = documented.__doc__
        command: Any = run
        for option in reversed([o for group in (*extra, _COMMON) for o in group]):
            command = option(command)
        return build.command(name)(command)

    return decorate


def _build(source: str, **arguments: Any) -> None:
    from hffkit.corpus.build import BuildRequest, estimate, prepare
    from hffkit.corpus.build import build as build_corpus

    run = {name: arguments.pop(name) for name in _NOT_IN_REQUEST}
    methods = options.names(arguments.pop("methods", ()))
    if arguments["size"] == "native":
        arguments["size"] = None
    for name in ("real", "fake", "qualities", "pair"):
        if name in arguments:
            arguments[name] = options.names(arguments[name])
    job = prepare(BuildRequest(source=source, methods=methods, **arguments))
    for note in job.listing.notes:
        click.echo(f"note: {note}", err=True)
    if run["dry_run"]:
        found = estimate(job, n_workers=run["workers"], shard=run["shard"])
        click.echo(options.json_text(asdict(found)) if run["as_json"] else estimate_text(found))
        return
    info = build_corpus(
        job,
        run["out"],
        n_workers=run["workers"],
        scheduler=run["scheduler"],
        shard=run["shard"],
        retry_failed=run["retry_failed"],
    )
    out = run["out"]
    click.echo(
        options.json_text(corpus_json(out, info)) if run["as_json"] else corpus_text(out, info)
    )
    if info.failures.get("unreadable", 0) > run["max_failures"]:
        sys.exit(options.UNREADABLE)


@_source("ff++", _FFPP, _VIDEO)
def _ffpp() -> None:
    """FaceForensics++ in its official layout, or as cropped by Cao et al.

    Faces are detected once for each target video and the boxes are used for its forgeries and
    other qualities, as far as these line up with it. Splits are the official ones.
    """


@_source("dfd", _FFPP, _VIDEO)
def _dfd() -> None:
    """DeepFakeDetection: the actors' videos and their forgeries, inside a FaceForensics++ tree.

    It has no official splits: these are by target actor.
    """


@_source(
    "hff",
    _NAMES,
    (
        click.option(
            "--paper-split",
            is_flag=True,
            help="Split at random over images, as the paper: one video may be in two splits.",
        ),
    ),
)
def _hff() -> None:
    """Hybrid Fake Face: eight class folders, or train|val|test/{fake,real}.

    Images are taken whole, as in the paper. A subfolder of a class is a group.
    """


@_source("folder", _NAMES, _VIDEO)
def _folder() -> None:
    """Class folders of images or videos, or split folders that hold such.

    Name the folders to read with --real and --fake; others are left alone.
    """


@_source(
    "list",
    _NAMES,
    _VIDEO,
    (
        click.option(
            "--list",
            "list_file",
            required=True,
            type=click.Path(path_type=Path),
            help="`path label` lines, or a CSV with the columns path and real.",
        ),
        click.option(
            "--strip-prefix",
            default="",
            metavar="TEXT",
            help="What each path of the list begins with that is not below --src.",
        ),
    ),
)
def _list() -> None:
    """Images or videos named by a list, as Caffe's convert_imageset reads it.

    Say with --real and --fake which labels are which; --class NAME=LABEL gives them names.
    """


@_source("faces-hq", _NAMES)
def _faces_hq() -> None:
    """Faces-HQ (Durall et al.): two folders of real and two of generated faces."""


@_source("celeba")
def _celeba() -> None:
    """CelebA by its own partition file, grouped by identity where that file is there."""


@_source("celeb-df", _VIDEO)
def _celeb_df() -> None:
    """Celeb-DF with its own test list."""


@_source("dfdc", _VIDEO)
def _dfdc() -> None:
    """DFDC parts with their metadata.json; an original and its forgeries are a group."""
