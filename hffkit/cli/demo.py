"""`hffkit demo`: the whole way on fabricated clips."""

from pathlib import Path

import click

from hffkit.cli import options
from hffkit.cli.tables import corpus_text, inspection_text


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="hffkit-demo",
    show_default=True,
    help="A new folder for the clips, the corpus and the contact sheet.",
)
@options.workers
def demo(out: Path, workers: int) -> None:
    """Fabricate a tiny FaceForensics++ tree, build it, degrade it, look at it.

    The clips show one public-domain portrait and forgeries of it made by warping and blending.
    Nothing measured on them means anything; what runs is the real program.
    """
    from hffkit.errors import StorageError
    from hffkit.workflows.build import BuildRequest, build, prepare
    from hffkit.workflows.degrade import DegradeRequest, degrade
    from hffkit.workflows.demo import fabricate
    from hffkit.workflows.inspect import inspect

    if out.exists():
        raise StorageError(f"{out} already exists. Delete it or choose another --out.")
    videos, corpus, sheet = out / "ff++", out / "data.lmdb", out / "data-sheet.png"
    degraded, degraded_sheet = out / "data-jp-mix.lmdb", out / "data-jp-mix-sheet.png"
    click.echo("fabricating clips of a moving portrait ...")
    click.echo(f"{fabricate(videos)} clips in {videos}")
    click.echo(f"\n$ hffkit build ff++ --src {videos} --quality c23,c40 --frames 8 --out {corpus}")
    request = BuildRequest("ff++", videos, qualities=("c23", "c40"), frames="8")
    click.echo(corpus_text(corpus, build(prepare(request), corpus, n_workers=workers)))
    click.echo(f"\n$ hffkit inspect {corpus} --out {sheet}")
    click.echo(inspection_text(inspect([str(corpus)], sheet)))
    click.echo(f"\n$ hffkit degrade {corpus} --op jp-mix --out {degraded}")
    jp_mix = DegradeRequest(("jp-mix",))
    _, about = degrade([str(corpus)], degraded, jp_mix, n_workers=workers)
    click.echo(corpus_text(degraded, about))
    click.echo(f"\n$ hffkit inspect {degraded} --out {degraded_sheet}")
    inspect([str(degraded)], degraded_sheet)
    click.echo(f"\nThe contact sheets show the crops: {sheet}, {degraded_sheet}")
