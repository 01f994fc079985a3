"""`hffkit explain`: what a network sees."""

import sys
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.tables import explain_text
from hffkit.manifest.samples import printable

_path = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_path)
@click.argument("paths", nargs=-1, type=_path, metavar="[PATH]...")
@click.option("--out", type=_path, required=True, help="The folder to write; it must not exist.")
@click.option(
    "--data", multiple=True, metavar="CORPUS", help="Explain samples of a corpus; repeatable."
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME,...",
    default=("gradcam",),
    show_default=True,
    help="vanilla, deconvnet, guided, integrated, gradcam, guided_gradcam; traces of AMTENnet; "
    "attention of networks that have it; all.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME,...",
    help="For gradcam and guided_gradcam, as PyTorch names it; all: the network's own, from the "
    "first to the last.  [default: the last one with maps]",
)
@click.option(
    "--target",
    metavar="CLASS",
    help="The run's class to explain.  [default: each face's most probable one]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Of corpora.",
)
@click.option(
    "--class", "classes", multiple=True, metavar="NAME,...", help="Samples of these classes only."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Draw N samples of corpora.  [default: 16; all with --average]",
)
@options.faces_of_files(frames=4)
@click.option(
    "--average", is_flag=True, help="The mean heat of each class instead of each face's images."
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=32,
    show_default=True,
    help="Of deletion and insertion, which say how faithful a map is; 0 for neither.",
)
@click.option(
    "--sanity", is_flag=True, help="Compare with maps of the network with random weights."
)
@click.option(
    "--landmarks",
    type=_path,
    metavar="FILE",
    help="A 68-point predictor of dlib's (.dat): how much heat lies on eyes, mouth and so on.",
)
@options.seed
@options.device
@options.as_json
def explain(
    run: Path, paths: tuple[Path, ...], out: Path, split: str, as_json: bool, **arguments: Any
) -> None:
    """Show where a run's network sees what it answers by.

    PATH is an image, a video, a folder of them, or a corpus. OUT holds a PNG of each face and
    method, an overview (sheet.png), a page (index.html) and all figures (explain.json).
    """
    from hffkit.explain.explain import ExplainRequest
    from hffkit.explain.explain import explain as draw
    from hffkit.explain.page import faithfulness_table, sanity_table, shares_table

    for name in ("methods", "layers", "classes"):
        arguments[name] = options.names(arguments[name])
    chosen: Any = None if split == "all" else split
    about = draw(ExplainRequest(run, paths, split=chosen, **arguments), out)
    tables = (table(about) for table in (faithfulness_table, shares_table, sanity_table))
    text = explain_text(out, about, *tables)
    click.echo(printable(options.json_text(about) if as_json else text))
    if about["n_unreadable"]:
        sys.exit(options.UNREADABLE)
