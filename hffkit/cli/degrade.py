"""`hffkit degrade` and `mix`: post-processed corpora, and training sets made of several."""

import sys
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import corpus_json, corpus_text, folder_text


@click.command()
@click.argument("sources", nargs=-1, metavar="[SRC]...")
@click.option(
    "--op",
    "ops",
    multiple=True,
    metavar="NAME",
    help="jp-mix, jp:60, jp60, me5, sc:+50, h264:40, ... (--list); several are applied in order.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="What to write; it must not exist.  [default: SRC with the operations in its name]",
)
@click.option(
    "--stage",
    type=click.Choice(["native", "input"]),
    help="Operate on native pixels, or after resizing to --size.  [default: native; input where "
    "SRC is packed]",
)
@click.option(
    "--size",
    type=options.Size(),
    help="Keep pixels as the operations leave them, or pack at this size.  [default: as SRC]",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["train", "val", "test"]),
    help="Only this split. Repeatable.",
)
@click.option("--class", "classes", multiple=True, metavar="CLASS,...", help="Only these classes.")
@click.option(
    "--quality",
    metavar="raw|c23|c40",
    help="Of a FaceForensics++ tree of videos that holds several: read this one.",
)
@click.option("--limit", type=int, help="Only N samples, drawn by the seed.")
@click.option(
    "--operations",
    type=click.Path(path_type=Path),
    help="A Python file that defines OPERATIONS of your own.",
)
@options.seed
@options.workers
@options.scheduler
@click.option("--shard", type=options.Shard(), help="Do share I of N; then merge them.")
@options.max_failures
@click.option("--list", "lists", is_flag=True, help="Print the table of operations.")
@click.option(
    "--preview",
    type=click.Path(path_type=Path),
    metavar="IMAGE",
    help="Draw every operation at every value on one image instead; --out names a PNG.",
)
@options.as_json
def degrade(
    sources: tuple[str, ...],
    out: Path | None,
    lists: bool,
    preview: Path | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Put post-processing operations to every image of corpora, or of a folder.

    SRC is a corpus (default data.lmdb), or several taken as one, and so is what is written. A
    folder of images gives a folder of PNG files; a folder of videos, with --op h264:CRF, gives a
    folder of videos. Values of a -mix are drawn for each image from the seed and its key.
    """
    from hffkit.degrade.degrade import DegradeRequest
    from hffkit.degrade.degrade import degrade as post_process
    from hffkit.degrade.own import operations_table, read_own
    from hffkit.degrade.preview import preview as draw
    from hffkit.storage.corpus import CorpusInfo

    if (lists or preview) and (sources or arguments["ops"] or as_json):
        raise click.UsageError("--list and --preview go without SRC, --op and --json.")
    if lists:
        click.echo(operations_table(read_own(arguments["operations"])).to_markdown())
        return
    if preview is not None:
        sheet = out or Path(f"{preview.stem}-preview.png")
        n_tiles = draw(preview, sheet, read_own(arguments["operations"]))
        click.echo(f"{n_tiles} results in {sheet}")
        return
    run = {name: arguments.pop(name) for name in ("workers", "scheduler", "shard", "max_failures")}
    arguments["classes"] = options.names(arguments["classes"])
    request = DegradeRequest(**arguments)
    path, found = post_process(
        sources or ("data.lmdb",),
        out,
        request,
        n_workers=run["workers"],
        scheduler=run["scheduler"],
        shard=run["shard"],
    )
    if isinstance(found, CorpusInfo):
        failures = found.failures
        row = corpus_json(path, found)
        click.echo(options.json_text(row) if as_json else corpus_text(path, found))
    else:
        failures = found["failures"]
        click.echo(options.json_text(found) if as_json else folder_text(path, found))
    if failures.get("unreadable", 0) > run["max_failures"]:
        sys.exit(options.UNREADABLE)


@click.command()
@click.argument("raw")
@click.argument("copies", nargs=-1, required=True, metavar="DEGRADED...")
@options.out()
@click.option(
    "--proportion",
    type=click.Choice(["small", "middle", "large"]),
    default="large",
    show_default=True,
    help="Of Table XI: every image once, from one of the sources; 55/124 of each source; all.",
)
@click.option(
    "--paper-pool",
    is_flag=True,
    help="Draw from train and val, as the paper's sizes imply; nothing can then be selected on "
    "val.",
)
@options.seed
@options.as_json
def mix(raw: str, copies: tuple[str, ...], out: Path, as_json: bool, **arguments: Any) -> None:
    """Mix a corpus and its degraded copies to one training set, as Table XI does.

    Training samples come from all of them and tell by their keys what was done to them
    (KEY@jp-mix). Validation and test samples are those of RAW, untouched.
    """
    from hffkit.corpus.mix import MixRequest
    from hffkit.corpus.mix import mix as mix_corpora

    info = mix_corpora((raw, *copies), out, MixRequest(**arguments))
    click.echo(options.json_text(info.to_json()) if as_json else corpus_text(out, info))
    if info.failures:
        sys.exit(options.UNREADABLE)
