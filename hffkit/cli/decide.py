"""`hffkit decide`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.checks import check_inputs

if TYPE_CHECKING:
    from hffkit.evaluation.decide import Decided


_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(epilog=options.example("decide runs/amtennet --data data.lmdb --fpr 0.01"))
@click.argument("run", type=options.PATH)
@options.data("Corpus to decide on; repeat it to join several.")
@options.split("val")
@click.option(
    "--fpr",
    type=_SHARE,
    default=0.01,
    show_default=True,
    help="Share of real groups, at most, with a file that is called fake.",
)
@click.option(
    "--fnr",
    type=_SHARE,
    help="Also bound the share of fake groups with a file that is called real; scores between "
    "the two thresholds are undecided.",
)
@click.option(
    "--confidence",
    type=_SHARE,
    help="Confidence that the shares are kept.  [default: 0.95]",
)
@click.option(
    "--conformal",
    is_flag=True,
    help="Keep the shares on average instead, by split conformal prediction: needs fewer groups.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Also fit the temperature that makes the scores the best probabilities.",
)
@options.device
@options.as_json
def decide(
    run: Path,
    data: tuple[str, ...],
    as_json: bool,
    **arguments: Any,
) -> None:
    """Choose the threshold of a run, with a guarantee on its false alarms.

    It is the lowest threshold at which, with the given confidence, at most the share --fpr of real
    groups have a file that is called fake. It is stored in RUN/decision.json, and `hffkit
    predict` and `hffkit eval` use it. The groups must be held out: neither trained on nor, for a
    strict guarantee, selected on.
    """
    from hffkit.evaluation.request import DecideRequest, check_decide, check_rates

    request = DecideRequest(run, data, **arguments)
    check_rates(request)
    check_inputs(runs=[run], corpora=data)
    check_decide(request)
    from hffkit.evaluation.decide import decide as decide_run

    found = decide_run(request)
    options.show(found.to_json(), _text(run, found), as_json=as_json)


def _text(run: Path, found: "Decided") -> str:
    decision = found.decision
    lines = [*decision.texts, *(f"Note: {note}" for note in decision.notes)]
    if decision.temperature is not None:
        lines.append(f"The calibrated score has the temperature {decision.temperature:.4g}.")
    lines += ["", found.check.to_table().to_text(), "", f"Written to {run}/decision.json."]
    return "\n".join(lines)
