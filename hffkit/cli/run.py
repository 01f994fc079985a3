"""`hffkit run`: run recipes of steps and print their tables."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hffkit.cli import options
from hffkit.cli.corpora import note_duplicates, note_shortfall
from hffkit.wording import counted

if TYPE_CHECKING:
    from hffkit.pipeline.plan import Plan, Planned


@click.command(epilog=options.example("run mini-x --data hff=mini-3.lmdb --out runs/mini"))
@click.argument("recipes", nargs=-1, type=options.PATH_TEXT, metavar="RECIPE...")
@click.option(
    "--data",
    multiple=True,
    type=options.PAIR,
    metavar="NAME=PATH",
    help="Path of data that the recipes need. Repeatable.",
)
@click.option(
    "--out",
    type=options.PATH,
    help="The folder of all outputs. Recipes with the same folder share their steps.  "
    "[default: runs/RECIPE, or runs/RECIPE+RECIPE]",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Rehearse on this share of each corpus and of the iterations of each training.",
)
@click.option(
    "--operations",
    multiple=True,
    type=options.PATH,
    help="A Python file of operations that steps of the recipe name: no other is executed. "
    "Repeatable.",
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
    recipes: tuple[str, ...],
    data: tuple[tuple[str, str], ...],
    out: Path | None,
    scale: float,
    operations: tuple[Path, ...],
    only: str | None,
    dry_run: bool,
    lists: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Run the unfinished steps of recipes, and print their tables.

    RECIPE is a TOML file, or the name of one that comes with hffkit, such as mini-x. A finished
    step is kept until it or its inputs change; an interrupted one resumes. Several recipes share
    their steps.
    """
    from hffkit.pipeline.given import check_code, check_data, check_given

    if lists:
        from hffkit.pipeline.recipe import recipes_table

        click.echo(recipes_table().to_text())
        return
    _check(recipes, data, only)
    check_code(recipes, operations)
    check_given(recipes, dict(data))
    check_data(Path(path) for _, path in data)
    from hffkit.pipeline.forecast import forecast, forecast_text
    from hffkit.pipeline.plan import Planned, plans_of, steps_of
    from hffkit.pipeline.recipe import read_recipe
    from hffkit.pipeline.runner import run_steps
    from hffkit.pipeline.verbs import How

    read = [read_recipe(name) for name in recipes]
    out = out or Path("runs") / "+".join(each.name for each in read)
    plans = plans_of(read, {name: Path(path) for name, path in data}, out, scale=scale)
    if only is not None:
        plans = [plans[0].only(only)]
    steps = steps_of(plans)
    if dry_run:
        ahead = forecast(steps, out)
        options.show([each.to_json() for each in ahead], forecast_text(ahead), as_json=as_json)
        return

    def print_step(number: int, planned: Planned) -> None:
        options.tell(f"[{number + 1}/{len(steps)}] {planned.step.name}")

    run_steps(steps, out, How(how.pop("workers"), **how, on_notes=options.show_notes), print_step)
    if only is None:
        results = [_results(plan, out, scale, is_one=len(plans) == 1) for plan in plans]
    else:
        results = [_outputs(plans[0])]
    rows, texts = zip(*results, strict=True)
    options.show(rows[0] if len(rows) == 1 else rows, "\n".join(texts), as_json=as_json)
    _report(plans, steps)


def _check(recipes: Sequence[str], data: Sequence[tuple[str, str]], only: str | None) -> None:
    from hffkit.pipeline.given import name_of

    if not recipes:
        raise click.UsageError("Name a recipe: a TOML file, or one that --list prints.")
    if len({name for name, _ in data}) < len(data):
        raise click.UsageError("--data has the same NAME twice.")
    if len({name_of(recipe) for recipe in recipes}) < len(recipes):
        raise click.UsageError("Two recipes have the same name: their tables would be one file.")
    if only is not None and len(recipes) > 1:
        raise click.UsageError("--only is for one recipe.")


def _results(plan: "Plan", out: Path, scale: float, *, is_one: bool) -> tuple[Any, str]:
    """Write and return the table of a plan, as JSON values and as text."""
    from hffkit.pipeline.results import write_results
    from hffkit.pipeline.tabulate import results_of

    if plan.recipe.table is None:
        return _outputs(plan)
    results = results_of(plan)
    name = "table" if is_one else plan.recipe.name
    written = write_results(results, out, name if scale == 1 else f"{name}-at-{scale:g}")
    options.tell(" ".join(map(str, written)))
    return results.to_json(), results.to_markdown()


def _outputs(plan: "Plan") -> tuple[Any, str]:
    """Return the outputs of a plan's steps, as JSON values and as text."""
    paths = {planned.step.name: str(planned.out) for planned in plan.steps}
    return paths, "\n".join(f"{name}: {path}" for name, path in paths.items())


def _report(plans: "Sequence[Plan]", steps: "Sequence[Planned]") -> None:
    """Print what is missing from corpora; exit with 3 if inputs are unreadable or duplicates."""
    n_duplicates = 0
    for planned in steps:
        if planned.step.verb == "build":
            note_shortfall(planned.out)
            n_duplicates += note_duplicates(planned.out)
    counts = {name: n for plan in plans for name, n in plan.unreadable.items()}
    for name, n in counts.items():
        click.echo(
            f"{name}: {counted(n, 'input')} could not be read; see its failures.jsonl.", err=True
        )
    if counts or n_duplicates:
        sys.exit(options.UNREADABLE)
