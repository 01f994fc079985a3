"""`hffkit eval` and `hffkit predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs
from hffkit.storage.outputs import (
    EVAL_PAGE,
    FACES,
    PREDICT_PAGE,
    SCORES,
    SWEEP,
    sweep_path,
    write_output,
)

if TYPE_CHECKING:
    from hffkit.inference.predict import Prediction


@click.command(
    "eval", epilog=options.example("eval runs/amtennet --data data.lmdb --html report.html")
)
@click.argument("runs", nargs=-1, required=True, type=options.PATH, metavar="RUN...")
@options.data("Corpus to evaluate on; repeat it for a table of corpora.")
@options.split("test")
@click.option(
    "--quality", metavar="NAME", help="Samples of one quality only, such as c40.  [default: all]"
)
@options.task
@click.option("--against", type=options.PATH, help="Reference run of the relative error reduction.")
@click.option(
    "--masks",
    multiple=True,
    type=options.PATH_TEXT,
    metavar="CORPUS",
    help="Masks to compare the attention maps of mml with. Repeatable.",
)
@options.allow_overlap
@click.option(
    "--thresholds",
    is_flag=True,
    help="For mml: print the accuracy at the thresholds 1 to 19 as well, and with --csv write it "
    "to NAME-thresholds.csv.",
)
@options.html
@click.option("--csv", type=options.PATH, help="Write the scores, a line a sample.")
@options.resamples
@options.seed
@options.device
@options.as_json
def evaluate(html: Path | None, csv: Path | None, as_json: bool, **arguments: Any) -> None:
    """Evaluate runs on corpora, by frame and by video.

    Prints accuracy, AUC, equal error rate, average precision, TPR at fixed FPR, calibration errors
    and the confusion matrix as Markdown, and whether a run keeps the guarantee of its decision. The
    score is the probability of fake: the sum over the fake classes. Intervals are 95 %, from a
    bootstrap over groups. Runs that differ in their seed only are summarised, with intervals over
    seeds and groups. A run that was trained on held-out samples of a corpus is refused
    without --allow-overlap.
    """
    if csv is not None and len(arguments["runs"]) * len(arguments["data"]) != 1:
        raise click.UsageError("--csv is for one run on one corpus.")
    check_inputs(
        runs=arguments["runs"],
        reference=arguments["against"],
        corpora=arguments["data"] + arguments["masks"],
        outputs={
            "csv": (csv, SCORES),
            "html": (html, EVAL_PAGE),
            "thresholds": (sweep_path(csv) if csv and arguments["thresholds"] else None, SWEEP),
        },
    )
    from hffkit.evaluation.request import EvalRequest, check_eval

    request = EvalRequest(**arguments)
    check_eval(request)
    from hffkit.evaluation.evaluate import evaluate as evaluate_runs

    result = evaluate_runs(request).with_kept_checks()
    with options.shown(result.to_json(), result.to_markdown().rstrip(), as_json=as_json):
        if csv is not None:
            write_output(csv, result.to_csv(), SCORES)
            if (sweeps := result.sweeps_csv()) is not None:
                write_output(sweep_path(csv), sweeps, SWEEP)
        if html is not None:
            write_output(html, result.to_html(), EVAL_PAGE)


@click.command(epilog=options.example("predict runs/amtennet photo.jpg clips/"))
@click.argument("run", type=options.PATH)
@click.argument("paths", nargs=-1, required=True, type=options.PATH, metavar="PATH...")
@options.faces_of_files(frames=32)
@click.option(
    "--recheck",
    is_flag=True,
    help="Also score the faces after JPEG and scaling; a file whose verdict changes is undecided.",
)
@click.option(
    "--recheck-suite",
    metavar="NAME[:SEVERITY]",
    help="Recheck by the operations of a suite, such as social-feed.  [default: recheck]",
)
@click.option("--all-faces", is_flag=True, help="Print a line for each face, too.")
@click.option("--csv", type=options.PATH, help="Write the scores, a line a face.")
@click.option(
    "--html",
    type=options.PATH,
    help="Write a self-contained HTML page: the faces in their images, and a video's scores over "
    "time.",
)
@options.device
@options.as_json
def predict(
    run: Path,
    paths: tuple[Path, ...],
    all_faces: bool,
    csv: Path | None,
    html: Path | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Find and score the faces in images, videos and folders of them.

    The score is the probability of fake. That of a video is the mean over its frames of the
    largest face's score; --all-faces and --csv have the score of every face. The verdict and its
    guarantee are those of `hffkit decide`; without it no threshold is known. The exit code is 3 if
    a file could not be read.
    """
    check_inputs(
        runs=[run], files=paths, outputs={"csv": (csv, FACES), "html": (html, PREDICT_PAGE)}
    )
    if arguments["recheck_suite"] is not None:
        from hffkit.degrade.suites import read_part  # loads OpenCV

        read_part(arguments["recheck_suite"])
    if arguments["recheck"] or arguments["recheck_suite"] is not None:
        from hffkit.runs.decision import check_decided  # loads numpy

        check_decided(run)
    from hffkit.inference.predict import PredictRequest
    from hffkit.inference.predict import predict as predict_files
    from hffkit.inference.predict_page import page_of

    found = predict_files(PredictRequest(run, paths, **arguments))
    text = _prediction_text(found, all_faces=all_faces)
    with options.shown(found.to_json(), text, as_json=as_json):
        if csv is not None:
            write_output(csv, found.to_csv(), FACES)
        if html is not None:
            write_output(html, page_of(run, found), PREDICT_PAGE)
    options.show_notes(found.notes)
    if found.n_unreadable:
        sys.exit(options.UNREADABLE)


def _prediction_text(found: "Prediction", *, all_faces: bool) -> str:
    """Return a line for each scored file, for each other its problem, and numbers of files."""
    from hffkit.inference.predict_page import faces_table, files_table

    table = files_table(found)
    lines = [table.to_text(), ""] if table.rows else []
    if all_faces and found.faces:
        lines += [faces_table(found).to_text(), ""]
    lines += [f"{path}: {problem}" for path, problem in found.problems]
    lines += found.basis
    lines.append(", ".join(f"{n} {kind}" for kind, n in found.counts.items()))
    return "\n".join(lines)
