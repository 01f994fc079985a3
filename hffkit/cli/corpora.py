"""`hffkit pack`, `subset`, `inspect`, `verify` and `merge`: commands on finished corpora."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import corpus_json, corpus_text, inspection_text

_corpora = click.argument("corpora", nargs=-1, required=True, metavar="CORPUS...")


@click.command()
@_corpora
@options.out()
@click.option(
    "--size", type=click.IntRange(1, 4096), default=128, show_default=True, help="Pixels."
)
@click.option(
    "--labels",
    type=click.Choice(["multi", "binary"]),
    default="multi",
    show_default=True,
    help="Class ids, or 0 for fake and 1 for real.",
)
@click.option(
    "--per-split", is_flag=True, help="Make OUT a folder of train_lmdb, val_lmdb and test_lmdb."
)
@click.option(
    "--shard-size", type=click.IntRange(min=1), help="Make OUT a folder of LMDBs of N records."
)
@click.option("--shuffle", is_flag=True, help="Shuffle the records: Caffe trains in key order.")
@options.seed
@options.workers
@options.scheduler
@options.as_json
def pack(
    corpora: tuple[str, ...],
    out: Path,
    workers: int,
    scheduler: str | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Pack corpora to raw Datums of one size, as Caffe's convert_imageset writes them."""
    from hffkit.corpus.pack import PackRequest
    from hffkit.corpus.pack import pack as pack_corpora

    done = pack_corpora(
        corpora, out, PackRequest(**arguments), n_workers=workers, scheduler=scheduler
    )
    click.echo(
        options.json_text({str(path): corpus_json(path, info) for path, info in done})
        if as_json
        else "\n\n".join(corpus_text(path, info) for path, info in done)
    )
    if any(info.failures for _, info in done):
        sys.exit(options.UNREADABLE)


@click.command()
@_corpora
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The contact sheet.  [default: NAME-sheet.png here; --no-sheet for none]",
)
@click.option("--no-sheet", is_flag=True, help="Draw no contact sheet.")
@click.option(
    "--columns", type=click.IntRange(1, 40), default=12, show_default=True, help="Of the sheet."
)
@options.as_json
def inspect(
    corpora: tuple[str, ...], out: Path | None, no_sheet: bool, columns: int, as_json: bool
) -> None:
    """Count classes, splits, groups and failures; draw a contact sheet to judge the crops by."""
    from hffkit.corpus.inspect import inspect as inspect_corpora

    name = Path(corpora[0]).resolve().stem if Path(corpora[0]).exists() else "corpora"
    sheet = None if no_sheet else out or Path(f"{name}-sheet.png")
    found = inspect_corpora(corpora, sheet, columns=columns)
    click.echo(options.json_text(asdict(found)) if as_json else inspection_text(found))
    if sheet is not None:
        click.echo(f"contact sheet: {sheet}", err=as_json)


@click.command()
@_corpora
@options.workers
@options.as_json
@click.pass_context
def verify(context: click.Context, corpora: tuple[str, ...], workers: int, as_json: bool) -> None:
    """Re-read every record against the manifest; name each bad one and exit with 1."""
    from hffkit.corpus.verify import verify as verify_corpora

    problems = list(verify_corpora(corpora, n_workers=workers))
    if as_json:
        click.echo(options.json_text([asdict(problem) for problem in problems]))
    else:
        for problem in problems:
            click.echo(f"{problem.corpus}: {problem.key}: {problem.reason}")
        click.echo(f"{len(problems)} problems" if problems else "all records are as they should be")
    context.exit(1 if problems else 0)


@click.command()
@_corpora
@options.out()
@click.option("--share", type=float, required=True, help="Of each class in each split, rounded up.")
@options.seed
@options.as_json
def subset(corpora: tuple[str, ...], out: Path, as_json: bool, **arguments: Any) -> None:
    """Keep a share of a corpus to try things out on, drawn by its samples' keys."""
    from hffkit.corpus.subset import SubsetRequest
    from hffkit.corpus.subset import subset as keep_share

    info = keep_share(corpora, out, SubsetRequest(**arguments))
    click.echo(options.json_text(info.to_json()) if as_json else corpus_text(out, info))


@click.command()
@_corpora
@options.out()
@options.as_json
def merge(corpora: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Join the shards of one build, or several corpora, to one corpus."""
    from hffkit.corpus.merge import merge as merge_corpora

    info = merge_corpora(corpora, out)
    click.echo(options.json_text(info.to_json()) if as_json else corpus_text(out, info))
