"""`hffkit spectrum`: spectral features and shallow classifiers (Durall et al.)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.cli.evaluate import evaluate, predict
from hffkit.manifest.samples import Split
from hffkit.reports.text_table import Table
from hffkit.spectrum.names import (
    CentreName,
    ClassifierName,
    CropName,
    FeatureName,
    default_folder,
)
from hffkit.storage.outputs import FEATURES, SPECTRA_PLOT
from hffkit.storage.staging import refuse_existing
from hffkit.wording import counted, val_accuracy_text

if TYPE_CHECKING:
    from hffkit.runs.spectrum import SpectrumRun

_features = options.together(
    click.option(
        "--features",
        type=click.Choice(get_args(FeatureName)),
        default="celeba",
        show_default=True,
        help="Features of an experiment of the paper. faces-hq: profiles of whole images; celeba: "
        "80 points, divided by the first; dfd: the middle third, 300 points, divided by the first.",
    ),
    click.option(
        "--crop",
        type=click.Choice(get_args(CropName)),
        help="Part of the image: all, the central square, or the middle third of both sides.  "
        "[default: as in the experiment]",
    ),
    click.option(
        "--centre",
        type=click.Choice(get_args(CentreName)),
        help="Radius 0 of the spectrum: the paper's, half a coefficient beside the DC, or the DC.  "
        "[default: paper]",
    ),
    click.option(
        "--points",
        type=click.IntRange(2, 100_000),
        help="Resample profiles to this number of points.  [default: as in the experiment]",
    ),
    click.option(
        "--first-bin/--no-first-bin",
        default=None,
        help="Divide profiles by their first value.  [default: as in the experiment]",
    ),
)


@click.group(epilog=options.example("spectrum train --data data.lmdb"))
def spectrum() -> None:
    """Detect fakes from the azimuthally averaged power spectrum (Durall et al.)."""


@spectrum.command(epilog=options.example("spectrum features data.lmdb --out spectra.npz"))
@click.argument("source", type=options.PATH_TEXT, metavar="CORPUS|FOLDER")
@click.option("--out", type=options.PATH, required=True, help="The .npz file to write.")
@_features
@options.workers
@options.as_json
def features(source: str, out: Path, workers: int, as_json: bool, **arguments: Any) -> None:
    """Write the features of a corpus, or of the images below a folder, as a numpy file.

    Images of a folder that cannot be read are left out; the exit code is then 3.
    """
    if not Path(source).is_dir():
        check_inputs(corpora=[source])
    check_inputs(outputs={"out": (out, FEATURES)})
    from hffkit.spectrum.export import write_features
    from hffkit.spectrum.request import FeatureRequest

    found = write_features(source, out, FeatureRequest(**arguments), n_workers=workers)
    text = f"{out}: {counted(found.n_samples, 'image')}, {found.n_features} values each"
    options.show_notes(found.notes)
    options.show(found.to_json(), "\n".join([*found.problems, text]), as_json=as_json)
    if found.problems:
        sys.exit(options.UNREADABLE)


@spectrum.command(epilog=options.example("spectrum train --data data.lmdb --curve"))
@options.data("Corpus to train on. Repeatable; several are treated as one.")
@click.option(
    "--classifier",
    type=click.Choice(get_args(ClassifierName)),
    default="svm-rbf",
    show_default=True,
    help="The classifier, with the paper's settings.",
)
@_features
@click.option(
    "--samples",
    type=click.IntRange(min=8),
    metavar="N",
    help="Use N of all samples only, half of them fake, drawn by the seed.",
)
@click.option(
    "--limit", type=click.IntRange(min=4), metavar="N",
    help="Train on N samples, half of them fake.",
)  # fmt: skip
@click.option(
    "--repeats",
    type=click.IntRange(0, 10_000),
    default=0,
    help="Also measure N splits into 80 and 20 % that keep groups whole.",
)
@click.option(
    "--paper-split",
    is_flag=True,
    help="Split all samples at random, as the paper does, ten times or --repeats times. Frames of "
    "one video may be on both sides.",
)
@click.option(
    "--curve", is_flag=True, help="Measure those splits with 20, 50, ... training samples too."
)
@options.seed
@click.option(
    "--out", type=options.PATH, help="The run folder to write.  [default: runs/spectrum-CLASSIFIER]"
)
@options.workers
@options.as_json
def train(out: Path | None, workers: int, as_json: bool, **arguments: Any) -> None:
    """Fit a classifier of spectra to the training samples of corpora: fake against real.

    `hffkit eval` and `hffkit predict` accept the run like that of a network.
    """
    check_inputs(corpora=arguments["data"])
    out = out or default_folder(arguments["classifier"])
    refuse_existing(out)
    from hffkit.spectrum.request import SpectrumRequest, check_spectrum

    request = SpectrumRequest(**arguments)
    check_spectrum(request)
    from hffkit.spectrum.train import train_spectrum

    path, run = train_spectrum(
        request,
        out,
        n_workers=workers,
        notify=options.tell,
    )
    options.show(run.to_json(), _run_text(path, run), as_json=as_json)


@spectrum.command(epilog=options.example("spectrum plot data.lmdb --out spectra.png"))
@options.corpora
@click.option(
    "--out",
    type=options.PATH,
    default="spectra.png",
    show_default=True,
    help="The .png file to write.",
)
@_features
@options.split("all")
@options.workers
@options.as_json
def plot(
    corpora: tuple[str, ...],
    out: Path,
    split: Split | None,
    workers: int,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Plot mean and spread of each class's profiles."""
    check_inputs(corpora=corpora, outputs={"out": (out, SPECTRA_PLOT)})
    from hffkit.spectrum.export import plot as draw
    from hffkit.spectrum.request import FeatureRequest

    curves = draw(corpora, out, FeatureRequest(**arguments), split=split, n_workers=workers)
    names = ", ".join(f"{curve.name} ({curve.n_images})" for curve in curves)
    options.show([curve.to_json() for curve in curves], f"{out}: {names}", as_json=as_json)


# The same commands evaluate and apply runs of spectra and of networks.
spectrum.add_command(evaluate)
spectrum.add_command(predict)


def _run_text(path: Path, run: "SpectrumRun") -> str:
    """Return a run folder that was just written, and its accuracies."""
    result, val, repeats = run.result, run.result.val_accuracy, run.result.repeats
    baseline = result.val_majority_accuracy
    lines = [
        f"{path}: {run.classifier} on {run.n_features} values, fake against real",
        f"{result.n_train} training images, {100 * result.train_accuracy:.2f} % of them right"
        + ("" if val is None else f"; {val_accuracy_text(val, baseline)}"),
    ]
    if repeats is not None:
        kind = "groups" if repeats.protocol == "grouped" else "images, as the paper: leaks"
        rows = [
            (str(row.n_train), f"{100 * row.mean:.2f}", f"{100 * row.spread:.2f}")
            for row in repeats.rows
        ]
        lines += [
            "",
            f"{repeats.n_repeats} splits of {repeats.n_samples} images into 80 and 20 % "
            f"of the {kind}",
            Table(("training images", "accuracy, %", "spread"), tuple(rows)).to_text(),
        ]
    return "\n".join(lines)
