"""`hffkit run`: run a recipe of steps and print its table."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hffkit.cli import options
from hffkit.wording import counted


@click.command(epilog=options.example("run mini-x --data hff=mini-3.lmdb --out runs/mini"))
@click.argument("recipe", required=False, metavar="RECIPE")
@click.option(
    "--data",
    multiple=True,
    type=options.PAIR,
    metavar="NAME=PATH",
    help="Path of data that the recipe needs. Repeatable.",
)
@click.option(
    "--out",
    type=options.PATH,
    help="The folder of all outputs. Recipes with the same folder share their steps.  "
    "[default: runs/RECIPE]",
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Rehearse on this share of each corpus and of the iterations of each training.",
)
@click.option("--only", metavar="STEP", help="Run this step and those that it needs.")
@click.option("--dry-run", is_flag=True, help="Print the steps, their state and an estimate.")
@options.workers
@options.scheduler
@options.device
@options.threads
@click.option("--list", "lists", is_flag=True, help="Print the recipes that come with hffkit.")
@options.as_json
def run(
    recipe: str | None,
    data: tuple[tuple[str, str], ...],
    out: Path | None,
    scale: float,
    only: str | None,
    dry_run: bool,
    lists: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Run the unfinished steps of a recipe, and print its table.

    RECIPE is a TOML file, or the name of one that comes with hffkit, such as mini-x. A finished
    step is kept until it or its inputs change; an interrupted one resumes.
    """
    from hffkit.pipeline.plan import Planned, plan_of
    from hffkit.pipeline.recipe import read_recipe, recipes_table
    from hffkit.pipeline.results import write_results
    from hffkit.pipeline.runner import forecast, forecast_text, run_plan
    from hffkit.pipeline.tabulate import results_of
    from hffkit.pipeline.verbs import How

    if lists:
        click.echo(recipes_table().to_text())
        return
    if recipe is None:
        raise click.UsageError("Name a recipe: a TOML file, or one that --list prints.")
    read = read_recipe(recipe)
    out = out or Path("runs") / read.name
    if len({name for name, _ in data}) < len(data):
        raise click.UsageError("--data has the same NAME twice.")
    plan = plan_of(read, {name: Path(path) for name, path in data}, out, scale=scale)
    if only is not None:
        plan = plan.only(only)
    if dry_run:
        ahead = forecast(plan, out)
        options.show([each.to_json() for each in ahead], forecast_text(ahead), as_json=as_json)
        return

    def print_step(number: int, planned: Planned) -> None:
        click.echo(f"[{number + 1}/{len(plan.steps)}] {planned.step.name}", err=True)

    run_plan(plan, out, How(how.pop("workers"), **how), print_step)
    if only is not None or read.table is None:
        paths = {planned.step.name: str(planned.out) for planned in plan.steps}
        text = "\n".join(f"{name}: {path}" for name, path in paths.items())
        found: Any = paths
    else:
        results = results_of(plan)
        written = write_results(results, out, "table" if scale == 1 else f"table-at-{scale:g}")
        click.echo(" ".join(map(str, written)), err=True)
        found, text = results.to_json(), results.to_markdown()
    options.show(found, text, as_json=as_json)
    _report_unreadable(plan.unreadable)


def _report_unreadable(counts: Mapping[str, int]) -> None:
    for name, n in counts.items():
        click.echo(
            f"{name}: {counted(n, 'input')} could not be read; see its failures.jsonl.", err=True
        )
    if counts:
        sys.exit(options.UNREADABLE)
