"""The `hffkit` command."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from hffkit.cli import options
from hffkit.cli.audit import audit
from hffkit.cli.build import build
from hffkit.cli.bus_error import say_bus_errors
from hffkit.cli.corpora import inspect, merge, pack, subset, unpack, verify
from hffkit.cli.decide import decide
from hffkit.cli.degrade import degrade, equalize, mix
from hffkit.cli.demo import demo
from hffkit.cli.evaluate import evaluate, predict
from hffkit.cli.explain import explain
from hffkit.cli.interrupts import Interrupts, exit_beside_threads, exit_code
from hffkit.cli.robustness import robustness
from hffkit.cli.run import run
from hffkit.cli.spectrum import spectrum
from hffkit.cli.train import convert, train
from hffkit.errors import ArgumentError, HffkitError, OwnCodeError, Terminated
from hffkit.wording import displayable

# Errors of system calls that name no file: of processes, pipes and semaphores.
_REFUSED = {errno.EAGAIN, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
_REFUSED |= {errno.EACCES, errno.ENOENT, errno.EROFS}  # in /dev/shm
_INTERRUPTS = Interrupts()
# Libraries that are interrupted may fail while they clean up, or raise an error of their own.
_EFFECTS = (
    KeyboardInterrupt, click.ClickException, ArithmeticError, AttributeError, ImportError,
    LookupError, OSError, RuntimeError, SystemError, TypeError, ValueError,
)  # fmt: skip
_RESUME = "Finished work is kept: run the same command again to resume"
_BEGIN_ANEW = {"audit", "decide", "eval", "inspect", "predict", "verify"}  # keep nothing unfinished


class _Group(click.Group):
    """A group that prints errors of hffkit as one line; bugs keep their traceback."""

    _has_signals = False  # it is the program, and not called by another one

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        if args is not None:  # called by another program, whose signals are its own
            return super().main(args, *more, **extra)
        _open_standard_streams()
        self._has_signals = True
        _INTERRUPTS.begin()
        say_bus_errors()
        # Where there are no semaphores: a command that needs workers says so in a line.
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")
        try:
            return super().main(args, *more, **extra)
        finally:
            _INTERRUPTS.end()  # else one more Ctrl-C prints the traceback of Python's exit

    def invoke(self, context: click.Context) -> Any:
        try:
            return self._invoke(context)
        except click.exceptions.Exit:
            raise
        except _EFFECTS as error:
            number = _INTERRUPTS.number or _number_of(error)
            if number == 0:
                raise
            self._exit_interrupted(context, number)

    def _invoke(self, context: click.Context) -> Any:
        try:
            Path.cwd()  # PyTorch and workers end without it
            return super().invoke(context)
        except HffkitError as error:
            is_usage = isinstance(error, ArgumentError) and not isinstance(error, OwnCodeError)
            kind = click.UsageError if is_usage else click.ClickException
            names = _options(self.commands[context.invoked_subcommand or ""])
            raise kind(displayable(error.message(names))) from error
        except OSError as error:
            text = _message_of(error)
            if text is None:
                raise
            raise click.ClickException(displayable(text)) from error
        except (ImportError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = displayable(str(error).partition("\n")[0]) or "no details"
            raise click.ClickException(
                f"Out of memory ({reason}). Finished work is kept: run the same command again with "
                "more free memory, fewer workers, or smaller batches or images."
            ) from error

    def _exit_interrupted(self, context: click.Context, number: int) -> NoReturn:
        if self._has_signals:
            _INTERRUPTS.end()
        is_of_demo = context.parent is not None
        begins_anew = context.invoked_subcommand in _BEGIN_ANEW and not is_of_demo
        again = "Run the same command again" if begins_anew else _RESUME
        click.echo(f"\nInterrupted. {again}.", err=True)
        if self._has_signals:
            exit_beside_threads(exit_code(number))
        context.exit(exit_code(number))


def _number_of(error: BaseException) -> int:
    """Return the number of the signal that an error stands for, 0 for none."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    return 0


def _message_of(error: OSError) -> str | None:
    """Return a line about an error of a system call; None if it is no fault of file or system."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if not _has_folder():
        return (
            "The current folder was deleted. Change to another one (`cd`), and run the same "
            "command again; finished work elsewhere is kept."
        )
    if error.errno in _REFUSED:
        return (
            f"The system refused a resource: {error.strerror}. Free some space, also in /dev/shm, "
            "which must be writable, raise the limits of this process or use fewer workers, and "
            "run the same command again; finished work is kept."
        )
    return None


def _has_folder() -> bool:
    """Test if the current folder exists."""
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


def _is_out_of_memory(error: BaseException) -> bool:
    """Return True for Python's error, and for those of PyTorch and of libraries to be loaded."""
    texts = ("can't allocate memory", "CUDA out of", "failed to map segment from shared object")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def _open_standard_streams() -> None:
    """Open closed standard streams on the null device, so that no file gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)  # by workers
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _options(command: click.Command) -> dict[str, str]:
    """Return the options and arguments of a command, or of all of a group, by parameter."""
    children = command.commands.values() if isinstance(command, click.Group) else ()
    names = {name: option for child in children for name, option in _options(child).items()}
    return names | {param.name: _shown(param) for param in command.params if param.name}


def _shown(param: click.Parameter) -> str:
    """Return --limit for an option, and PATH for an argument that the help calls [PATH]..."""
    if isinstance(param, click.Option):
        return param.opts[0]
    return param.human_readable_name.strip("[].")


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=options.example("build ff++ --src /data/ff++ --out data.lmdb"),
)
@click.version_option(package_name="hffkit")
def main() -> None:
    """Build and degrade corpora of real and fake faces; train and evaluate detectors on them."""


_COMMANDS = (
    build, pack, subset, degrade, equalize, mix, train, evaluate, decide, predict, explain,
    robustness, spectrum, run, inspect, audit, verify, merge, unpack, convert, demo,
)  # fmt: skip
for _command in _COMMANDS:
    main.add_command(_command)
