"""The `hffkit` command."""

from typing import Any

import click

from hffkit.cli import options
from hffkit.cli.build import build
from hffkit.cli.corpora import inspect, merge, pack, subset, verify
from hffkit.cli.degrade import degrade, mix
from hffkit.cli.demo import demo
from hffkit.cli.evaluate import evaluate, predict
from hffkit.cli.explain import explain
from hffkit.cli.run import run
from hffkit.cli.spectrum import spectrum
from hffkit.cli.train import convert, train
from hffkit.errors import ArgumentError, HffkitError
from hffkit.manifest.samples import printable

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Group(click.Group):
    """A group that prints errors of hffkit as one line; bugs keep their traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except HffkitError as error:
            kind = click.UsageError if isinstance(error, ArgumentError) else click.ClickException
            names = _options(self.commands[context.invoked_subcommand or ""])
            raise kind(printable(error.message(names))) from error
        except KeyboardInterrupt:
            click.echo(
                "\nInterrupted. Finished work is kept: run the same command again to resume.",
                err=True,
            )
            context.exit(_INTERRUPTED)


def _options(command: click.Command) -> dict[str, str]:
    """Return the options of a command, or of all commands of a group, by parameter."""
    children = command.commands.values() if isinstance(command, click.Group) else ()
    names = {name: option for child in children for name, option in _options(child).items()}
    options = (param for param in command.params if isinstance(param, click.Option))
    return names | {param.name: param.opts[0] for param in options if param.name}


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=options.example("build ff++ --src /data/ff++ --out data.lmdb"),
)
@click.version_option(package_name="hffkit")
def main() -> None:
    """Build and degrade corpora of real and fake faces; train and evaluate detectors on them."""


_COMMANDS = (
    build, pack, subset, degrade, mix, train, evaluate, predict, explain, spectrum, run, inspect,
    verify, merge, convert, demo,
)  # fmt: skip
for _command in _COMMANDS:
    main.add_command(_command)
