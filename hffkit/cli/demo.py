"""`hffkit demo`: every main command, run on fabricated clips."""

import shlex
from pathlib import Path

import click

from hffkit.cli import options

_UNFINISHED = "hffkit-demo-unfinished"  # marker in --out: of a demo that was interrupted
# Commands by the product that each makes below --out; the last one makes none.
_COMMANDS = {
    "data.lmdb": "build ff++ --src {out}/ff++ --quality c23,c40 --frames 16/4 "
    "--out {out}/data.lmdb",
    "data-sheet.png": "inspect {out}/data.lmdb --out {out}/data-sheet.png",
    "data-jp-mix.lmdb": "degrade {out}/data.lmdb --op jp-mix --out {out}/data-jp-mix.lmdb",
    "data-jp-mix-sheet.png": "inspect {out}/data-jp-mix.lmdb --out {out}/data-jp-mix-sheet.png",
    "run": "train --data {out}/data.lmdb --task binary --recipe small --max-iterations 60 "
    "--out {out}/run",
    "report.html": "eval {out}/run --data {out}/data.lmdb --data {out}/data-jp-mix.lmdb "
    "--html {out}/report.html",
    "explained": "explain {out}/run {out}/data.lmdb --method gradcam,guided,traces --limit 6 "
    "--steps 16 --out {out}/explained",
    "spectra.png": "spectrum plot {out}/data.lmdb --out {out}/spectra.png",
    "spectrum": "spectrum train --data {out}/data.lmdb --out {out}/spectrum",
    "predicted.csv": "predict {out}/run {clips} --frames 4 --csv {out}/predicted.csv",
    "": "audit {out}/data.lmdb --run {out}/run --html {out}/audit.html",
}
_WITH_WORKERS = ("build", "degrade", "spectrum", "audit")


@click.command(epilog=options.example("demo --out demo"))
@click.option(
    "--out",
    type=options.PATH,
    default="hffkit-demo",
    show_default=True,
    help="A new folder for the clips and all that is made of them.",
)
@options.workers
@click.pass_context
def demo(context: click.Context, out: Path, workers: int) -> None:
    """Fabricate a tiny FaceForensics++ tree; build, degrade, train, evaluate, explain, audit.

    The clips show one public-domain portrait and coarse forgeries of it, which the network learns
    to tell apart. Figures measured on them mean nothing; the commands are the real ones.
    """
    from hffkit.errors import StorageError, writing_to
    from hffkit.sources.demo_tree import fabricate
    from hffkit.storage.staging import refuse_inside

    refuse_inside(out)
    unfinished = out / _UNFINISHED
    with writing_to(out):
        if out.exists() and not unfinished.exists():
            raise StorageError(f"{out} already exists. Delete it or choose another --out.")
        out.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    videos = out / "ff++"
    click.echo("fabricating clips of a moving portrait ...")
    with writing_to(videos):
        click.echo(f"{fabricate(videos)} clips in {videos}")
    clips = shlex.join(map(str, sorted(videos.rglob("c23/videos/953*.mp4"))))
    hffkit = context.find_root().command
    for made, line in _COMMANDS.items():
        command = line.format(out=shlex.quote(str(out)), clips=clips)
        click.echo(f"\n$ hffkit {command}")
        if made and (out / made).exists():
            click.echo(f"{out / made} is finished")
            continue
        arguments = shlex.split(command)
        more = ("--workers", str(workers)) if arguments[0] in _WITH_WORKERS else ()
        exit_code = hffkit.main(
            [*arguments, *more], prog_name="hffkit", standalone_mode=False, parent=context
        )
        if exit_code:
            context.exit(exit_code)
    unfinished.unlink()
    click.echo(
        f"\nContact sheets of the crops: {out}/data-sheet.png, {out}/data-jp-mix-sheet.png\n"
        f"Mean spectrum of each class: {out}/spectra.png\n"
        f"Heat maps of the network's answers: {out}/explained/index.html\n"
        f"Report of the evaluation: {out}/report.html\n"
        f"Audit of the corpus and of the score: {out}/audit.html\n"
        "Figures measured here mean nothing: all clips show one portrait, in ten colourings, and "
        "its forgeries are coarse on purpose."
    )
