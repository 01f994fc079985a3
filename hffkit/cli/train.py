"""`hffkit train` and `hffkit convert`."""

from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import run_text

_run = click.Path(path_type=Path)


@click.command()
@click.option(
    "--data",
    multiple=True,
    metavar="CORPUS",
    help="What to train on; repeatable, taken as one.  [default: data.lmdb]",
)
@click.option("--network", metavar="NAME", help="What to train (--list).  [default: amtennet]")
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="How (--list), or a TOML file of yours.  [default: that of the network]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value for one of the recipe; repeatable, recorded in run.json.",
)
@click.option("--max-iterations", type=click.IntRange(min=0), help="--set max_iterations=N.")
@click.option("--batch-size", type=click.IntRange(min=1), help="--set batch_size=N.")
@click.option("--lr", type=float, help="--set base_lr=X.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="--set precision=fp32 or bf16."
)
@click.option(
    "--order", type=click.Choice(["shuffled", "caffe"]), help="--set order=shuffled or caffe."
)
@click.option(
    "--degrade",
    "operations",
    multiple=True,
    metavar="NAME",
    help="Operations put to training images as the corpus holds them, drawn anew each epoch: "
    "--set degrade=A+B.",
)
@click.option(
    "--task",
    type=click.Choice(["multi", "binary"]),
    default="multi",
    show_default=True,
    help="Tell the corpus's classes apart, or fake and real.",
)
@click.option(
    "--masks",
    multiple=True,
    metavar="CORPUS",
    help="The masks of the forgeries, for mml; repeatable, taken as one.",
)
@click.option(
    "--as-published",
    is_flag=True,
    default=None,
    help="For mml: with its code's second division by the batch: --set metric.as_published=true.",
)
@click.option(
    "--init",
    type=_run,
    help="Begin with the weights of a run, a .caffemodel, or torchvision's .pth of the network; "
    "mml also with those of an Xception.",
)
@click.option("--out", type=_run, help="The run folder to write.  [default: runs/NETWORK]")
@options.seed
@options.device
@click.option(
    "--keep",
    type=click.Choice(["auto", "memory", "stream"]),
    default="auto",
    show_default=True,
    help="Images in the device's memory, or read again each time; auto looks what fits.",
)
@options.threads
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's events too.")
@click.option("--list", "lists", is_flag=True, help="Print the networks and the recipes.")
@options.as_json
def train(
    out: Path | None,
    lists: bool,
    as_json: bool,
    data: tuple[str, ...],
    overrides: tuple[str, ...],
    operations: tuple[str, ...],
    **arguments: Any,
) -> None:
    """Train a network on corpora; what is kept is selected on val, and test is not looked at.

    mml learns from pairs: samples of c23 and c40 whose keys differ in the quality alone, with
    --task binary, and --masks unless metric.mask_weight is 0.

    Unfinished work lies in OUT.partial: the same command goes on with it, on the CPU bit for bit
    as if nothing had happened.
    """
    from hffkit.training.recipe import parse_override
    from hffkit.training.train import TrainRequest, known_text
    from hffkit.training.train import train as train_network

    if lists:
        click.echo(known_text())
        return
    short = {
        "max_iterations": arguments.pop("max_iterations"),
        "batch_size": arguments.pop("batch_size"),
        "base_lr": arguments.pop("lr"),
        "precision": arguments.pop("precision"),
        "order": arguments.pop("order"),
        "degrade": list(operations) or None,
        "metric.as_published": arguments.pop("as_published"),
    }
    values = dict(parse_override(text) for text in overrides)
    values |= {name: value for name, value in short.items() if value is not None}
    request = TrainRequest(
        data=data or ("data.lmdb",), overrides=tuple(sorted(values.items())), **arguments
    )
    path, run = train_network(request, out, lambda notice: click.echo(notice, err=True))
    click.echo(options.json_text(run.to_json()) if as_json else run_text(path, run.to_json()))


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=_run, help="The run folder to write.")
@click.option("--network", metavar="NAME", help="What it is for.  [default: as recognised]")
@click.option("--fake", multiple=True, metavar="NAME,...", help="The fake classes, in order.")
@click.option("--real", multiple=True, metavar="NAME,...", help="The real classes behind them.")
@options.as_json
def convert(
    source: Path,
    out: Path,
    network: str | None,
    fake: tuple[str, ...],
    real: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a run of weights of Caffe (.caffemodel), Keras (MesoNet's .h5) or PyTorch (.pth).

    Without --fake and --real two outputs are fake and real, five those of FaceForensics++, eight
    those of Hybrid Fake Face.
    """
    from hffkit.interop.convert import convert as import_weights

    run = import_weights(
        source, out, network=network, fake=options.names(fake), real=options.names(real)
    )
    click.echo(options.json_text(run.to_json()) if as_json else run_text(out, run.to_json()))
