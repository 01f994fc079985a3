"""`hffkit spectrum`: Durall et al.'s spectra and shallow classifiers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hffkit.cli import options
from hffkit.cli.evaluate import evaluate, predict
from hffkit.cli.tables import spectrum_text
from hffkit.manifest.samples import printable

F = TypeVar("F", bound=Callable[..., Any])

# The tables in hffkit.spectrum have them with what they mean; importing these takes a second.
_FEATURES = ("faces-hq", "celeba", "dfd")
_CROPS = ("whole", "square", "third")
_CENTRES = ("paper", "true")
_CLASSIFIERS = ("svm-linear", "svm-rbf", "svm-poly", "logistic", "kmeans")


def _features(command: F) -> F:
    """Add what says how images become features."""
    for option in (
        click.option(
            "--first-bin/--no-first-bin",
            default=None,
            help="Divide by the first value.  [default: as the experiment does]",
        ),
        click.option(
            "--points",
            type=click.IntRange(2, 100_000),
            help="Resample profiles to so many points.  [default: as the experiment does]",
        ),
        click.option(
            "--centre",
            type=click.Choice(_CENTRES),
            help="Radius 0: the paper's, half a coefficient beside the DC, or the DC.",
        ),
        click.option(
            "--crop",
            type=click.Choice(_CROPS),
            help="What of an image: all, the square in the middle, the middle third.",
        ),
        click.option(
            "--features",
            type=click.Choice(_FEATURES),
            default="celeba",
            show_default=True,
            help="The paper's experiment: native profiles of whole images; 80 points, divided "
            "by the first; the middle third, 300 points, divided by the first.",
        ),
    ):
        command = option(command)
    return command


def _workers(command: F) -> F:
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=options.default_workers,
        show_default="one for each core",
        help="Threads. The result is the same for any number.",
    )(command)


@click.group()
def spectrum() -> None:
    """Tell fakes by their radial power spectrum, as "Unmasking DeepFakes with simple Features"."""


@spectrum.command()
@click.argument("source", metavar="CORPUS|FOLDER")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The .npz file to write."
)
@_features
@_workers
@options.as_json
def features(source: str, out: Path, workers: int, as_json: bool, **arguments: Any) -> None:
    """Write the features of a corpus, or of the images below a folder, for numpy to read."""
    from hffkit.spectrum.export import FeatureRequest, write_features

    about = write_features(source, out, FeatureRequest(**arguments), n_workers=workers)
    shape = f"{out}: {about['n_samples']} images, {about['n_features']} values each"
    click.echo(options.json_text(about) if as_json else shape)


@spectrum.command()
@click.option(
    "--data",
    multiple=True,
    metavar="CORPUS",
    help="What to train on; repeatable, taken as one.  [default: data.lmdb]",
)
@click.option(
    "--classifier",
    type=click.Choice(_CLASSIFIERS),
    default="svm-rbf",
    show_default=True,
    help="With the paper's settings.",
)
@_features
@click.option("--limit", type=click.IntRange(min=4), help="Train on N images, half of them fake.")
@click.option(
    "--repeats",
    type=click.IntRange(min=0),
    default=0,
    help="Measure N splits into 80 and 20 % besides, that keep groups whole.",
)
@click.option(
    "--paper-split",
    is_flag=True,
    help="Split all images at random as the paper does, ten times unless --repeats; leaks.",
)
@click.option(
    "--curve", is_flag=True, help="Measure those splits with 20, 50, ... training images, too."
)
@options.seed
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run folder to write.  [default: runs/spectrum-CLASSIFIER]",
)
@_workers
@options.as_json
def train(
    data: tuple[str, ...], out: Path | None, workers: int, as_json: bool, **arguments: Any
) -> None:
    """Fit a classifier of spectra to the training samples of corpora: fake against real.

    `hffkit eval` and `hffkit predict` take the run as they take a network's.
    """
    from hffkit.spectrum.train import SpectrumRequest, train_spectrum

    request = SpectrumRequest(data=data or ("data.lmdb",), **arguments)
    path, run = train_spectrum(request, out, n_workers=workers)
    about = run.to_json()
    click.echo(options.json_text(about) if as_json else spectrum_text(path, about))


@spectrum.command()
@click.argument("corpora", nargs=-1, required=True, metavar="CORPUS...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="spectra.png",
    show_default=True,
    help="The .png file to write.",
)
@_features
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="The samples to draw.",
)
@_workers
@options.as_json
def plot(
    corpora: tuple[str, ...],
    out: Path,
    split: str,
    workers: int,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Draw mean and spread of each class's profiles."""
    from hffkit.spectrum.export import FeatureRequest
    from hffkit.spectrum.export import plot as draw

    chosen: Any = None if split == "all" else split
    request = FeatureRequest(**arguments)
    curves = draw(corpora, out, request, split=chosen, n_workers=workers)
    names = ", ".join(f"{curve['class']} ({curve['n_pictures']})" for curve in curves)
    click.echo(options.json_text(curves) if as_json else printable(f"{out}: {names}"))


# One concept, one command: a run of spectra is measured and used as a network's.
spectrum.add_command(evaluate)
spectrum.add_command(predict)
