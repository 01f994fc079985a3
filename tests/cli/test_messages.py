"""Parameters in the library's messages, and the options that the command line shows for them."""

import ast
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hffkit.cli import main as cli
from hffkit.corpus.subset import check_share
from hffkit.errors import ArgumentError, HffkitError, StorageError
from hffkit.storage.record import check_size

PACKAGE = Path(__file__).parents[2] / "hffkit"
ROOMS = ("manifest", "storage", "execution", "explain")


@pytest.mark.parametrize(
    ("error", "arguments", "code", "shown"),
    [
        (
            ArgumentError("`share` must be above 0."),
            "subset x --out y --share 1",
            2,
            "--share must be above 0.",
        ),
        (
            ArgumentError("`qualities` contradicts `pair`."),
            "build ff++ --pair c23,c40",
            2,
            "--quality contradicts --pair.",
        ),
        (
            StorageError("x is there. Choose another `out`; `run` and `a b` are not touched."),
            "merge x y --out z",
            1,
            "x is there. Choose another --out; `run` and `a b` are not touched.",
        ),
    ],
)
def test_the_command_line_shows_its_options_for_parameters(
    monkeypatch: pytest.MonkeyPatch, error: HffkitError, arguments: str, code: int, shown: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    name, *rest = arguments.split()
    command = cli.main.commands[name]
    if name == "build":
        command = command.commands[rest[0]]  # type: ignore[attr-defined]
    monkeypatch.setattr(command, "callback", fail)
    result = CliRunner().invoke(cli.main, arguments.split())
    assert result.exit_code == code
    assert result.output.splitlines()[-1] == f"Error: {shown}"


def test_the_library_names_parameters() -> None:
    with pytest.raises(ArgumentError, match=r"^`share` must be above 0 and at most 1, got 0\.$"):
        check_share(0)
    with pytest.raises(ArgumentError, match=r"^`size` must be native or 1 to 4096 px, got 0\.$"):
        check_size(0)


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_but_the_command_line_speaks_of_options(room: str) -> None:
    for path in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"(?<![\w-])--[a-z]", node.value), f"{path}: {node.value}"
