"""`hffkit degrade`, `equalize` and `mix`: corpora whose images were processed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.corpora import failure_lines, show_corpus
from hffkit.manifest.failures import n_fatal
from hffkit.manifest.samples import SPLITS
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.degrade.folder import FolderInfo


@click.command(epilog=options.example("degrade data.lmdb --op jp-mix"))
@click.argument("sources", nargs=-1, type=options.PATH_TEXT, metavar="[SRC]...")
@click.option(
    "--op",
    "ops",
    multiple=True,
    metavar="NAME",
    help="jp-mix, jp:60, jp60, jp:65..100, sc:+50, h264:40, ... (--list). Repeatable; applied in "
    "order.",
)
@click.option(
    "--suite",
    metavar="NAME:SEVERITY",
    help="Draw one operation of a severity of a suite for each image, such as deeperforensics:3. "
    "With --preview NAME is enough and draws the whole suite.",
)
@click.option(
    "--out",
    type=options.PATH,
    help="The output, which must not exist.  [default: SRC with the operations in its name]",
)
@click.option(
    "--stage",
    type=click.Choice(["native", "input"]),
    help="Apply operations to native pixels, or after resizing to --size.  [default: native; input "
    "if SRC is packed]",
)
@click.option(
    "--size",
    type=options.SIZE,
    help="Store pixels as the operations leave them, or packed at this size.  [default: as SRC]",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(SPLITS),
    help="Degrade this split only. Repeatable.",
)
@options.names_option(
    "--class",
    "classes",
    metavar="CLASS,...",
    help="Degrade these classes only.",
)
@click.option(
    "--quality",
    metavar="raw|c23|c40",
    help="Quality to read, from a FaceForensics++ tree of videos that holds several.",
)
@click.option(
    "--accept-damaged", is_flag=True, help="Degrade damaged images of a folder too; list them."
)
@click.option("--limit", type=int, help="Degrade N samples only, drawn by the seed.")
@options.operations
@options.seed
@options.workers
@options.scheduler
@options.shard
@options.max_failures
@click.option("--list", "lists", is_flag=True, help="Print the table of operations.")
@click.option(
    "--preview",
    type=options.PATH,
    metavar="IMAGE",
    help="Draw every operation at every value on one image, and nothing else; --out names a PNG.",
)
@options.as_json
def degrade(
    sources: tuple[str, ...],
    out: Path | None,
    workers: int,
    scheduler: str | None,
    shard: tuple[int, int] | None,
    max_failures: int,
    lists: bool,
    preview: Path | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Apply post-processing operations to every image of a corpus, folder or video tree.

    SRC is a corpus (default: data.lmdb) or several, which are treated as one; the output is one
    corpus. A folder of images becomes a folder of PNG files. A folder of videos becomes a folder of
    videos, if the last --op is h264:CRF. The values of a -mix are drawn for each image from the
    seed and its key.
    """
    from hffkit.degrade.degrade import DegradeRequest
    from hffkit.degrade.degrade import degrade as post_process
    from hffkit.degrade.own import operations_table, read_own
    from hffkit.degrade.preview import preview as draw
    from hffkit.storage.corpus import CorpusInfo

    if (lists or preview) and (sources or arguments["ops"] or as_json):
        raise click.UsageError("--list and --preview exclude SRC, --op and --json.")
    if lists and arguments["suite"]:
        raise click.UsageError("--list excludes --suite.")
    if lists:
        click.echo(operations_table(read_own(arguments["operations"])).to_markdown())
        return
    if preview is not None:
        sheet = out or Path(f"{preview.stem}-preview.png")
        n_tiles = draw(preview, sheet, read_own(arguments["operations"]), arguments["suite"])
        click.echo(f"{n_tiles} results in {sheet}")
        return
    path, found = post_process(
        sources or ("data.lmdb",),
        out,
        DegradeRequest(**arguments),
        n_workers=workers,
        scheduler=scheduler,
        shard=shard,
    )
    if isinstance(found, CorpusInfo):
        show_corpus(path, found, as_json=as_json)
    else:
        options.show(found.to_json(), _folder_text(path, found), as_json=as_json)
        options.show_notes(found.notes)
    if n_fatal(found.failures) > max_failures:
        sys.exit(options.UNREADABLE)


def _folder_text(path: Path, info: "FolderInfo") -> str:
    """Return the contents of a folder of files that was just written."""
    lines = [f"{path}: {counted(info.n_files, 'file')} after {', '.join(info.ops)}"]
    return "\n".join(lines + failure_lines(info.failures, f"{path}/failures.jsonl"))


@click.command(epilog=options.example("equalize data.lmdb --out fair.lmdb"))
@options.corpora
@options.out
@click.option(
    "--size",
    type=click.IntRange(8, 4096),
    help="Width and height of all images in pixels; less than their shortest side.  [default: 3/4 "
    "of it, in whole JPEG blocks]",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=75,
    show_default=True,
    help="Quality of the JPEG that all images become.",
)
@options.workers
@options.scheduler
@options.max_failures
@options.as_json
def equalize(
    corpora: tuple[str, ...],
    out: Path,
    workers: int,
    scheduler: str | None,
    max_failures: int,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Give all images one size and one JPEG history, so that files do not tell the classes apart.

    The middle square of each image is reduced to one size by averaging areas, and stored as a JPEG
    of one quality without metadata. What remains: traces of the operations in the pixels before,
    and of reductions by different ratios. `hffkit audit` shows how much.
    """
    from hffkit.degrade.equalize import EqualizeRequest
    from hffkit.degrade.equalize import equalize as give_one_history

    info = give_one_history(
        corpora, out, EqualizeRequest(**arguments), n_workers=workers, scheduler=scheduler
    )
    show_corpus(out, info, as_json=as_json)
    if info.failures.get("unreadable", 0) > max_failures:
        sys.exit(options.UNREADABLE)


@click.command(epilog=options.example("mix data.lmdb data-jp-mix.lmdb --out mixed.lmdb"))
@click.argument("raw", type=options.PATH_TEXT)
@click.argument("copies", nargs=-1, required=True, type=options.PATH_TEXT, metavar="DEGRADED...")
@options.out
@click.option(
    "--proportion",
    type=click.Choice(["small", "middle", "large"]),
    default="large",
    show_default=True,
    help="Training images, as in Table XI. small: every image once, from one of the sources; "
    "middle: 55/124 of each source; large: all.",
)
@click.option(
    "--paper-pool",
    is_flag=True,
    help="Train on the validation samples too, as the paper's sizes imply; then nothing can be "
    "selected on them.",
)
@options.seed
@options.as_json
def mix(raw: str, copies: tuple[str, ...], out: Path, as_json: bool, **arguments: Any) -> None:
    """Mix a corpus and its degraded copies into one training set, as in Table XI.

    Training samples come from all of them; their keys name the operations (KEY@jp-mix). Validation
    and test samples are those of RAW, untouched.
    """
    from hffkit.corpus.mix import MixRequest
    from hffkit.corpus.mix import mix as mix_corpora

    info = mix_corpora((raw, *copies), out, MixRequest(**arguments))
    show_corpus(out, info, as_json=as_json)
    if info.failures.get("unreadable"):
        sys.exit(options.UNREADABLE)
