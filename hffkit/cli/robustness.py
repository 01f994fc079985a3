"""`hffkit robustness`."""

from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.storage.outputs import CONDITIONS, ROBUSTNESS_PAGE, write_output


@click.command(
    epilog=options.example("robustness runs/amtennet --data data.lmdb --html robustness.html")
)
@click.argument("runs", nargs=-1, required=True, type=options.PATH, metavar="RUN...")
@options.data("Corpus to measure on; several are treated as one.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="NAME[:SEVERITY]",
    help="Suite of operations by severity, one severity of it, or a .toml file of your own. "
    "Repeatable.  [default: table-ix, unless --op is given]",
)
@click.option(
    "--op",
    "ops",
    multiple=True,
    metavar="NAME",
    help="Operation: jp for all its listed values, jp:60, jp-mix, or a chain such as gb:3+jp-mix. "
    "Repeatable.",
)
@options.operations
@options.split("test")
@click.option(
    "--val",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="Corpus whose split val chooses the thresholds. Repeatable.  [default: --data]",
)
@options.task
@options.allow_overlap
@options.html
@click.option("--csv", type=options.PATH, help="Write a line for each condition and metric.")
@options.resamples
@options.seed
@options.workers
@options.device
@options.as_json
def robustness(
    html: Path | None, csv: Path | None, workers: int, as_json: bool, **arguments: Any
) -> None:
    """Measure how well runs hold up under operations, without storing degraded corpora.

    Each image is decoded once. All operations of all severities are applied in memory as
    `degrade` would apply them, and all runs score the results. Prints the metrics of each
    condition with intervals and the difference from clean images as Markdown. TPR is at thresholds
    chosen on clean validation samples. Scores are kept beside the corpus, so that an interrupted
    command goes on where it stopped.
    """
    check_inputs(
        runs=arguments["runs"],
        corpora=arguments["data"] + arguments["val"],
        outputs={"csv": (csv, CONDITIONS), "html": (html, ROBUSTNESS_PAGE)},
    )
    from hffkit.robustness.request import RobustnessRequest, chosen_suites
    from hffkit.storage.corpora import check_corpora

    request = RobustnessRequest(**arguments)
    check_corpora(request.data)
    check_corpora(request.val)
    chosen_suites(request)
    from hffkit.robustness.findings_tables import csv_of, markdown_of
    from hffkit.robustness.robustness import robustness as measure

    result = measure(request, n_workers=workers)
    with options.shown(result.to_json(), markdown_of(result).rstrip(), as_json=as_json):
        if csv is not None:
            write_output(csv, csv_of(result), CONDITIONS)
        if html is not None:
            from hffkit.robustness.findings_page import page_of

            write_output(html, page_of(result), ROBUSTNESS_PAGE)
