"""`hffkit explain`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.storage.staging import refuse_existing
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.explain.result import ExplainResult


@click.command(
    epilog=options.example("explain runs/amtennet photo.jpg --method all --out explained")
)
@click.argument("run", type=options.PATH)
@click.argument("paths", nargs=-1, type=options.PATH, metavar="[PATH]...")
@click.option(
    "--out", type=options.PATH, required=True, help="The folder to write; it must not exist."
)
@click.option(
    "--data",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="Explain samples of this corpus; repeatable.",
)
@options.names_option(
    "--method",
    "methods",
    default=("gradcam",),
    show_default=True,
    help="vanilla, deconvnet, guided, integrated, gradcam, guided_gradcam; traces of AMTENnet; "
    "attention of networks that have it; or all.",
)
@options.names_option(
    "--layer",
    "layers",
    help="Layers for gradcam and guided_gradcam, by their names in PyTorch; all: the layers that "
    "docs/explain.md lists for the network.  [default: the last with spatial extent]",
)
@click.option(
    "--target",
    metavar="CLASS",
    help="Class of the run to explain.  [default: the most probable one of each face]",
)
@options.split("test")
@options.names_option("--class", "classes", help="Explain these classes only.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Draw this many samples of corpora.  [default: 16; all with --average]",
)
@options.faces_of_files(frames=4)
@click.option(
    "--average", is_flag=True, help="Write mean maps of each class, not maps of each face."
)
@click.option(
    "--steps",
    type=click.IntRange(0, 10_000),
    default=32,
    show_default=True,
    help="Steps of deletion and insertion, which measure faithfulness; 0 skips them.",
)
@click.option("--sanity", is_flag=True, help="Compare the maps with those of randomised weights.")
@click.option(
    "--landmarks",
    type=options.PATH,
    metavar="FILE",
    help="dlib's 68-point predictor (.dat): measure the share of heat on eyes, mouth and so on.",
)
@click.option(
    "--snapshots",
    is_flag=True,
    help="Show the traces of the run's snapshots beside those of the run: see train --snapshot.",
)
@options.seed
@options.device
@options.as_json
def explain(run: Path, paths: tuple[Path, ...], out: Path, as_json: bool, **arguments: Any) -> None:
    """Map the pixels that a network's predictions rest on.

    PATH is an image, a video, a folder of them, or a corpus. OUT receives a PNG for each face and
    method, an overview (sheet.png), a page (index.html) and all figures (explain.json).
    """
    check_inputs(runs=[run], corpora=arguments["data"], files=paths)
    from hffkit.explain.request import ExplainRequest, check_request

    request = ExplainRequest(run, paths, **arguments)
    check_request(request)
    refuse_existing(out)
    from hffkit.explain.explain import explain as write_maps

    result = write_maps(request, out)
    options.show(result.to_json(), _explain_text(out, result), as_json=as_json)
    if result.n_unreadable:
        sys.exit(options.UNREADABLE)


def _explain_text(out: Path, result: "ExplainResult") -> str:
    """Return the predictions, tables and notes as text."""
    from hffkit.explain.page import tables_of

    lines = [
        f"#{face.number}: {face.answer} ({face.probability:.5f})  {face.name}"
        for face in result.faces
    ]
    lines += [f"{each.cls}: mean of {counted(each.n_faces, 'face')}" for each in result.averages]
    for table in tables_of(result):
        lines += ["", table.to_text()]
    lines += ["", *result.notes, *result.problems, f"{out}/index.html shows the maps"]
    return "\n".join(lines)
