"""`hffkit eval` and `hffkit predict`."""

import sys
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import prediction_text
from hffkit.manifest.samples import printable

_run = click.Path(path_type=Path)


@click.command("eval")
@click.argument("runs", nargs=-1, required=True, type=_run, metavar="RUN...")
@click.option(
    "--data",
    multiple=True,
    metavar="CORPUS",
    help="What to measure on; several give a table.  [default: data.lmdb]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="The samples to measure on.",
)
@click.option("--quality", metavar="NAME", help="Only those of a quality: c40.  [default: all]")
@click.option(
    "--task",
    type=click.Choice(["multi", "binary"]),
    default="multi",
    show_default=True,
    help="The run's classes, or fake against real, whatever their names.",
)
@click.option("--against", type=_run, help="Another run: the relative error reduction against it.")
@click.option(
    "--masks",
    multiple=True,
    metavar="CORPUS",
    help="Masks to compare the attention maps of mml with; repeatable, taken as one.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write one self-contained page.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write one line a sample.")
@click.option(
    "--resamples",
    "n_resamples",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Of the bootstrap over groups; 0 for no intervals.",
)
@options.seed
@options.device
@options.as_json
def evaluate(
    data: tuple[str, ...],
    split: str,
    html: Path | None,
    csv: Path | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Measure runs on corpora: accuracy, confusion, AUC, EER, AP, calibration; by frame and video.

    The score is the probability of fake: the sum over the fake classes. Intervals are 95 %, from
    a bootstrap over groups. Results are printed as Markdown.
    """
    from hffkit.evaluation.evaluate import EvalRequest, check_outputs
    from hffkit.evaluation.evaluate import evaluate as evaluate_runs

    chosen: Any = None if split == "all" else split
    request = EvalRequest(data=data or ("data.lmdb",), split=chosen, **arguments)
    check_outputs(request, html, csv)
    result = evaluate_runs(request)
    click.echo(
        printable(options.json_text(result.to_json()) if as_json else result.to_markdown()).rstrip()
    )
    if csv is not None:
        result.write_csv(csv)
    if html is not None:
        result.write_html(html)


@click.command()
@click.argument("run", type=_run)
@click.argument("paths", nargs=-1, required=True, type=_run, metavar="PATH...")
@options.faces_of_files(frames=32)
@options.device
@options.as_json
def predict(run: Path, paths: tuple[Path, ...], as_json: bool, **arguments: Any) -> None:
    """Judge images, videos and folders of them: find faces and score each.

    The score is the probability of fake. A video's is the mean over its frames, each judged by
    its largest face.
    """
    from hffkit.inference.predict import PredictRequest
    from hffkit.inference.predict import predict as judge

    found = judge(PredictRequest(run, paths, **arguments))
    about = found.to_json()
    click.echo(printable(options.json_text(about) if as_json else prediction_text(about)))
    if found.n_unreadable:
        sys.exit(options.UNREADABLE)
