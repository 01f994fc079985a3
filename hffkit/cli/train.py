"""`hffkit train` and `hffkit convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.errors import WeightsError
from hffkit.input_files import check_file
from hffkit.networks.hardware import check_bf16
from hffkit.reports.text_table import Table
from hffkit.storage.staging import refuse_existing
from hffkit.wording import counted, val_accuracy_text

if TYPE_CHECKING:
    from hffkit.runs.run import Run


@click.command(epilog=options.example("train --data data.lmdb --network meso4 --out runs/meso4"))
@options.data("Corpus to train on; repeat it to train on several.")
@click.option("--network", metavar="NAME", help="Network; see --list.  [default: amtennet]")
@click.option(
    "--recipe",
    type=options.PATH_TEXT,
    metavar="NAME|FILE",
    help="Recipe, a TOML file of your own, or a YAML file of the facial parts study; see --list.  "
    "[default: the network's]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the recipe; repeatable, recorded in run.json.",
)
@click.option(
    "--max-iterations", type=click.IntRange(min=0), help="Same as --set max_iterations=N."
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Same as --set batch_size=N.")
@click.option("--lr", type=float, help="Same as --set base_lr=X.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), help="Same as --set precision=..."
)
@click.option("--order", type=click.Choice(["shuffled", "caffe"]), help="Same as --set order=...")
@click.option(
    "--degrade",
    multiple=True,
    metavar="NAME",
    help="Operation, or suite:NAME, to apply to training images before they are resized, drawn "
    "anew each epoch; repeatable. Same as --set degrade=A+B.",
)
@options.task
@click.option(
    "--masks",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="Corpus of the forgeries' masks, for mml; repeatable.",
)
@click.option(
    "--as-published/--corrected",
    default=None,
    help="For mml: divide the loss by the batch size twice, as the published code does, or take "
    "the mean over each class, the paper's formula. Same as --set metric.as_published=true or "
    "false.  [default: the recipe's; mml is as published]",
)
@click.option(
    "--init",
    type=options.PATH,
    help="Initial weights: a run, a .caffemodel, or torchvision's .pth of the network; for mml "
    "also those of an Xception.",
)
@click.option("--out", type=options.PATH, help="Run folder to write.  [default: runs/NETWORK]")
@options.seed
@options.device
@click.option(
    "--keep",
    type=click.Choice(["auto", "memory", "stream"]),
    default="auto",
    show_default=True,
    help="Hold the images in the device's memory, or read them again each time; auto holds them "
    "if they fit.",
)
@options.threads
@click.option(
    "--snapshot",
    "snapshots",
    multiple=True,
    metavar="N,...",
    callback=options.numbers,
    help="Keep the weights after these iterations as runs of their own, OUT/snapshots/N.",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events, too.")
@click.option("--list", "lists", is_flag=True, help="Print the networks and the recipes.")
@options.as_json
def train(
    out: Path | None,
    lists: bool,
    as_json: bool,
    overrides: tuple[str, ...],
    degrade: tuple[str, ...],
    **arguments: Any,
) -> None:
    """Train a network on corpora.

    Selects the weights on the validation split, unless the recipe keeps the last ones; the test
    split is never read.

    mml trains on pairs: samples of c23 and c40 whose keys differ only in the quality. It needs
    --task binary, and --masks unless metric.mask_weight is 0.

    Unfinished work is in OUT.partial. The same command continues it, on the CPU bit for bit as
    without the interruption.
    """
    if lists:
        click.echo(_known_text())
        return
    from hffkit.storage.corpora import check_corpora
    from hffkit.training.recipe import SHORT_OVERRIDES, parse_override
    from hffkit.training.request import (
        TrainRequest,
        check_masks,
        check_splits,
        chosen_recipe,
        default_folder,
    )
    from hffkit.training.study_config import SUFFIXES, note_on

    arguments["degrade"] = list(degrade) or None
    short = {key: arguments.pop(name) for name, key in SHORT_OVERRIDES.items()}
    values = dict(parse_override(text) for text in overrides)
    values |= {name: value for name, value in short.items() if value is not None}
    request = TrainRequest(overrides=tuple(sorted(values.items())), **arguments)
    recipe = chosen_recipe(request)
    if request.recipe is not None and Path(request.recipe).suffix in SUFFIXES:
        options.show_notes([note_on(Path(request.recipe))])
    check_inputs(corpora=request.data + request.masks)
    check_masks(request.masks, recipe)
    if recipe.precision == "bf16":
        check_bf16(request.device)
    if request.init is not None and request.init.is_dir():
        from hffkit.runs.run import read_run

        read_run(request.init)
    elif request.init is not None:
        check_file(request.init, WeightsError, "Give a run or a file of weights.")
    out = out or default_folder(recipe)
    refuse_existing(out)
    check_splits(check_corpora(request.data), recipe)
    from hffkit.training.train import train as train_network

    path, run = train_network(request, out, options.tell)
    options.show(run.to_json(), _run_text(path, run), as_json=as_json)


def _known_text() -> str:
    """Return the table of networks, and the recipes."""
    from hffkit.networks.table import NETWORKS, parameter_count
    from hffkit.training.recipe import recipe_names

    rows = [
        (
            name,
            str(spec.size),
            spec.input.colour,
            f"{spec.input.low:g}..{spec.input.high:g}",
            spec.input.filter,
            f"{parameter_count(spec):,}",
            spec.source + (" (approximate)" if spec.is_approximate else ""),
        )
        for name, spec in NETWORKS.items()
    ]
    header = ("name", "px", "colour", "range", "filter", "parameters", "source")
    table = Table(header, tuple(rows), left=(0, 2, 4, 6)).to_text()
    return f"{table}\n\nrecipes: {', '.join(recipe_names())}"


def _run_text(path: Path, run: "Run") -> str:
    """Return the network, classes and outcome of a run."""
    kinds = (f"{row.name} ({'fake' if row.is_fake else 'real'})" for row in run.classes)
    lines = [f"{path}: {run.summary}", f"classes: {', '.join(kinds)}"]
    result = run.result
    if result is not None and result.iterations is not None:
        early = ", stopped early: val did not improve" if result.stopped_early else ""
        lines.append(counted(result.iterations, "iteration") + early)
    selected = (None if result is None else result.selected) or {}
    if "val_accuracy" in selected:
        baseline = None if result is None else result.val_majority_accuracy
        lines.append(
            f"kept: iteration {selected['iteration']}, "
            f"{val_accuracy_text(selected['val_accuracy'], baseline)}, loss "
            f"{selected['val_loss']:.4f}"
        )
    return "\n".join(lines)


def _input_text(run: "Run") -> str:
    """Return the colour order and range of the input, which no file of weights states."""
    fed = run.input
    return (
        f"input: {fed.colour} from {fed.low:g} to {fed.high:g}, as of the original {run.network}; "
        "weights that were trained with another range or order of colours give wrong scores"
    )


@click.command(epilog=options.example("convert Meso4_DF.h5 --out runs/meso4-df"))
@click.argument("sources", nargs=-1, required=True, type=options.PATH, metavar="FILE...")
@click.option("--out", required=True, type=options.PATH, help="Run folder to write.")
@click.option("--network", metavar="NAME", help="Network of the weights.  [default: recognised]")
@options.names_option("--fake", help="The fake classes, in order.")
@options.names_option("--real", help="The real classes, after them.")
@options.names_option(
    "--outputs",
    help="The outputs in the file's own order, such as real,fake; with other names, also give "
    "--fake and --real. Needed for two outputs of PyTorch's files.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    metavar="X",
    help="For the head and tail of mml: least length of an embedding that is fake.  "
    "[default: 5, as in the published test]",
)
@options.as_json
def convert(
    sources: tuple[Path, ...],
    out: Path,
    network: str | None,
    fake: tuple[str, ...],
    real: tuple[str, ...],
    outputs: tuple[str, ...],
    threshold: float | None,
    as_json: bool,
) -> None:
    """Convert weights of Caffe (.caffemodel), Keras (MesoNet's .h5) or PyTorch (.pth) to a run.

    The published checkpoints of mml are in parts: give HEAD.tar and TAIL.tar, or hq_head_*.tar,
    lq_head_*.tar and the tail, in any order.

    Without --outputs, --fake and --real, two outputs are fake and real, five are those of
    FaceForensics++, and eight those of Hybrid Fake Face.
    """
    from hffkit.interop.formats import format_of

    refuse_existing(out)
    format_of(sources, network, threshold)
    from hffkit.interop.convert import OutputNames
    from hffkit.interop.convert import convert as import_weights

    run = import_weights(
        sources,
        out,
        network=network,
        names=OutputNames(fake, real, outputs),
        threshold=threshold,
    )
    text = f"{_run_text(out, run)}\n{_input_text(run)}"
    options.show(run.to_json(), text, as_json=as_json)
