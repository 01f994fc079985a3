"""Options that mean the same in every command."""

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from hffkit.errors import cannot_write, with_options
from hffkit.manifest.samples import SPLITS, Split
from hffkit.networks.hardware import check_device
from hffkit.options import Names, Option, Pairs, choices, options_of
from hffkit.wording import displayable


class _NotEmpty(click.ParamType[Any]):
    """Refuses the empty text, for which Python takes the current folder, and impossible names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty.", param, ctx)
        encoded = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
        if b"\0" in encoded or len(encoded) > _MAX_PATH:
            self.fail(f"must have at most {_MAX_PATH} bytes and no NUL.", param, ctx)
        longest = max(map(len, encoded.split(b"/")))
        if longest > _MAX_NAME:
            self.fail(f"has a name of {longest} bytes, more than {_MAX_NAME}.", param, ctx)
        if encoded and _is_loop(encoded):
            self.fail("is a symbolic link that leads to itself.", param, ctx)
        return super().convert(value, param, ctx)


def _is_loop(path: bytes) -> bool:
    try:
        os.stat(path)  # noqa: PTH116  (the text may be none of a Path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


class _Path(_NotEmpty, click.Path):
    """A path."""


class _PathText(_NotEmpty, click.types.StringParamType):
    """A path that may also be a glob, an address or the name of something else."""


PATH = _Path(path_type=Path)
PATH_TEXT = _PathText()
_MAX_PATH, _MAX_NAME = 4095, 255  # bytes of a path and of a name in it, as Linux allows
UNREADABLE = 3  # exit code: done, but some inputs could not be read, or are duplicates

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Parsed(click.ParamType[T]):
    """A type of values with a text form; `parse` raises ValueError with the message."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Parse a text; a default is returned as it is."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"{text!r} must be I/N with I from 0 to N-1, such as 0/2.")
    return int(match[1]), int(match[2])


def _size(text: str) -> int | Literal["native"]:
    if text == "native":
        return "native"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} must be native or a number of pixels.")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ValueError(f"{text!r} must be NAME=FOLDER.")
    return name, folder


SIZE = Parsed("native|PIXELS", _size)
PAIR = Parsed("NAME=FOLDER", _pair)


def example(command: str) -> str:
    """Return the epilog of a command's help, with one example of its use."""
    return f"\b\nExample:\n  hffkit {command}"


def names(values: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a repeatable option that also takes commas."""
    found = tuple(name.strip() for value in values for name in value.split(",") if name.strip())
    if values and not found:
        raise click.BadParameter(f"{','.join(values)!r} names nothing.")
    return found


def names_option(*declared: str, metavar: str = "NAME,...", **more: Any) -> Callable[[F], F]:
    """Return an option that is repeatable and also takes names with commas between them."""

    def taken(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
        return names(values)

    return click.option(*declared, multiple=True, metavar=metavar, callback=taken, **more)


def numbers(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[int, ...]:
    """Return the whole numbers of a repeatable option that also takes commas: its callback."""
    try:
        return tuple(int(value) for value in names(values))
    except ValueError:
        raise click.BadParameter(f"'{','.join(values)}' must be whole numbers.") from None


def _device(_: click.Context, __: click.Parameter, name: str) -> str:
    """Return the name of a device, without asking PyTorch which the machine has."""
    check_device(name)
    return name


_TYPES: Mapping[Any, Any] = {
    Path: PATH, Pairs: PAIR, Names: str, str: str, int: int, bool: bool
}  # fmt: skip


def declared(request: type[Any]) -> list[click.Parameter]:
    """Return the options that the fields of a dataclass declare."""
    return [_parameter(option) for option in options_of(request)]


def _parameter(option: Option) -> click.Option:
    default = option.none if option.default is None else option.default
    make: Callable[..., click.Option] = click.Option
    if default not in (None, (), MISSING):
        make = partial(click.Option, default=default, show_default=default is not False)
    return make(
        [f"--{option.name.replace('_', '-')}", option.field],
        required=default is MISSING,
        is_flag=option.kind is bool or None,  # False lets click take the option without a value
        multiple=option.kind in (Names, Pairs),
        metavar=option.metavar,
        help=option.help,
        type=_type(option),
        callback=lambda *given: _value(option, given[-1]),
    )


def _value(option: Option, given: Any) -> Any:
    """Return the value of a field from that of its option on the command line."""
    if option.kind is Names:
        return names(given)
    return None if given == option.none else given


def _type(option: Option) -> Any:
    if choices(option.kind):
        return click.Choice(choices(option.kind))
    if option.none is not None:
        return SIZE
    if option.bounds is not None:
        return click.IntRange(option.bounds.low, option.bounds.high)
    return _TYPES[option.kind]


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=default_workers,
    show_default="one for each core",
    help="Number of workers. The result is the same for any number.",
)
scheduler = click.option(
    "--scheduler",
    type=PATH_TEXT,
    metavar="ADDRESS|FILE",
    help="Run on the workers of a Dask cluster: tcp://HOST:PORT, or a scheduler file.",
)
corpora = click.argument("corpora", nargs=-1, required=True, type=PATH_TEXT, metavar="CORPUS...")
html = click.option("--html", type=PATH, help="Write a self-contained HTML page.")
operations = click.option(
    "--operations", type=PATH, help="A Python file that defines your own OPERATIONS."
)
OUT_HELP = "The corpus to write, which must not exist. OUT.partial holds unfinished work."
out = click.option("--out", type=PATH, required=True, help=OUT_HELP)
shard = click.option(
    "--shard", type=Parsed("I/N", _shard), help="Do share I of N; merge the shares afterwards."
)
max_failures = click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Exit with 3 if more inputs than this could not be read.",
)
accept_duplicates = click.option(
    "--accept-duplicates",
    is_flag=True,
    help="Exit with 0 although files or images are in two classes or splits.",
)
device = click.option(
    "--device",
    callback=_device,
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="Device that networks run on; auto is CUDA if there is a device, else the CPU.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="CPU threads of training; results differ between numbers.  [default: all cores]",
)
task = click.option(
    "--task",
    type=click.Choice(["multi", "binary"]),
    default="multi",
    show_default=True,
    help="Distinguish all classes, or fake from real whatever their names.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of all random draws.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."
)


def split(default: Split | Literal["all"]) -> Callable[[F], F]:
    """Return --split; the command gets None for all splits."""
    return click.option(
        "--split",
        type=click.Choice([*SPLITS, "all"]),
        callback=lambda *given: None if given[-1] == "all" else given[-1],
        default=default,
        show_default=True,
        help="Split whose samples are used.",
    )


def data(text: str) -> Callable[[F], F]:
    """Return --data, which names corpora, with `text` as its help."""
    return click.option(
        "--data",
        type=PATH_TEXT,
        multiple=True,
        default=("data.lmdb",),
        show_default=True,
        metavar="CORPUS",
        help=text,
    )


def together(*added: Callable[[F], F]) -> Callable[[F], F]:
    """Return several options as one, in the order of their help."""

    def decorate(command: F) -> F:
        for option in reversed(added):
            command = option(command)
        return command

    return decorate


def resamples(command: F) -> F:
    """Add --resamples."""
    return click.option(
        "--resamples",
        "n_resamples",
        type=click.IntRange(0, 1_000_000),
        default=1000,
        show_default=True,
        help="Bootstrap resamples of groups; 0 for no intervals.",
    )(command)


def allow_overlap(command: F) -> F:
    """Add --allow-overlap."""
    return click.option(
        "--allow-overlap",
        is_flag=True,
        help="Measure held-out samples even if a run was trained on them, and mark the figures.",
    )(command)


def faces_of_files(frames: int) -> Callable[[F], F]:
    """Return the options of the search for faces in image and video files."""
    return together(
        click.option(
            "--frames",
            type=click.IntRange(min=1),
            default=frames,
            show_default=True,
            help="Frames of each video, evenly spaced over its whole length.",
        ),
        click.option(
            "--whole", is_flag=True, help="Treat files as face crops, and detect no faces."
        ),
        click.option(
            "--upsample",
            type=click.IntRange(0, 4),
            default=1,
            show_default=True,
            help="Doublings of images before detection: 0 finds faces from 80 px, 1 from 40.",
        ),
        click.option(
            "--accept-damaged", is_flag=True, help="Use damaged images as well; report them."
        ),
    )


def show(row: Any, text: str, *, as_json: bool) -> None:
    """Print a result: JSON values as indented JSON, or its text."""
    shown = json.dumps(row, indent=1, ensure_ascii=False) if as_json else text
    try:
        click.echo(displayable(shown))
    except BrokenPipeError:  # click ends the command
        raise
    except OSError as error:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # for what Python still holds
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise cannot_write(Path("standard output"), error) from None


@contextmanager
def shown(row: Any, text: str, *, as_json: bool) -> Iterator[None]:
    """Print a result after the block that writes it to files, even if the block fails.

    So the result is not lost if the disk is full, or if a reader such as `head` ends early.
    """
    try:
        yield
    finally:
        show(row, text, as_json=as_json)


def tell(text: str) -> None:
    """Print a line to standard error."""
    click.echo(displayable(text), err=True)


def show_notes(notes: Iterable[str]) -> None:
    """Print remarks to standard error, with options for the parameters that they name."""
    params = click.get_current_context().command.params
    names = {param.name: param.opts[0] for param in params if param.name}
    for note in notes:
        tell(f"note: {with_options(note, names)}")
