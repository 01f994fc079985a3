"""`hffkit audit`."""

import sys
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.storage.outputs import AUDIT_PAGE, AUDIT_REPORT, write_output

_FAILED = 1


@click.command(epilog=options.example("audit data.lmdb --run runs/amtennet --html audit.html"))
@options.corpora
@click.option(
    "--against",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="A corpus that must not overlap, such as the test data of another study. Repeatable.",
)
@click.option("--run", type=options.PATH, help="A run whose score on the corpora is examined.")
@click.option(
    "--samples",
    type=click.IntRange(min=10),
    default=1000,
    show_default=True,
    help="Samples of each class, drawn by the seed, for the checks that read headers and pixels.",
)
@options.html
@click.option(
    "--out",
    type=options.PATH,
    help="Write the result as JSON. As NAME-audit.json beside NAME.lmdb, `inspect` and `eval` "
    "repeat its summary.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["high", "medium", "low"]),
    help="Exit with 1 if a finding is as bad as this, or worse.",
)
@options.seed
@options.workers
@options.device
@options.as_json
def audit(
    html: Path | None,
    out: Path | None,
    fail_on: Any,
    workers: int,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Check whether corpora are fair, and whether a score on them is real.

    Finds classes that files, borders or JPEG history tell apart, images and videos in two splits,
    wrong records and lopsided classes; with --run, also measures the score of the run on samples
    with equal sizes and JPEG history. Prints the findings, the worst first, each with the command
    that mends it.
    """
    run = arguments["run"]
    check_inputs(
        reference=run,
        corpora=(*arguments["corpora"], *arguments["against"]),
        outputs={"html": (html, AUDIT_PAGE), "out": (out, AUDIT_REPORT)},
    )
    from hffkit.audit.audit import audit as audit_corpora
    from hffkit.audit.audited import AuditRequest
    from hffkit.audit.findings_page import page_of

    if out is not None:
        arguments["report"] = out
    result = audit_corpora(AuditRequest(**arguments), n_workers=workers)
    with options.shown(result.to_json(), result.to_text(), as_json=as_json):
        if out is not None:
            write_output(out, result.to_report(), AUDIT_REPORT)
        if html is not None:
            write_output(html, page_of(result), AUDIT_PAGE)
    if fail_on is not None and result.has(fail_on):
        sys.exit(_FAILED)
