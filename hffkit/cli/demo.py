"""`hffkit demo`: every main command, run on fabricated clips."""

import shlex
from pathlib import Path

import click

from hffkit.cli import options

# Below --out, by the names that stand for their paths in the commands.
_MADE = {
    "videos": "ff++",
    "corpus": "data.lmdb",
    "sheet": "data-sheet.png",
    "degraded": "data-jp-mix.lmdb",
    "degraded_sheet": "data-jp-mix-sheet.png",
    "run": "run",
    "report": "report.html",
    "explained": "explained",
    "spectra": "spectra.png",
    "spectrum": "spectrum",
}
_COMMANDS = (
    "build ff++ --src {videos} --quality c23,c40 --frames 8 --out {corpus}",
    "inspect {corpus} --out {sheet}",
    "degrade {corpus} --op jp-mix --out {degraded}",
    "inspect {degraded} --out {degraded_sheet}",
    "train --data {corpus} --task binary --recipe small --max-iterations 40 --out {run}",
    "eval {run} --data {corpus} --data {degraded} --html {report}",
    "explain {run} {corpus} --method gradcam,guided,traces --limit 6 --steps 16 --out {explained}",
    "spectrum plot {corpus} --out {spectra}",
    "spectrum train --data {corpus} --out {spectrum}",
    "predict {run} {clips} --frames 4",
)
_WITH_WORKERS = ("build", "degrade", "spectrum")


@click.command(epilog=options.example("demo --out demo"))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="hffkit-demo",
    show_default=True,
    help="A new folder for the clips and all that is made of them.",
)
@options.workers
@click.pass_context
def demo(context: click.Context, out: Path, workers: int) -> None:
    """Fabricate a tiny FaceForensics++ tree; build, degrade, train, evaluate, explain, predict.

    The clips show one public-domain portrait and forgeries of it made by warping and blending.
    Figures measured on them mean nothing; the commands are the real ones.
    """
    from hffkit.errors import StorageError
    from hffkit.sources.demo_tree import fabricate

    if out.exists():
        raise StorageError(f"{out} already exists. Delete it or choose another --out.")
    paths = {name: out / place for name, place in _MADE.items()}
    click.echo("fabricating clips of a moving portrait ...")
    click.echo(f"{fabricate(paths['videos'])} clips in {paths['videos']}")
    clips = sorted(paths["videos"].rglob("c23/videos/953*.mp4"))
    words = {name: shlex.quote(str(path)) for name, path in paths.items()}
    words["clips"] = shlex.join(map(str, clips))
    hffkit = context.find_root().command
    for line in _COMMANDS:
        command = line.format(**words)
        click.echo(f"\n$ hffkit {command}")
        arguments = shlex.split(command)
        more = ("--workers", str(workers)) if arguments[0] in _WITH_WORKERS else ()
        hffkit.main([*arguments, *more], prog_name="hffkit", standalone_mode=False)
    click.echo(
        f"\nContact sheets of the crops: {paths['sheet']}, {paths['degraded_sheet']}\n"
        f"Mean spectrum of each class: {paths['spectra']}\n"
        f"Heat maps of the network's answers: {paths['explained']}/index.html\n"
        f"Report of the evaluation: {paths['report']}\n"
        "Figures measured here mean nothing: they are of one portrait in six guises."
    )
